"""The row file beside an index: whatever is in it, answers are those of the index."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import IndexFileError
from index import (
    add_vectors,
    build_from_vectors,
    make_row_file,
    remove_items,
    row_file,
    store_writing,
)
from index import store as reading
from index.places import DatabaseUrl
from index.row_file import PAGE, open_row_file, row_path
from index.row_file_making import is_outdated
from index.rows import Item
from index.store import Store
from index.store_writing import WritableStore

DIM = 6
ODD = ["", "\0", "\ud800", "x" * 70_000, "sku-297", "a"]  # what a candidate can be called


def vectors(seed, dim=DIM):
    return np.random.default_rng(seed).normal(size=(1, dim)).astype(np.float32)


def unit_item(item_id, seed):
    (vector,) = vectors(seed)
    return Item(item_id, vector / np.linalg.norm(vector), 1, 0.0, "", b"")


def build(path, ids, dim=DIM):
    build_from_vectors(np.concatenate([vectors(at, dim) for at in range(len(ids))]), ids, path)


@pytest.fixture
def index(tmp_path):
    """An index of 300 items with a row file, some of whose buckets are full."""
    path = tmp_path / "items.index"
    build(path, [*(f"sku-{number}" for number in range(297)), "ä/ö 'x'", "a", "aa"])
    make_row_file(path)
    return path


def asked(path, ids):
    """The answer, and how many statements fetched rows from the index for it."""
    with Store.open(path) as store:
        statements = []
        store.connection.set_trace_callback(statements.append)
        found, unknown = store.centroids(ids)
    return found, unknown, sum("centroid" in statement for statement in statements)


def without_rows(path, ids, tmp_path):
    alone = tmp_path / "alone" / "items.index"
    alone.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, alone)
    return asked(alone, ids)


def assert_same(path, ids, tmp_path):
    found, unknown, _ = asked(path, ids)
    expected, missing, _ = without_rows(path, ids, tmp_path)
    np.testing.assert_array_equal(found, expected)
    assert unknown == missing


@pytest.mark.parametrize(
    "ids", [[], ["a"], ["sku-5", "a", "ä/ö 'x'"], ["a", "none", "aa", "a"], ODD]
)
def test_answers_are_those_of_the_index(index, tmp_path, ids):
    assert_same(index, ids, tmp_path)


def test_rows_come_from_the_file_alone(index):
    with open_row_file(index, DIM).file as file, Store.open(index) as store:
        inside = [i for i in store.ids() if i in store._row_file.rows([i], DIM, store.state())]
        assert file.readable()
    assert 150 < len(inside) <= 300
    found, unknown, statements = asked(index, inside)
    assert (len(found), unknown, statements) == (len(inside), [], 0)


def test_what_found_its_bucket_full_is_asked_of_the_index(tmp_path):
    path = tmp_path / "items.index"
    build(path, ["first"])
    make_row_file(path)  # of one bucket
    for number in range(200):
        add_vectors(path, f"later-{number}", vectors(number))
    with Store.open(path) as store:
        ids = list(store.ids())
        inside = store._row_file.rows(ids, DIM, store.state())
        assert 50 < len(inside) < 150
    assert_same(path, ids, tmp_path)
    assert asked(path, ids)[2] == 1


@pytest.mark.parametrize("dim", [DIM, 700])  # buckets of a page, and of several
@settings(max_examples=15)  # each change is a commit to the disk
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["put", "remove"]), st.sampled_from("abcdefgh"), st.integers(0, 9)
        ),
        max_size=12,
    )
)
def test_it_follows_all_changes(tmp_path_factory, dim, changes):
    path = tmp_path_factory.mktemp("followed") / "items.index"
    build(path, ["a", "b"], dim)
    make_row_file(path)
    expected = {"a": vectors(0, dim), "b": vectors(1, dim)}
    for what, item_id, seed in changes:
        if what == "put":
            add_vectors(path, item_id, vectors(seed, dim), replace=True)
            expected[item_id] = vectors(seed, dim)
        elif item_id in expected:
            remove_items(path, [item_id])
            del expected[item_id]
    found, unknown, _ = asked(path, list("abcdefgh"))
    there = sorted(expected)
    assert unknown == sorted({*"abcdefgh"} - expected.keys())
    assert len(found) == len(there)
    for vector, item_id in zip(found, there, strict=True):
        raw = expected[item_id][0]
        np.testing.assert_allclose(vector, raw / np.linalg.norm(raw), rtol=1e-5, atol=1e-6)
    with Store.open(path) as store:
        assert store._row_file.state() == store.state()


def test_an_item_that_is_put_alone_is_followed(index):
    with WritableStore.open(index) as store:
        before = store.state()
        store.put(unit_item("new", 1))
        store.commit()
        assert store.state() != before
        unchanged = store.state()
        store.remove([])
        store.put_part("other", b"part")
        store.commit()
        assert store.state() == unchanged
    assert asked(index, ["new", "a"])[2] == 0


def test_many_changes_at_once_are_not_followed(index, tmp_path, monkeypatch):
    monkeypatch.setattr(store_writing, "_MOST_FOLLOWED", 3)
    with WritableStore.open(index) as store:
        for number in range(4):
            store.put(unit_item(f"new-{number}", number))
        store.commit()
    assert is_outdated(index)
    assert_same(index, ["new-0", "new-3", "a"], tmp_path)


def test_while_it_is_changed_nobody_reads_it(index, monkeypatch):
    seen, write = [], row_file.write

    def watched(file, content, place):
        if place >= PAGE:
            with Store.open(index) as store:
                seen.append(store._row_file.rows(["a", "aa"], DIM, store.state()))
                seen.append(store._row_file.rows(["a", "aa"], DIM, bytes(16)) != {})
        write(file, content, place)

    monkeypatch.setattr(row_file, "write", watched)
    add_vectors(index, "a", vectors(5), replace=True)
    assert seen
    assert set(map(repr, seen)) == {"{}", "True"}


def test_what_is_written_in_part_is_not_read(index, tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda file, content, place: whole(file, content[:100], place)
    )  # as a full disk does
    add_vectors(index, "a", vectors(5), replace=True)
    monkeypatch.undo()
    assert is_outdated(index)
    assert_same(index, ["a", "aa"], tmp_path)


def test_who_has_it_open_sees_what_is_changed(index):
    with Store.open(index) as store:
        before = store.centroids(["a", "aa"])[0]
        add_vectors(index, "a", vectors(77), replace=True)
        after = store.centroids(["a", "aa"])[0]
        assert not np.allclose(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])
        remove_items(index, ["a"])
        assert store.centroids(["a"])[1] == ["a"]


def test_a_change_while_it_is_read_is_seen(index):
    with Store.open(index) as store:
        state = store.state()

        def ids():
            yield "a"
            add_vectors(index, "aa", vectors(78), replace=True)
            yield "aa"

        assert store._row_file.rows(["a", "aa"], DIM, state)
        assert store._row_file.rows(ids(), DIM, state) == {}


def test_an_answer_is_of_one_moment(tmp_path, monkeypatch):
    path = tmp_path / "items.index"
    build(path, ["first"])
    make_row_file(path)  # of one bucket
    for number in range(200):
        add_vectors(path, f"later-{number}", vectors(number))
    fetch = reading.fetch_rows

    def changed_before(*asked):
        monkeypatch.undo()
        with WritableStore.open(path) as store:
            store.remove(["first", "later-199"])
            store.put(unit_item("first", 300))
            store.put(unit_item("later-199", 301))
            store.commit()
        return fetch(*asked)

    with Store.open(path) as store:
        in_file = store._row_file.rows(["first", "later-199"], DIM, store.state())
        assert list(in_file) == ["first"]
        monkeypatch.setattr(reading, "fetch_rows", changed_before)
        found, _ = store.centroids(["first", "later-199"])
    np.testing.assert_array_equal(found, asked(path, ["first", "later-199"])[0])


def test_who_is_killed_between_the_files_leaves_it_unread(index, tmp_path, monkeypatch):
    monkeypatch.setattr(store_writing, "follow", lambda *changed: None)
    with WritableStore.open(index) as store:
        store.remove(["a"])
        store.put(unit_item("aa2", 5))
        store.commit()
    monkeypatch.undo()
    assert is_outdated(index)
    assert_same(index, ["a", "aa", "aa2"], tmp_path)
    assert asked(index, ["aa"])[2] == 1
    # Nor does one that follows later make it up.
    add_vectors(index, "later", vectors(6))
    assert is_outdated(index)
    make_row_file(index)
    assert not is_outdated(index)
    assert asked(index, ["aa", "aa2", "later"])[2] == 0


def test_an_earlier_index_that_is_put_back_does_not_read_it(index, tmp_path):
    earlier = tmp_path / "earlier"
    shutil.copyfile(index, earlier)
    add_vectors(index, "a", vectors(79), replace=True)
    shutil.copyfile(earlier, index)
    assert is_outdated(index)
    add_vectors(index, "b", vectors(80))
    assert is_outdated(index)
    assert_same(index, ["a", "b"], tmp_path)


@given(st.integers(0, 2**32), st.integers(0, 7))
def test_no_single_bit_gives_a_wrong_answer(flipped, place, bit):
    path, ids, expected = flipped
    rows = row_path(path)
    whole = rows.read_bytes()
    content = bytearray(whole)
    content[place % len(content)] ^= 1 << bit
    rows.write_bytes(content)
    found, unknown, _ = asked(path, ids)
    np.testing.assert_array_equal(found, expected)
    assert unknown == []
    rows.write_bytes(whole)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory):
    path = tmp_path_factory.mktemp("flipped") / "items.index"
    ids = [f"sku-{number}" for number in range(60)]
    build(path, ids)
    expected = asked(path, ids)[0]
    make_row_file(path)
    return path, ids, expected


@pytest.mark.parametrize("content", [b"", b"embdrow1", os.urandom(5000), b"\0" * 9000])
def test_another_file_in_its_place_is_not_read(index, tmp_path, content):
    row_path(index).write_bytes(content)
    assert open_row_file(index, DIM) is None
    assert is_outdated(index)
    assert_same(index, ["a", "sku-3"], tmp_path)
    add_vectors(index, "new", vectors(3))
    assert row_path(index).read_bytes() == content


def test_an_index_that_is_called_so_is_not_written_over(tmp_path):
    build(tmp_path / "items", ["a", "b"])
    build(tmp_path / "items.rows", ["c"])
    before = (tmp_path / "items.rows").read_bytes()
    with pytest.raises(IndexFileError, match=r"items\.rows: expected a row file or none"):
        make_row_file(tmp_path / "items")
    assert (tmp_path / "items.rows").read_bytes() == before


@pytest.mark.parametrize(
    ("bucket_bytes", "buckets"),
    [(PAGE, 0), (0, 5), (PAGE, 2**62), (2**32 - 1, 2**63), (2**30, 1), (PAGE - 1, 1), (PAGE, 8)],
)
def test_a_header_that_says_other_sizes_is_not_read(index, bucket_bytes, buckets):
    header = row_file._HEADER.pack(row_file.MAGIC, DIM, bucket_bytes, buckets)
    with row_path(index).open("r+b") as file:
        file.write(row_file._sealed(header))
    assert open_row_file(index, DIM) is None


def test_one_that_ends_too_early_is_not_read(index, tmp_path):
    os.truncate(row_path(index), row_path(index).stat().st_size - 3000)
    assert open_row_file(index, DIM) is None
    assert_same(index, [f"sku-{number}" for number in range(297)], tmp_path)


def test_a_bucket_of_nonsense_is_given_up(index, tmp_path):
    with Store.open(index) as store, row_path(index).open("r+b") as file:
        rows = store._row_file
        for bucket in range(rows.buckets):  # keys without end, all of the same row
            keys = b"".join(row_file.entry_of(row_file.key_of(str(n)), 0) for n in range(1000))
            file.seek(rows.place(bucket))
            file.write(keys[: rows.bucket_bytes])
    assert_same(index, ["a", "1", "sku-5"], tmp_path)
    add_vectors(index, "a", vectors(4), replace=True)
    remove_items(index, ["aa"])
    assert not is_outdated(index)
    assert_same(index, ["a", "aa", "1", "sku-5"], tmp_path)


def test_a_long_id_makes_no_large_file(tmp_path):
    path = tmp_path / "items.index"
    build(path, ["x" * 20_000, *(f"sku-{number}" for number in range(200))])
    assert make_row_file(path) < 10 * PAGE
    assert_same(path, ["x" * 20_000, "sku-7"], tmp_path)


def test_one_that_was_outgrown_is_made_anew_by_a_build(tmp_path):
    path = tmp_path / "items.index"
    build(path, ["first"])
    make_row_file(path)
    assert not is_outdated(path)
    for number in range(100):
        add_vectors(path, f"later-{number}", vectors(number))
    assert is_outdated(path)


def test_it_may_be_read_by_whom_the_index_may_be(index):
    index.chmod(0o640)
    make_row_file(index)
    assert row_path(index).stat().st_mode & 0o777 == 0o640


def test_who_has_the_index_open_learns_of_a_new_one(index):
    with Store.open(index) as store:
        before = store.stamp()
        make_row_file(index)
        assert store.stamp() != before
        assert asked(index, ["a", "aa"])[2] == 0


def test_a_pipe_or_a_folder_in_its_place_keeps_nobody(index, tmp_path):
    row_path(index).unlink()
    os.mkfifo(row_path(index))
    assert_same(index, ["a"], tmp_path)
    row_path(index).unlink()
    row_path(index).mkdir()
    assert_same(index, ["a"], tmp_path)
    with pytest.raises(IndexFileError, match=r"items\.index\.rows.*: cannot be written: "):
        make_row_file(index)


def test_a_change_while_it_is_made_is_an_error_and_the_old_one_stays(index):
    before = row_path(index).read_bytes()

    def change(done, total):
        if done == total:
            remove_items(index, ["a"])

    with pytest.raises(IndexFileError, match="was changed meanwhile: make its row file again"):
        make_row_file(index, on_progress=change)
    assert [path.name for path in index.parent.iterdir() if "building" in path.name] == []
    assert len(row_path(index).read_bytes()) == len(before)
    assert asked(index, ["a"])[1] == ["a"]
    assert asked(index, ["aa"])[2] == 0  # it was followed


def test_two_do_not_make_it_at_once(index):
    def again(done, total):
        with pytest.raises(IndexFileError, match="another process is making it: try again later"):
            make_row_file(index)

    make_row_file(index, on_progress=again)
    assert not is_outdated(index)


def test_progress_ends_with_all(index):
    seen = []
    make_row_file(index, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == (300, 300)
    assert all(done < 300 for done, _ in seen[:-1])


def test_what_has_no_row_file_is_said(tmp_path):
    with pytest.raises(IndexFileError, match="expected an index file on Linux or macOS"):
        make_row_file(DatabaseUrl("postgresql://host/name"))
    with pytest.raises(IndexFileError, match="expected an index file, found none"):
        make_row_file(tmp_path / "none.index")
    with pytest.raises(IndexFileError, match="expected an index file, found none"):
        WritableStore.open(tmp_path / "none.index")


@pytest.mark.parametrize("change", ["photos = 9", "id = x'61'"])
def test_a_damaged_row_of_the_index_is_not_put_into_it(index, change):
    with WritableStore.open(index) as store:
        store.connection.execute(f"UPDATE items SET {change} WHERE id = 'aa'")
        store.connection.commit()
    with pytest.raises(IndexFileError, match=r"the row of item .* is damaged"):
        make_row_file(index)


def test_a_full_disk_is_one_line(index, little_room):
    row_path(index).unlink()
    with little_room(5000), pytest.raises(IndexFileError, match=r"cannot be written"):
        make_row_file(index)
    assert not list(Path(index.parent).glob("items.index.rows*"))


def test_one_that_cannot_be_written_is_left_behind(index, tmp_path):
    other = tmp_path / "rows"
    row_path(index).rename(other)
    row_path(index).symlink_to("/proc/self/status")  # which nobody can write, not even root
    add_vectors(index, "new", vectors(2))
    assert_same(index, ["new", "a"], tmp_path)
    row_path(index).unlink()
    other.rename(row_path(index))
    assert is_outdated(index)
    assert_same(index, ["new", "a"], tmp_path)


def test_one_that_is_being_changed_is_not_read(index, tmp_path):
    with open_row_file(index, DIM, "r+b").file as file, Store.open(index) as store:
        rows = open_row_file(index, DIM, "r+b")
        rows.begin_change()
        assert rows.rows(["a"], DIM, store.state()) == {}
        rows.file.close()
        assert file.writable()
    assert is_outdated(index)
    assert_same(index, ["a", "aa"], tmp_path)
    assert asked(index, ["a"])[2] == 1
