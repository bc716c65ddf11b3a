"""An index in a PostgreSQL database: what is there besides what a file has."""

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from databases import PASSWORD, select

from embedder import CandidateError, IndexBusyError, IndexFileError, read_catalogue
from embedder.errors import EmbedError
from index import (
    Matcher,
    add_item,
    add_vectors,
    build_from_vectors,
    build_index,
    optimize,
    remove_items,
    verify_index,
)
from index.places import DatabaseUrl, place_of
from index.postgres import candidates_query
from index.rows import Item
from index.schema import FORMAT_VERSION
from index.stores import change_store, open_store

DIM = 8
TABLES = {
    "items": "id, centroid, photos, dispersion, reference, checksum, signature, origin_checksum",
    "unreadable": "item_id, photo, reason, checksum",
    "spreads": "item_id, content",
}


def some(items=30, seed=0):
    """Vectors of items with two photos each, and their ids."""
    rng = np.random.default_rng(seed)
    means = np.repeat(rng.normal(size=(items, DIM)), 2, axis=0)
    ids = [f"sku-{at // 2}" for at in range(2 * items)]
    return means + 0.1 * rng.normal(size=means.shape), ids


def ids_of(where):
    with open_store(where) as store:
        return list(store.ids())


def one_line(error, *words):
    text = str(error.value)
    assert "\n" not in text
    assert not any(part in text for part in (PASSWORD, "s3cret", "ss:word", "p%40ss"))
    for word in words:
        assert word in text
    return True


@pytest.fixture
def built(database):
    build_from_vectors(*some(), database)
    return database


# What is in it


def test_a_build_and_its_matches_are_those_of_a_file(
    part_of_sample, random_embedder, random_model, index, database, sample
):
    folder = part_of_sample(items=5, photos=6)
    bad = min(folder.iterdir()) / "bad.jpg"
    bad.write_bytes(b"rubbish")
    for photo in folder.glob("*/*"):  # what has just changed is looked at again
        os.utime(photo, (1e9, 1e9))
    catalogue = read_catalogue(folder)
    reports = [build_index(catalogue, random_embedder, where) for where in (database, index)]
    one, other = (replace(report, unreadable=()) for report in reports)
    assert one == other
    assert [[*map(str, report.unreadable)] for report in reports] == [[ANY]] * 2
    file = sqlite3.connect(index)
    for name, columns in TABLES.items():
        query = f"SELECT {columns} FROM {name} ORDER BY 1"
        assert select(database, query) == file.execute(query).fetchall()
    file.close()
    photos = [*sorted((sample / "photos").iterdir())[:4], b"rubbish"]
    with Matcher.open(index, random_model) as one, Matcher.open(database, random_model) as other:
        for options in ({}, {"independent": True}, {"unknown": 0.1}):
            ids = list(catalogue.items)
            assert one.match(photos, ids, **options) == other.match(photos, ids, **options)
        assert one.search(photos, 3) == other.search(photos, 3)
        assert one.store.references(ids) == other.store.references(ids)


