import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from embedder import IndexBusyError, IndexFileError, PhotoError
from embedder.locking import only_process
from index.places import place_of
from index.rows import Item
from index.schema import APPLICATION_ID, FORMAT_VERSION, IndexInfo
from index.store import Store
from index.store_writing import WritableStore
from index.stores import change_store, open_store

DIM = 5
INFO = IndexInfo("f" * 64, DIM, 0.25, "some/catalogue", "2026-01-01T00:00:00+00:00")


def item(item_id, seed=0):
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return Item(item_id, vector / np.linalg.norm(vector), 7, 0.125, "a/1.jpg", b"signature")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "items with space?#.index"
    with WritableStore.create(path, INFO) as store:
        for seed, item_id in enumerate(["b", "a", "ä/ö 'x'", "c"]):
            store.put(item(item_id, seed))
        store.put_unreadable("a", [PhotoError("a/9.jpg", "broken")])
        store.commit()
    return path


@pytest.fixture
def where(path, stored):
    """The same, in either store."""
    return place_of(stored(path))


def edit(path, statement, *values):
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def test_round_trip(where):
    with open_store(where) as store:
        assert store.info == INFO
        assert len(store) == 4
        assert store.photo_count() == 28
        assert list(store.ids()) == ["a", "b", "c", "ä/ö 'x'"]
        assert store.added(["a", "nope"]) == set()
        assert store.references(["a"]) == {"a": Path("some/catalogue/a/1.jpg")}
        assert [str(error) for error in store.unreadable()] == ["a/9.jpg: broken"]
        vectors, unknown = store.centroids(["ä/ö 'x'", "nope", "b"])
    assert unknown == ["nope"]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [item("", 2).centroid, item("", 0).centroid])


def test_no_ids_give_no_rows(where):
    with open_store(where) as store:
        vectors, unknown = store.centroids([])
    assert vectors.shape == (0, DIM)
    assert unknown == []


def test_removing_an_item_removes_its_unreadable_photos(where):
    change_store(where, lambda store: (store.remove(["a"]), store.commit()))
    with open_store(where) as store:
        assert "a" not in set(store.ids())
        assert store.unreadable() == ()


def test_what_was_not_committed_is_given_up(where):
    change_store(where, lambda store: store.remove(["a", "b", "c"]))
    with open_store(where) as store:
        assert len(store) == 4


def test_reading_cannot_write(where):
    with open_store(where) as store:
        if isinstance(store, Store):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                store.connection.execute("DELETE FROM items")
        else:
            with pytest.raises(IndexFileError, match="read-only"):
                store.remove(["a"])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("centroid", np.zeros(DIM, dtype="<f4").tobytes()),
        ("centroid", b"short"),
        ("centroid", "text"),
        ("centroid", 7),
        ("photos", 8),
        ("photos", "many"),
        ("dispersion", 0.5),
        ("checksum", 0),
    ],
)
def test_a_damaged_row_is_named_and_others_still_read(path, column, value):
    edit(path, f"UPDATE items SET {column} = ? WHERE id = 'b'", value)
    with Store.open(path) as store:
        with pytest.raises(IndexFileError, match="item 'b' is damaged"):
            store.centroids(["a", "b"])
        assert len(store.centroids(["a", "c"])[0]) == 2


def test_rows_swapped_between_items_are_damage(path):
    edit(path, "UPDATE items SET id = 'tmp' WHERE id = 'a'")
    edit(path, "UPDATE items SET id = 'a' WHERE id = 'b'")
    with Store.open(path) as store, pytest.raises(IndexFileError, match="'a' is damaged"):
        store.centroids(["a"])


def test_missing_index_says_what_to_do(tmp_path):
    with pytest.raises(IndexFileError, match="embed build-index"):
        Store.open(tmp_path / "items.index")


def test_other_files_are_refused(tmp_path):
    text, empty, database = (tmp_path / name for name in ("text", "empty", "database"))
    text.write_text("not a database, but long enough to be looked at as one" * 100)
    empty.touch()
    edit(database, "CREATE TABLE items (id TEXT)")
    for path in (text, empty, database):
        with pytest.raises(IndexFileError) as error:
            Store.open(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_truncated_file_is_refused_or_reads_right(path, tmp_path):
    whole = path.read_bytes()
    with Store.open(path) as store:
        expected, _ = store.centroids(["a", "b"])
    for length in range(0, len(whole), 512):
        cut = tmp_path / "cut.index"
        cut.write_bytes(whole[:length])
        try:
            with Store.open(cut) as store:
                found, unknown = store.centroids(["a", "b"])
        except IndexFileError:
            continue
        assert unknown == []
        np.testing.assert_array_equal(found, expected)


def test_newer_format_says_upgrade(path):
    edit(path, f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    with pytest.raises(IndexFileError, match=r"found 4.*upgrade"):
        Store.open(path)


def test_older_format_says_build_again(path):
    edit(path, f"PRAGMA user_version = {FORMAT_VERSION - 1}")
    edit(path, "DROP INDEX items_again")
    with pytest.raises(IndexFileError, match=r"expected format version 3, found 2.*build.*again"):
        Store.open(path)


def test_removing_an_item_removes_its_spread(path):
    with WritableStore.open(path) as store:
        for item_id in ("c", "a", "b"):
            store.put_spread(item_id, item_id.encode())
        store.remove(["a"])
        store.commit()
    with Store.open(path) as store:
        assert list(store.spreads()) == [("b", b"b"), ("c", b"c")]


def test_file_is_marked_as_an_index(path):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_reader_is_told_that_the_file_is_in_use(path, monkeypatch):
    monkeypatch.setattr("index.database._WAIT_SECONDS", 0.1)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(IndexBusyError, match="in use by another process"):
        Store.open(path)
    writer.close()


def test_a_reader_of_a_replaced_index_is_not_misled_by_the_journal_of_the_new_one(path):
    with Store.open(path) as store:
        before = list(store.ids())
        new = path.with_name("new")
        shutil.copyfile(path, new)
        new.replace(path)
        writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        writer.execute("PRAGMA synchronous = OFF")  # the journal is valid at once
        with only_process(path.with_name(f".{path.name}.lock")):
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("DELETE FROM items")
            assert path.with_name(f"{path.name}-journal").exists()
            commit = threading.Timer(0.5, writer.execute, ("COMMIT",))
            commit.start()
            assert list(store.ids()) == before
            commit.join()
        writer.close()
        assert list(store.ids()) == before
    with Store.open(path) as store:
        assert list(store.ids()) == []


def test_a_store_that_was_closed_is_not_called_damaged(where):
    store = open_store(where)
    store.close()
    with pytest.raises(IndexFileError) as error:
        store.centroids(["a"])
    assert "damaged" not in str(error.value)
    assert "closed" in str(error.value)
