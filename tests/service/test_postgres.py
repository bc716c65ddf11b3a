"""A server whose index is in a database, which others change meanwhile."""

import time
from pathlib import Path

import httpx

from index import Matcher, add_item, build_index, remove_items


def test_an_index_in_a_database_is_served_as_it_is_now(
    start, databases, database, catalogue, random_model, random_embedder, tmp_path
):
    (tmp_path / "items.model").symlink_to(random_model)
    build_index(catalogue, random_embedder, database)
    ids = list(catalogue.items)
    photos = [paths[0] for paths in catalogue.items.values()][:3]
    url = database.replace("postgres@", "postgres:s3cret@")
    with start(tmp_path, EMBED_INDEX=url, XDG_CACHE_HOME=str(tmp_path)) as server:

        def asked(candidates, status=200):
            """What is answered, within some seconds the one with this status."""
            until = time.monotonic() + 30
            while True:
                files = [("photos", ("a.jpg", Path(path).read_bytes())) for path in photos]
                form = {"candidates": "\n".join(candidates)}
                answer = httpx.post(f"{server.url}/v1/match", files=files, data=form, timeout=60)
                assert "s3cret" not in answer.text
                assert answer.status_code in (200, 422), answer.text
                if answer.status_code == status or time.monotonic() > until:
                    assert answer.status_code == status, answer.text
                    return answer.json()
                time.sleep(0.1)

        with Matcher.open(database, random_model) as matcher:
            expected = matcher.match(photos, ids)
        found = asked(ids)["matches"]
        assert [one["item_id"] for one in found] == [one.item_id for one in expected]
        assert asked(["new"], 422)
        add_item(database, random_embedder, "new", photos[:1])
        assert asked(["new"])["matches"][0]["item_id"] in ("new", None)
        assert databases.drop_connections() >= 1
        asked(ids)
        remove_items(database, ["new"])
        build_index(catalogue, random_embedder, database)
        asked(["new"], 422)
        assert asked(ids)["matches"] == found