def test_an_update_embeds_new_photos_only_on_any_machine(
    part_of_sample, random_embedder, database, monkeypatch, tmp_path
):
    folder = part_of_sample(items=3, photos=4)
    new = max(folder.iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    assert build_index(read_catalogue(folder), random_embedder, database).embedded == 12
    add_item(database, random_embedder, "by hand", sorted(new.iterdir())[:2])
    shutil.copy2(min(new.iterdir()), new / "again.jpg")
    report = build_index(read_catalogue(folder), random_embedder, database)
    assert (report.embedded, report.items) == (0, 4)  # of the same content as one that is known
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    shutil.rmtree(min(folder.iterdir()))
    report = build_index(read_catalogue(folder), random_embedder, database)
    assert (report.embedded, report.items, len(report.removed)) == (0, 3, 1)
    assert "by hand" in ids_of(database)


def test_numbers_are_kept_bit_by_bit(built):
    odd = np.frombuffer(np.random.default_rng(0).bytes(4 * DIM), "<f4").copy()
    odd[:4] = 1e-45, -0.0, np.finfo("f4").max, np.nextafter(np.float32(1), np.float32(2))
    odd[4:][~np.isfinite(odd[4:])] = 0

    def put(store):
        store.put(Item("odd", odd, 1, 1 / 3, "é", bytes(range(16))))
        store.commit()

    change_store(place_of(built), put)
    query = "SELECT centroid, dispersion, signature FROM items WHERE id = 'odd'"
    assert select(built, query) == [(odd.astype("<f4").tobytes(), 1 / 3, bytes(range(16)))]
    with open_store(built) as store:
        (row,) = [row for row in store.rows_after(0, 100) if row[1] == "odd"]
    assert row[2] == odd.astype("<f4").tobytes()


def test_candidates_are_looked_up_by_id_whatever_other_indexes_there_are(databases, database):
    build_from_vectors(*some(items=5000), database)
    ((table,),) = databases.run("SELECT 'embed.items_' || build FROM embed.about", database)
    databases.run(f"CREATE INDEX near ON {table} USING hnsw (centroid vector_cosine_ops)", database)
    query = candidates_query(table)
    ids = "ARRAY[" + ", ".join(f"'sku-{at}'" for at in range(0, 5000, 500)) + "]"
    plans = [
        f"EXPLAIN (FORMAT JSON) {query.replace('%s', ids)}",
        f"PREPARE q(text[]) AS {query.replace('%s', '$1')};"
        f"SET plan_cache_mode = force_generic_plan; EXPLAIN (FORMAT JSON) EXECUTE q({ids})",
    ]
    import psycopg

    for statement in plans:
        with psycopg.connect(database) as connection:
            done = connection.execute(statement)
            while done.nextset():
                pass
            plan = done.fetchone()[0][0]["Plan"]
        assert plan["Node Type"] == "Index Scan"
        assert plan["Index Name"] == f"{table.removeprefix('embed.')}_pkey"
        assert "Plans" not in plan


def test_damage_is_named_and_mended(part_of_sample, random_embedder, databases, database):
    catalogue = read_catalogue(part_of_sample(items=3, photos=3))
    build_index(catalogue, random_embedder, database)
    first, *others = catalogue.items
    whole = select(database, "SELECT id, centroid, photos FROM items ORDER BY id")
    assert verify_index(database).problems == ()
    ((build,),) = databases.run("SELECT build FROM embed.about", database)
    wrong = f"UPDATE embed.items_{build} SET photos = photos + 1 WHERE id = '{first}'"
    databases.run(wrong, database)
    with open_store(database) as store:
        assert len(store.centroids(others)[0]) == 2
        with pytest.raises(IndexFileError, match=f"row of item '{first}' is damaged") as error:
            store.centroids(catalogue.items)
    assert one_line(error)
    (problem,) = verify_index(database).problems
    assert first in problem
    build_index(catalogue, random_embedder, database, repair=True)
    assert verify_index(database).problems == ()
    assert select(database, "SELECT id, centroid, photos FROM items ORDER BY id") == whole
    databases.run(f"UPDATE embed.meta_{_build(databases, database)} SET value = '9'", database)
    assert "description is damaged" in verify_index(database).problems[0]
    build_index(catalogue, random_embedder, database)
    assert verify_index(database).problems == ()


def _build(databases, database):
    return databases.run("SELECT build FROM embed.about", database)[0][0]


def test_a_search_file_lies_on_this_machine(built, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = optimize(built, "flat")
    (file,) = tmp_path.rglob("*.search")
    assert file.stat().st_size == report.bytes
    assert file.parent.stat().st_mode & 0o077 == 0


# Several at once


WRITER = """
import sys
import numpy as np
from index import add_vectors, remove_items
url, who = sys.argv[1:]
for at in range(6):
    add_vectors(url, f"{who}-{at}", np.random.default_rng(at).normal(size=(2, 8)))
    if at % 3 == 1:
        remove_items(url, [f"{who}-{at - 1}"])
"""


def test_eight_writers_lose_nothing(built):
    before = ids_of(built)
    command = [sys.executable, "-c", WRITER, built]
    writers = [
        subprocess.Popen([*command, f"writer{at}"], stderr=subprocess.PIPE, text=True)
        for at in range(8)
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=200)
        assert writer.returncode == 0, said
    new = [f"writer{who}-{at}" for who in range(8) for at in (1, 2, 4, 5)]
    assert ids_of(built) == sorted(before + new)
    numbers = [number for (number,) in select(built, "SELECT number FROM items")]
    assert len(set(numbers)) == len(numbers)
    assert verify_index(built).problems == ()


def test_what_others_add_while_a_build_embeds_is_not_lost(
    part_of_sample, random_embedder, database
):
    folder = part_of_sample(items=3, photos=3)
    build_index(read_catalogue(folder), random_embedder, database)
    first = min(folder.iterdir()).name
    new = sorted(max(folder.iterdir()).iterdir())
    shutil.copytree(max(folder.iterdir()), folder / "another")
    calls = []

    def meanwhile(done, total):
        if not calls:
            add_item(database, random_embedder, "by hand", new[:1])
            remove_items(database, [first])
        calls.append(done)

    report = build_index(read_catalogue(folder), random_embedder, database, on_progress=meanwhile)
    assert report.embedded == 3  # none of them twice
    # What was removed is in the catalogue still.
    assert ids_of(database) == sorted([*(item.name for item in folder.iterdir()), "by hand"])
    assert verify_index(database).problems == ()


def test_who_has_an_earlier_build_open_goes_on_with_it_whole(built):
    vectors, ids = some()
    with Matcher.open(built) as matcher:
        before = matcher.match_vectors(vectors[:6:2], ids[:10:2])
        build_from_vectors(-vectors, ids, built)
        assert matcher.match_vectors(vectors[:6:2], ids[:10:2]) == before
        with Matcher.open(built) as other:
            assert other.match_vectors(-vectors[:6:2], ids[:10:2])[0].item_id == ids[0]
        build_from_vectors(vectors, ids, built)
        with pytest.raises(IndexFileError, match="built anew since it was opened") as error:
            matcher.match_vectors(vectors[:6:2], ids[:10:2])
        assert one_line(error)


def test_writers_wait_for_each_other_but_not_for_long(built, monkeypatch):
    monkeypatch.setattr("index.postgres._WAIT", "50ms")

    def change(store):
        with pytest.raises(IndexBusyError, match="another process is writing it"):
            remove_items(built, ["sku-1"])
        store.remove(["sku-2"])
        store.commit()

    change_store(place_of(built), change)
    assert "sku-1" in ids_of(built) and "sku-2" not in ids_of(built)


# Connections that drop


def test_a_dropped_connection_is_made_again_once(built, databases):
    vectors, ids = some()
    with Matcher.open(built) as matcher:
        before = matcher.match_vectors(vectors[:6], ids[:20:2])
        for _ in range(3):
            assert databases.drop_connections() == 1
            assert matcher.match_vectors(vectors[:6], ids[:20:2]) == before
        name = built.partition("?")[0].rpartition("/")[2]
        databases.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        databases.drop_connections()
        with pytest.raises(IndexFileError, match="cannot be reached") as error:
            matcher.match_vectors(vectors[:6], ids[:20:2])
        assert one_line(error)


@pytest.mark.parametrize("times", [1, 2])
def test_a_change_whose_connection_drops_is_made_again_once(built, databases, times):
    calls = []

    def change(store):
        calls.append(store.has("sku-1"))
        store.remove(["sku-1"])
        if len(calls) <= times:
            databases.drop_connections()
        store.commit()

    if times == 1:
        change_store(place_of(built), change)
    else:
        with pytest.raises(IndexFileError, match="the connection was lost") as error:
            change_store(place_of(built), change)
        assert one_line(error)
    assert calls == [True, True]
    assert ("sku-1" in ids_of(built)) == (times == 2)


# What can be wrong


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgres://h/db?sslmode=require&user=u", "postgres://h/db?user=u"),
        ("postgresql://u:se/c@r:et@h,[::1]:7/db", "postgresql://u@h,[::1]:7/db"),
        ("postgresql://u@/db?host=/tmp&password=secret", "postgresql://u@/db?host=/tmp"),
        ("postgresql://h/db?password=se@cret", "postgresql://..."),
        ("postgresql://u:sec?ret@h/db", "postgresql://..."),
        ("postgresql://u:secret", "postgresql://..."),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    place = place_of(url)
    assert str(place) == shown
    assert "et" not in repr(place).replace(shown, "")
    assert place == place_of(place) == DatabaseUrl(url)


def test_a_url_that_was_made_a_path_is_refused(tmp_path):
    with pytest.raises(IndexFileError, match="URL of a database as a text") as error:
        Matcher.open(Path("postgresql://u:s3cret@h/db"))
    assert one_line(error)


def test_what_cannot_be_reached_is_said_in_a_line_without_the_password(databases, built):
    name = built.partition("?")[0].rpartition("/")[2]
    right, wrong = databases.url(name, "locked", PASSWORD), databases.url(name, "locked", "s3cretx")
    host = right.partition("?host=")[2]
    places = [
        (right.replace(host, "/nowhere"), "cannot be reached"),
        (f"postgresql://locked:s3cret@127.0.0.1:1/{name}", "Connection refused"),
        (f"postgresql://locked:s3cret@nowhere.invalid/{name}", "cannot be reached"),
        (wrong, "password authentication failed"),
        (databases.url("nothing"), 'database "nothing" does not exist'),
        (databases.url(name, "nobody"), 'role "nobody" does not exist'),
        (right.replace("%2F", "%2"), "expected a URL like"),
        (f"postgresql://locked:{PASSWORD}", "expected a URL like"),
        (f"postgresql://locked:s3cret/x@h/{name}", "expected a URL like"),
        (right, "permission denied for schema embed"),
    ]
    vectors, ids = some()
    for url, said in places:
        for use in (
            lambda url: Matcher.open(url),
            lambda url: remove_items(url, ["sku-1"]),
            lambda url: build_from_vectors(vectors, ids, url),
            lambda url: verify_index(url),
        ):
            with pytest.raises(IndexFileError) as error:
                use(url)
            assert one_line(error, said), said
    assert len(ids_of(built)) == 30


def test_a_database_without_an_index_is_left_as_it_is(databases, database):
    for use in (
        lambda: Matcher.open(database),
        lambda: add_vectors(database, "new", np.ones((1, DIM))),
        lambda: remove_items(database, ["a"]),
        lambda: verify_index(database),
    ):
        with pytest.raises(IndexFileError, match="expected an index in the database") as error:
            use()
        assert one_line(error, "embed build-index")
    assert databases.run("SELECT nspname FROM pg_namespace WHERE nspname = 'embed'", database) == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("embed.something (x int)", "found something else"),
        ("embed.about (x int)", "found something else"),
        (
            "embed.about AS SELECT 1 AS application, 2 AS format, 3 AS build, 4 AS generation",
            "found something else",
        ),
        (
            f"embed.about AS SELECT {0x656D6264} AS application, {FORMAT_VERSION + 1} AS format, "
            "3 AS build, 4 AS generation",
            "found 4: written by a newer version of embed: upgrade it",
        ),
    ],
)
def test_a_database_that_is_not_for_us_is_left_alone(databases, database, table, said):
    databases.run("CREATE SCHEMA embed", database)
    databases.run(f"CREATE TABLE {table}", database)

    def content():
        named = "SELECT oid, relname, relnamespace FROM pg_class WHERE oid > 16000 ORDER BY oid"
        queries = [named, f"SELECT * FROM {table.split()[0]}", "SELECT * FROM pg_extension"]
        return [databases.run(query, database) for query in queries]

    before = content()
    vectors, ids = some()
    for use in (
        lambda: Matcher.open(database),
        lambda: add_vectors(database, "new", vectors[:1]),
        lambda: build_from_vectors(vectors, ids, database),
        lambda: verify_index(database),
    ):
        with pytest.raises(IndexFileError) as error:
            use()
        assert one_line(error, said)
    assert content() == before


