"""What `embed serve` answers, beside what the command line says of the same photos."""

import io
import json
import shutil
import subprocess
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from odd_ids import PLAIN
from pictures import encoded
from PIL import Image

from service import documents

TOKEN = "writers-know-another-one"


def short(text):
    return ascii(text[:20])


def sent(paths, **fields):
    """A form of photos and fields."""
    files = [("photos", (f"../{path.name}", path.read_bytes())) for path in paths]
    return {"files": files, "data": fields}


@pytest.fixture(scope="module")
def photos(sample):
    return sorted((sample / "photos").iterdir())


@pytest.fixture(scope="module")
def ids(sample):
    return (sample / "ids.txt").read_text()


@pytest.fixture
def said(embed_path, served):
    """What a command prints as JSON, with the photos called as the service calls them."""

    def run(*arguments):
        command = [embed_path, *map(str, arguments), "--format", "json"]
        done = subprocess.run(command, cwd=served, capture_output=True, check=True)
        return json.loads(done.stdout)

    return run


def numbered(found, each=1):
    for at, one in enumerate(found):
        name = f"photos {at * each + 1} to {at * each + each}" if each > 1 else f"photo {at + 1}"
        one["photo"] = name
    return found


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, []),
        ({"independent": "true"}, ["--independent"]),
        ({"independent": "False", "unknown": "0.3"}, ["--unknown", "0.3"]),
        ({"unknown": "1"}, ["--unknown", "1"]),
        ({"max_error": "0.0001", "unknown": "0"}, ["--max-error", "0.0001", "--unknown", "0"]),
        ({"views": "2"}, ["--views", "2"]),
        ({"views": "1", "unknown": " "}, []),
    ],
)
def test_a_match_is_what_the_command_says(server, sample, photos, ids, said, fields, options):
    form = sent(photos, candidates=ids, **fields)
    answer = httpx.post(f"{server.url}/v1/match", **form, timeout=60)
    assert answer.status_code == 200, answer.text
    expected = said("match", "--candidates", sample / "ids.txt", *options, *photos)
    numbered(expected["matches"], 2 if fields.get("views") == "2" else 1)
    assert answer.json() == expected
    documents.MatchesDocument.model_validate(answer.json(), strict=True)


def test_a_search_is_what_the_command_says(server, photos, said):
    answer = httpx.post(f"{server.url}/v1/search", **sent(photos, top="3"), timeout=60)
    assert answer.status_code == 200, answer.text
    found = said("search", "--top", "3", *photos)
    expected = found["photos"] if isinstance(found, dict) else found
    assert answer.json() == {"photos": numbered(expected)}
    documents.SearchDocument.model_validate(answer.json(), strict=True)
    all_items = httpx.post(f"{server.url}/v1/search", **sent(photos[:1], top="1000")).json()
    assert len(all_items["photos"][0]["items"]) == 12


def test_quantities_and_what_is_missing(server, photos, ids):
    first, *others = ids.splitlines()[1:]
    answer = httpx.post(
        f"{server.url}/v1/match",
        **sent(photos[:1], candidates="\n".join([f"{first},3", *others])),
    )
    matches = answer.json()
    assert sum(matches["missing"].values()) == 3 + len(others) - 1
    as_file = {"files": [("photos", ("", photos[0].read_bytes())), ("candidates", ("x", b""))]}
    assert httpx.post(f"{server.url}/v1/match", **as_file).status_code == 422
    as_file["files"][1] = ("candidates", ("../../x", f"{first},3\n" + "\n".join(others)))
    assert httpx.post(f"{server.url}/v1/match", **as_file).json() == matches


