"""The nearest of all items, with and without a search file, beside numpy."""

import hashlib
import json
import os
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from embedder.errors import IndexFileError
from embedder.score_space import unit
from index import (
    Matcher,
    add_vectors,
    build_from_vectors,
    optimize,
    optimizing,
    remove_items,
    searching,
)
from index.scanning import numbered, span
from index.search_file import NoSearchFileError, open_search_file, search_path
from index.search_kinds import bytes_taken, chosen_kind, empty_rows
from index.stores import open_store
from index.whitening import read_score_space

ITEMS, DIM, QUERIES, TOP = 3000, 16, 40, 10


def made_up(items, seed):
    rng = np.random.default_rng(seed)
    families = rng.normal(size=(items // 10 + 1, DIM))
    return unit(families[np.arange(items) // 10] + 0.5 * rng.normal(size=(items, DIM)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An index of items of two photos each."""
    path = tmp_path_factory.mktemp("built") / "items.index"
    rng = np.random.default_rng(1)
    means = np.repeat(made_up(ITEMS, 0), 2, axis=0)
    ids = [f"sku-{at // 2:05d}" for at in range(2 * ITEMS)]
    build_from_vectors(means + 0.2 * rng.normal(size=means.shape), ids, path)
    return path


@pytest.fixture
def index(built, tmp_path, stored, monkeypatch):
    """The same to change, in either store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = stored(built)
    search_path(place).parent.mkdir(parents=True, exist_ok=True)
    return shutil.copy(built, tmp_path / "items.index") if place is built else place


@pytest.fixture
def large(monkeypatch):
    """An index of a few hundred items counts as large."""
    monkeypatch.setattr(optimizing, "MOST_READ", 100)


def asked():
    rng = np.random.default_rng(5)
    return made_up(ITEMS, 0)[rng.choice(ITEMS, QUERIES)] + 0.2 * rng.normal(size=(QUERIES, DIM))


def naive(path, vectors, count=TOP):
    """Ids and cosines in the score space, from all centroids at once."""
    with open_store(path) as store:
        ids = list(store.ids())
        centroids, _ = store.centroids(ids)
        space = read_score_space(store)
    vectors = unit(vectors).astype(np.float32)
    if space is not None:
        centroids, vectors = space.project(centroids), space.project(vectors)
    scores = vectors @ centroids.T
    order = np.argsort(-scores, axis=1)[:, :count]
    return [[ids[at] for at in row] for row in order], np.take_along_axis(scores, order, axis=1)


def search(path, vectors, count=TOP):
    with Matcher.open(path) as matcher:
        found = matcher.search_vectors(vectors, count)
    return [[item.item_id for item in one] for one in found], [
        [item.score for item in one] for one in found
    ]


def share(found, expected):
    same = [len(set(a) & set(b)) / len(b) for a, b in zip(found, expected, strict=True)]
    return float(np.mean(same))


def test_a_small_index_is_read_and_leaves_no_file(index):
    found, scores = search(index, asked())
    expected, cosines = naive(index, asked())
    assert found == expected
    np.testing.assert_allclose(scores, cosines, atol=1e-5)
    assert optimize(index).kind == "none"
    assert not search_path(index).exists()


def test_more_are_asked_for_than_there_are(index):
    found, _ = search(index, asked()[:2], ITEMS + 5)
    assert [sorted(one) for one in found] == [[f"sku-{at:05d}" for at in range(ITEMS)]] * 2


def test_a_large_index_makes_its_file_at_the_first_search_and_uses_it(index, large):
    expected, cosines = naive(index, asked())
    for _ in range(2):
        found, scores = search(index, asked())
        assert found == expected
        np.testing.assert_allclose(scores, cosines, atol=1e-5)
        made = search_path(index).stat().st_mtime_ns
    assert search_path(index).stat().st_mtime_ns == made


@pytest.mark.parametrize("kind", ["flat", "hnsw", "sq", "pq"])
def test_each_kind_finds_what_it_says_it_does(index, large, kind):
    report = optimize(index, kind)
    assert (report.kind, report.items) == (kind, ITEMS)
    assert report.bytes == search_path(index).stat().st_size
    found, scores = search(index, asked())
    expected, cosines = naive(index, asked())
    assert report.recall_10 >= 0.99 and report.recall_1 >= 0.99
    assert share(found, expected) >= 0.98
    assert [one[0] for one in found] == [one[0] for one in expected]
    # Whatever the file says, what is named has the score of its row.
    for ids, own, all_ids, known in zip(found, scores, expected, cosines, strict=True):
        known = dict(zip(all_ids, known, strict=True))
        for item_id, score in zip(ids, own, strict=True):
            assert score == pytest.approx(known.get(item_id, score), abs=1e-5)
        assert own == sorted(own, reverse=True)


@pytest.mark.parametrize(("kind", "dim"), [("sq", 7), ("sq", 100), ("pq", 7)])
def test_vectors_of_any_length_are_found(tmp_path, large, kind, dim):
    # Only multiples of 16 and of 2 go into the lists as they are.
    rng = np.random.default_rng(dim)
    vectors = unit(rng.normal(size=(ITEMS, dim)))
    index = tmp_path / "items.index"
    build_from_vectors(vectors, [f"sku-{at:05d}" for at in range(ITEMS)], index)
    report = optimize(index, kind)
    assert report.recall_10 >= 0.99
    tables = 4 * (dim + 15) * 512  # what it has besides, at most: of 256 entries, or lists
    assert 0 < report.bytes - bytes_taken(kind, ITEMS, dim) < tables + ITEMS
    photos = vectors[:QUERIES] + 0.02 * rng.normal(size=(QUERIES, dim))
    found, _ = search(index, photos)
    assert share(found, naive(index, photos)[0]) >= 0.98


def test_no_more_lists_are_looked_into_than_is_needed(index, large, monkeypatch):
    tried, nearest = {}, optimizing.nearest_rows

    def noted(rows, kind, effort, asked, count):
        tried[effort] = nearest(rows, kind, effort, asked, count), asked
        return tried[effort][0]

    monkeypatch.setattr(optimizing, "nearest_rows", noted)
    optimize(index, "sq")
    with open_store(index) as store:
        space = read_score_space(store)
        block = numbered(store, np.arange(ITEMS) + span(store)[0])
        effort = open_search_file(store, space).notes.effort
    known = block.vectors if space is None else space.project(block.vectors)

    def found(effort):
        rows, asked = tried[effort]
        truth = block.numbers[np.argsort(-(asked @ known.T), axis=1)[:, :TOP]]
        return share(rows.tolist(), truth.tolist())

    less = max(other for other in tried if other < effort)
    assert less >= 0.7 * effort
    assert found(less) < optimizing.TARGET <= found(effort)


@pytest.mark.parametrize("kind", ["flat", "sq"])
def test_items_added_and_removed_since_are_seen_without_another_file(index, large, kind):
    optimize(index, kind)
    made = search_path(index).read_bytes()
    vectors = asked()
    (first, *_), _ = naive(index, vectors)
    remove_items(index, [first[0]])
    add_vectors(index, "new one", vectors[3:4])
    found, _ = search(index, vectors)
    assert found[3][0] == "new one"
    assert first[0] not in found[0]
    assert share(found, naive(index, vectors)[0]) >= 0.98
    assert search_path(index).read_bytes() == made


def test_where_the_last_row_was_replaced_the_file_is_made_again(index, large):
    # Its number is given to another item, which the file does not know.
    optimize(index)
    with open_store(index) as store:
        _, last = span(store)
        (last_id,) = numbered(store, np.array([last])).ids
    vector = -made_up(ITEMS, 0)[:1]
    add_vectors(index, last_id, vector, replace=True)
    found, _ = search(index, vector)
    assert found[0][0] == last_id
    assert found == naive(index, vector)[0]


def test_a_file_of_another_index_is_not_trusted(index, large, tmp_path):
    other = tmp_path / "other.index"
    rng = np.random.default_rng(9)
    ids = [f"sku-{at:05d}" for at in range(ITEMS)]
    build_from_vectors(rng.normal(size=(ITEMS, DIM)), ids, other)
    optimize(other)
    shutil.copy(search_path(other), search_path(index))
    with (
        open_store(index) as store,
        pytest.raises(NoSearchFileError, match=r"of another index"),
    ):
        open_search_file(store, read_score_space(store))
    assert search(index, asked())[0] == naive(index, asked())[0]
    assert search_path(index).read_bytes() != search_path(other).read_bytes()


@pytest.mark.parametrize("kind", ["flat", "sq"])
def test_damage_anywhere_is_seen_and_mended(index, large, kind):
    optimize(index, kind)
    path, whole = search_path(index), search_path(index).read_bytes()
    expected, _ = search(index, asked())
    rng = np.random.default_rng(3)
    places = {0, len(whole) // 2, len(whole) - 1, len(whole) - 12, len(whole) - 100}
    places |= set(rng.integers(0, len(whole), 15).tolist())
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        with open_store(index) as store, pytest.raises(NoSearchFileError):
            open_search_file(store, read_score_space(store))
    for cut in (b"", whole[:10], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(cut)
        assert search(index, asked()[:1])[0] == expected[:1]


def test_notes_that_cannot_be_are_refused(index, large):
    optimize(index)
    path, whole = search_path(index), search_path(index).read_bytes()
    for wrong in (
        *({"items": "many"}, {"items": 0}, {"items": 1e999}, {"items": ITEMS - 1}, {"last": 3}),
        *({"last": [1]}, {"last": [2**70, "a", "b"]}, {"more": 1}, {"effort": -1}, {"kind": "rq"}),
        *({"kind": kind, "effort": 1} for kind in ("hnsw", "sq", "pq")),
        *({"kind": "sq"}, {"asked_for": 1}, {"shortlist": True}, {"version": 1}, {"lineage": None}),
    ):
        path.write_bytes(renoted(whole, wrong))
        with open_store(index) as store, pytest.raises(NoSearchFileError):
            open_search_file(store, read_score_space(store))
    assert search(index, asked()[:3])[0] == naive(index, asked()[:3])[0]


def renoted(whole, changes):
    """A search file with other notes, and the SHA-256 that it then has."""
    length = int.from_bytes(whole[-48:-40], "little")
    notes = json.loads(whole[-48 - length : -48])
    content = json.dumps(notes | changes).encode()
    signed = whole[: -48 - length] + content + len(content).to_bytes(8, "little")
    return signed + hashlib.sha256(signed).digest() + whole[-8:]


@pytest.mark.parametrize("kind", ["flat", "sq"])
def test_where_all_of_a_shortlist_was_removed_the_next_are_found(index, large, kind):
    optimize(index, kind)
    vectors = asked()[:2]
    remove_items(index, naive(index, vectors[:1], 60)[0][0])
    assert search(index, vectors)[0] == naive(index, vectors)[0]


def test_lists_that_were_not_looked_into_are_where_more_is_asked_for(index, large):
    optimize(index, "sq")
    found, _ = search(index, asked()[:1], ITEMS)
    assert found == naive(index, asked()[:1], ITEMS)[0]


def test_an_open_matcher_sees_what_others_add_and_remove(index, large):
    optimize(index)
    vectors = asked()[:2]
    with open_store(index) as store:
        highest = [span(store)[1] - at for at in range(2)]
        last, before = (numbered(store, np.array([number])).ids[0] for number in highest)
        kept, _ = store.centroids([last])
    with Matcher.open(index) as matcher:
        matcher.search_vectors(vectors)
        # The numbers of the last rows, were they given again, would be below what the file knows.
        remove_items(index, [last, before])
        add_vectors(index, "new one", vectors[:1])
        add_vectors(index, last, kept)
        found = [[item.item_id for item in one] for one in matcher.search_vectors(vectors)]
    assert found[0][0] == "new one"
    assert found == search(index, vectors)[0] == naive(index, vectors)[0]


def test_an_item_that_is_replaced_is_named_once(index, large):
    optimize(index)
    vectors = asked()[:1]
    (first, *_), *_ = naive(index, vectors)[0]
    for _ in range(2):
        add_vectors(index, first, vectors, replace=True)
    found, scores = search(index, vectors)
    assert found == naive(index, vectors)[0]
    assert found[0].count(first) == 1 and scores[0][0] == pytest.approx(1)


def test_an_index_that_was_built_again_meanwhile_keeps_the_file_of_its_own(index, large):
    old = Matcher.open(index)
    rng = np.random.default_rng(4)
    build_from_vectors(rng.normal(size=(ITEMS, DIM)), [f"n{at}" for at in range(ITEMS)], index)
    optimize(index)
    made = search_path(index).read_bytes()
    with old:  # it has the rows of the index that was there before
        assert old.search_vectors(asked()[:1])[0][0].item_id.startswith("sku-")
    assert search_path(index).read_bytes() == made


def test_what_is_no_file_is_not_waited_for(index, large):
    os.mkfifo(search_path(index))
    assert search(index, asked()[:2])[0] == naive(index, asked()[:2])[0]


def test_a_kind_that_was_asked_for_is_kept_until_another_is(index, large):
    def build_again():
        before = search_path(index).read_bytes()
        build_from_vectors(made_up(ITEMS, 0), [f"sku-{at:05d}" for at in range(ITEMS)], index)
        assert search_path(index).read_bytes() == before

    def kind_there():
        with open_store(index) as store:
            return open_search_file(store, read_score_space(store)).notes.kind

    assert optimize(index).kind == "flat"
    assert optimize(index, "sq").kind == "sq"
    for remake in (optimize, lambda path: search(path, asked()[:1]), optimize):
        build_again()
        remake(index)
        assert kind_there() == "sq"
    path = search_path(index)
    path.write_bytes(renoted(path.read_bytes(), {"version": 1}))
    search(index, asked()[:1])
    assert kind_there() == "sq"
    assert optimize(index, "hnsw").kind == "hnsw"
    search_path(index).unlink()
    search(index, asked()[:1])
    assert kind_there() == "flat"


def test_a_small_index_keeps_the_search_file_that_was_asked_for(index):
    optimize(index, "sq")
    with open_store(index) as store:
        ids = list(store.ids())
    build_from_vectors(made_up(ITEMS, 0), ids, index)
    assert optimize(index).kind == "sq"
    remove_items(index, ids)  # of which nothing can be made
    assert search(index, asked()[:1]) == ([[]], [[]])
    assert optimize(index).kind == "none"


@pytest.mark.parametrize("kind", ["hnsw", "sq"])
def test_many_threads_search_one_file(index, large, kind):
    optimize(index, kind)
    vectors = asked()
    with Matcher.open(index) as matcher, ThreadPoolExecutor(4) as pool:
        alone = matcher.search_vectors(vectors, TOP)
        found = list(pool.map(lambda one: matcher.search_vectors(one, TOP), 8 * [vectors]))
    assert found == 8 * [alone]


def test_vectors_are_filled_up_and_lists_shared_out_as_is_fast(index, large):
    # Recall says nothing of it.
    assert faiss.extract_index_ivf(empty_rows("sq", 100, 1)).d == 112
    optimize(index, "sq")
    with open_store(index) as store:
        file = open_search_file(store, read_score_space(store))
    assert faiss.extract_index_ivf(file._rows).parallel_mode == 1


@pytest.mark.parametrize("kind", ["sq", "pq"])
def test_what_faiss_warns_of_reaches_nobody(index, large, kind, capfd):
    with open_store(index) as store:
        ids = list(store.ids())
    remove_items(index, ids[300:])
    assert optimize(index, kind).items == 300
    assert capfd.readouterr() == ("", "")


def test_names_that_are_no_texts_and_numbers_with_gaps(built, tmp_path, large):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - of bytes
    index = shutil.copy(built, os.fsdecode(folder + b"/items.index"))
    index = Path(index)
    with open_store(index) as store:
        ids = list(store.ids())
    remove_items(index, [item_id for at, item_id in enumerate(ids) if at % 7])
    for kind in ("sq", "hnsw"):
        assert optimize(index, kind).recall_10 > 0.98
        assert share(search(index, asked())[0], naive(index, asked())[0]) >= 0.98


def test_too_few_items_for_a_kind_are_said_in_a_line(index, large):
    with open_store(index) as store:
        ids = list(store.ids())
    remove_items(index, ids[50:])
    wanted = r"items\.index\.search: expected 256 items or more for 'pq', found 50: choose"
    with pytest.raises(IndexFileError, match=wanted):
        optimize(index, "pq")
    assert not list(search_path(index).parent.glob("*.building"))


def test_what_faiss_cannot_do_is_said_in_a_line(index, large, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Error in train\nat Clustering.cpp:66")

    monkeypatch.setattr(optimizing, "empty_rows", refuse)
    wanted = r"items\.index\.search: FAISS cannot make it: Error in train at Clustering\.cpp:66$"
    with pytest.raises(IndexFileError, match=wanted):
        optimize(index)
    assert not list(search_path(index).parent.glob("*.building"))


def test_many_photos_are_searched_in_parts(index, large, monkeypatch):
    monkeypatch.setattr(searching, "_PHOTOS_AT_ONCE", 7)
    monkeypatch.setattr(searching, "_ROWS_AT_ONCE", 50)
    assert search(index, asked())[0] == naive(index, asked())[0]


def test_memory_does_not_grow_with_the_photos_searched_for(index, monkeypatch):
    monkeypatch.setattr(searching, "_PHOTOS_AT_ONCE", 50)

    def most(photos):
        vectors = np.resize(asked(), (photos, DIM)).astype(np.float32)
        with Matcher.open(index) as matcher:
            matcher.search_vectors(vectors[:1], 1)
            tracemalloc.start()
            try:
                matcher.search_vectors(vectors, 1)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert most(1000) < 1.5 * most(100)  # all pairs of 1,000 with the items are 12 MB


def test_a_file_that_cannot_be_written_leaves_reading_all_rows(index, large):
    search_path(index).with_name("items.index.search.building").mkdir()
    with pytest.raises(IndexFileError, match=r"items\.index\.search.*cannot be written"):
        optimize(index)
    assert search(index, asked())[0] == naive(index, asked())[0]
    assert not search_path(index).exists()


def test_the_kind_follows_from_size_and_memory():
    gigabyte = 1 << 30
    assert chosen_kind(1_000_000, 100, gigabyte) == "flat"
    assert chosen_kind(1_000_000, 2048, gigabyte) == "pq"
    assert chosen_kind(1_000_000, 2048, 6 * gigabyte) == "sq"
    assert chosen_kind(10_000_000, 100, 8 * gigabyte) == "sq"
    assert chosen_kind(10_000_000, 100, gigabyte) == "pq"


def test_an_index_without_items_and_a_kind_that_is_none(index, tmp_path):
    with pytest.raises(ValueError, match="expected a kind of flat, hnsw, sq, pq, got 'tree'"):
        optimize(index, "tree")
    with open_store(index) as store:
        ids = list(store.ids())
    remove_items(index, ids)
    with pytest.raises(IndexFileError, match="expected an index with items"):
        optimize(index, "flat")
    assert search(index, asked()[:2]) == ([[], []], [[], []])


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(index, count):
    with pytest.raises(ValueError, match="expected a count of 1 or more"):
        search(index, asked(), count)