def test_a_server_without_pgvector_is_refused(databases, database):
    name = database.partition("?")[0].rpartition("/")[2]
    databases.run(f"ALTER DATABASE {name} SET extension_control_path = '/nowhere'")
    with pytest.raises(IndexFileError, match="expected the extension pgvector") as error:
        build_from_vectors(*some(), database)
    assert one_line(error)


def test_without_psycopg_the_extra_is_named(tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no psycopg')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from embedder.errors import MissingExtraError\nfrom index import Matcher\n"
        "try:\n    Matcher.open('postgresql://u:s3cret@h/db')\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "'embed-match[postgres]'" in done.stdout
    assert "s3cret" not in done.stdout


def test_unknown_items_are_named_with_the_nearest(built):
    with pytest.raises(CandidateError, match=r"'sku-l' \(nearest: sku-") as error:
        remove_items(built, ["sku-1", "sku-l"])
    assert one_line(error)
    assert "sku-1" in ids_of(built)


def test_no_home_folder_is_needed_but_for_building(built, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: _no_home()))
    vectors, ids = some()
    with Matcher.open(built) as matcher:
        assert matcher.match_vectors(vectors[:1], ids[:4:2])[0].item_id == ids[0]
    with pytest.raises(EmbedError, match="XDG_CACHE_HOME") as error:
        build_from_vectors(vectors, ids, built)
    assert one_line(error)
    assert "XDG_CACHE_HOME" not in os.environ


def _no_home():
    raise RuntimeError("Could not determine home directory.")
