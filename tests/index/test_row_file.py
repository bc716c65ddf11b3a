"""The row file beside an index: whatever is in it, answers are those of the index."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import IndexFileError
from index import add_vectors, build_from_vectors, make_row_file, remove_items
from index.places import DatabaseUrl
from index.row_file import STATE_AT, open_row_file, row_path
from index.row_file_making import is_outdated
from index.rows import Item
from index.store import Store
from index.store_writing import WritableStore

DIM = 6
ODD = ["", "\0", "\ud800", "x" * 70_000, "sku-297", "a"]  # what a candidate can be called


def vectors(seed, count=1):
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def build(path, ids):
    build_from_vectors(np.concatenate([vectors(at) for at in range(len(ids))]), ids, path)


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


@settings(max_examples=20)  # each change is a commit to the disk
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove"]), st.sampled_from("abcdefgh"), st.integers(0, 9)
        )
    )
)
def test_it_follows_all_changes(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("followed") / "items.index"
    build(path, ["a", "b"])
    make_row_file(path)
    expected = {"a": vectors(0), "b": vectors(1)}
    for what, item_id, seed in changes:
        if what == "put":
            add_vectors(path, item_id, vectors(seed), replace=True)
            expected[item_id] = vectors(seed)
        elif item_id in expected:
            remove_items(path, [item_id])
            del expected[item_id]
    found, unknown, _ = asked(path, list("abcdefgh"))
    there = sorted(expected)
    assert unknown == sorted({*"abcdefgh"} - expected.keys())
    assert len(found) == len(there)
    for vector, item_id in zip(found, there, strict=True):
        raw = expected[item_id][0]
        np.testing.assert_allclose(vector, raw / np.linalg.norm(raw), rtol=1e-6, atol=1e-7)
    assert not is_outdated(path)
    if expected:
        assert asked(path, list(expected))[2] == 0


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


def test_who_does_not_follow_leaves_it_unread(index, tmp_path):
    with WritableStore.open(index) as store:  # as one that is killed between the two files
        store.remove(["a"])
        store.put(Item("aa2", vectors(5)[0] / np.linalg.norm(vectors(5)[0]), 1, 0.0, "", b""))
        store.commit()
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


def test_one_that_ends_too_early_is_asked_for_less(index, tmp_path):
    size = row_path(index).stat().st_size
    os.truncate(row_path(index), size - 3000)
    assert_same(index, [f"sku-{number}" for number in range(297)], tmp_path)
    add_vectors(index, "sku-9", vectors(9), replace=True)
    assert_same(index, [f"sku-{number}" for number in range(297)], tmp_path)


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


def test_a_state_that_is_half_written_is_no_state(index, tmp_path):
    with row_path(index).open("r+b") as file:
        file.seek(STATE_AT)
        file.write(bytes(16))
    assert is_outdated(index)
    assert_same(index, ["a", "aa"], tmp_path)
    assert asked(index, ["a"])[2] == 1