def test_an_unreadable_photo_changes_nothing_for_the_others(server, photos, ids):
    alone = httpx.post(f"{server.url}/v1/match", **sent(photos, candidates=ids)).json()
    form = sent(photos, candidates=ids)
    for at, bad in ((0, b""), (4, b"<html>"), (10, photos[0].read_bytes()[:100])):
        form["files"].insert(at, ("photos", ("good.jpg", bad)))
    found = httpx.post(f"{server.url}/v1/match", **form).json()["matches"]
    bad = [found[0], found[4], found[10]]
    assert all(one["status"] == "unreadable" and one["reason"] for one in bad)
    others = [one for at, one in enumerate(found) if at not in (0, 4, 10)]
    assert numbered(others) == alone["matches"]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"candidates": "sku-00001"}, "nearest: sku-0000"),
        ({"candidates": "sku-000001\nsku-000001"}, "twice|already"),
        ({"candidates": ""}, "expected one item id a line"),
        ({"candidates": "# nothing"}, "expected one item id a line"),
        ({}, "expected a part 'candidates'"),
        ({"candidates": "@", "independent": "perhaps"}, "'independent' as true or false"),
        ({"candidates": "@", "unknown": "1.1"}, "'unknown' from 0 to 1"),
        ({"candidates": "@", "unknown": "nan"}, "'unknown' from 0 to 1"),
        ({"candidates": "@", "max_error": "0"}, "'max_error' from 1e-06 to 1"),
        ({"candidates": "@", "views": "1.5"}, "'views' as a whole number"),
        ({"candidates": "@", "views": "2"}, "photos of objects with 2 each, found 1"),
        ({"candidates": "@", "views": "0"}, "'views' from 1 to 1000"),
        ({"candidates": "@", "top": "3"}, "expected parts of photos, candidates"),
        ({"candidates": ["@", "@"]}, "at most 1 of 'candidates'"),
    ],
)
def test_what_cannot_be_matched_is_refused_in_one_line(server, photos, ids, fields, part):
    some = {
        name: [ids if one == "@" else one for one in value] if isinstance(value, list) else value
        for name, value in fields.items()
    }
    some = {name: ids if value == "@" else value for name, value in some.items()}
    answer = httpx.post(f"{server.url}/v1/match", **sent(photos[:1], **some))
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert any(one in error for one in part.split("|")), error
    assert "\n" not in error and str(server.folder) not in error and "items.index" not in error


def test_an_item_and_its_picture(server, sample):
    for folder in sorted((sample / "catalogue").iterdir())[:3]:
        item = httpx.get(f"{server.url}/v1/items/{folder.name}")
        assert item.json() | {"dispersion": 0} == {
            "item_id": folder.name,
            "photos": 12,
            "dispersion": 0,
            "added": False,
        }
        documents.ItemDocument.model_validate(item.json(), strict=True)
        picture = httpx.get(f"{server.url}/v1/pictures/{folder.name}")
        assert picture.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(picture.content)).size) <= 240


HOSTILE = ["..", "../../etc/passwd", "/etc/passwd", "%2e%2e", "%", "%00", "\0", "a\nb", "\u202eab"]
HOSTILE += ["file:///etc/passwd", "http://localhost/", "x" * 5000, "", " ", "é", "\ud83d\ude00"]


@pytest.mark.parametrize("item_id", HOSTILE, ids=short)
def test_an_id_is_never_a_path(server, item_id):
    text = item_id.encode("utf-16", "surrogatepass").decode("utf-16")
    for path in ("items", "pictures"):
        for safe in ("", "/:%"):
            raw = quote(text, safe=safe)
            lines = f"GET /v1/{path}/{raw} HTTP/1.1", "Host: localhost", "Connection: close"
            answer = server.say("\r\n".join([*lines, "", ""]).encode())
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404"), answer
            said = json.loads(body)["error"]
            assert "\n" not in said and str(server.folder) not in said and "root:" not in said


def test_what_is_not_there_is_refused_in_one_line(server):
    near = httpx.get(f"{server.url}/v1/items/sku-00001").json()["error"]
    assert near == "no such item: 'sku-00001'"
    for path in ("/nothing", "/v1/", "/v1/index/", "/docs", "/redoc", "//", "/page.css/"):
        answer = httpx.get(f"{server.url}{path}")
        assert answer.status_code == 404 and list(answer.json()) == ["error"], path
    for method, path in (("PUT", "/"), ("DELETE", "/v1/index"), ("GET", "/v1/match")):
        answer = httpx.request(method, f"{server.url}{path}")
        assert answer.status_code == 405 and answer.headers["Allow"]


def test_a_report_is_a_page_of_its_own(server, photos, ids):
    matches = httpx.post(f"{server.url}/v1/match", **sent(photos, candidates=ids)).text
    report = httpx.post(f"{server.url}/v1/report", **sent(photos, matches=matches), timeout=60)
    assert report.status_code == 200, report.text
    assert report.headers["content-type"].startswith("text/html")
    assert report.headers["content-disposition"].startswith("attachment")
    assert report.text.count("data:image/jpeg;base64,") >= len(photos)
    assert "<script" not in report.text and str(server.folder) not in report.text
    revised = json.loads(matches)
    revised["matches"][0] |= {"reason": "<script>alert(1)</script>", "status": "unsure"}
    form = sent(photos, matches=json.dumps(revised))
    assert "<script" not in httpx.post(f"{server.url}/v1/report", **form).text
    for wrong in ("", "{}", "[]", matches[:-5], matches.replace('"views"', '"sights"'), "1" * 9):
        answer = httpx.post(f"{server.url}/v1/report", **sent(photos, matches=wrong))
        assert answer.status_code == 422 and "\n" not in answer.json()["error"]
    fewer = httpx.post(f"{server.url}/v1/report", **sent(photos[:2], matches=matches))
    assert fewer.json()["error"] == f"expected a match for each of 2 photos, found {len(photos)}"


def test_a_small_answer_of_each_is_as_it_is_described(server):
    index = httpx.get(f"{server.url}/v1/index").json()
    documents.IndexDocument.model_validate(index, strict=True)
    assert (index["items"], index["photos_at_most"], index["photo_bytes"]) == (12, 100, 20_000_000)
    assert httpx.get(f"{server.url}/readyz").json() == {
        "ready": True,
        "items": 12,
        "searchable": True,
        "stale": False,
    }


def test_photos_are_not_written_to_disk(start, served, photos, ids):
    """Nothing is: its files may have no size."""
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system limits file sizes of no other process")
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2500, 3), dtype=np.uint8)
    form = sent(photos, candidates=ids)
    form["files"].append(("photos", ("large.bmp", encoded(noise, "BMP"))))
    before = sorted(served.iterdir())
    with start(served) as server:
        for process in (server.process.pid, *server.embedding()):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))
        match = httpx.post(f"{server.url}/v1/match", **form, timeout=60)
        assert match.status_code == 200
        assert "unreadable" not in {one["status"] for one in match.json()["matches"]}
        for path, fields in (("search", {}), ("report", {"matches": match.text})):
            answer = httpx.post(
                f"{server.url}/v1/{path}", files=form["files"], data=fields, timeout=60
            )
            assert answer.status_code == 200
        assert server.log == []
    assert sorted(served.iterdir()) == before


@pytest.fixture(scope="module")
def writable(start, served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("writable")
    (folder / "items.model").symlink_to(served / "items.model")
    shutil.copy(served / "items.index", folder)
    with start(folder, EMBED_WRITE_TOKEN=TOKEN) as running:
        yield running
        assert running.log == []


@pytest.fixture(scope="module")
def write(writable):
    with httpx.Client(
        base_url=writable.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
    ) as client:
        yield client


# Clients take '.' and '..' for folders, however they are encoded.
@pytest.mark.parametrize("item_id", [one for one in PLAIN if one not in (".", "..")], ids=short)
def test_an_item_of_any_name_is_found_as_soon_as_it_is_added(write, sample, photos, ids, item_id):
    its = sorted((sample / "catalogue").iterdir())[0]
    some = sorted(its.iterdir())[:3]
    place = f"/v1/items/{quote(item_id, safe='')}"
    form = sent(some, item_id=item_id)
    form["files"].append(("photos", ("", b"no photo")))
    added = write.post("/v1/items", **form)
    assert added.status_code == 201, added.text
    (bad,) = added.json()["unreadable"]
    assert added.json() | {"unreadable": []} == {"photos": 3, "unreadable": [], "replaced": False}
    assert bad == {"photo": "photo 4", "reason": "not an image that can be read"}
    assert write.get(place).json()["added"] is True
    assert write.get(f"/v1/pictures/{quote(item_id, safe='')}").status_code == 404
    found = write.post("/v1/match", **sent(some[:1], candidates=f"{item_id}\t1")).json()
    assert found["matches"][0]["runner_up"] is None and not found["missing"].get("x")
    again = write.post("/v1/items", **sent(some, item_id=item_id))
    assert again.status_code == 409 and "in the index" in again.json()["error"]
    replaced = write.post("/v1/items", **sent(some[:1], item_id=item_id, replace="true"))
    assert replaced.json() == {"photos": 1, "unreadable": [], "replaced": True}
    assert write.delete(place).json() == {"removed": 1}
    for answer in (write.delete(place), write.get(place)):
        assert answer.status_code == 404 and "\n" not in answer.json()["error"]


@pytest.mark.parametrize("item_id", ["", " ", "a\nb", "a\tb", "\0", "# comment", "\ufeff"])
def test_an_item_that_no_list_can_name_is_not_added(write, photos, item_id):
    answer = write.post("/v1/items", **sent(photos[:1], item_id=item_id))
    assert answer.status_code == 422 and "\n" not in answer.json()["error"]
    assert "items.index" not in answer.json()["error"]
    assert write.get("/v1/index").json()["items"] == 12


def test_an_item_without_a_readable_photo_is_not_added(write):
    form = {"files": [("photos", ("", b"none"))], "data": {"item_id": "new"}}
    answer = write.post("/v1/items", **form)
    assert answer.status_code == 422 and "readable photo" in answer.json()["error"]
