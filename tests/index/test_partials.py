import sqlite3

import numpy as np
import pytest

from embedder.errors import PhotoError
from index.kept_chunks import KeptChunks
from index.kept_photos import DamagedKeptError
from index.partials import Partial, Run, Seen, Vectored, merged_run
from index.statistics import RunningItem

DIM = 7


def partial_of(item, vectors, first=0, scatter=True):
    running = RunningItem(DIM, scatter=scatter)
    photos, kept = [], []
    for at, vector in enumerate(vectors, first):
        running.add(vector)
        photos.append(Seen(f"{at:04d}.jpg", at, 10 * at))
        kept.append(Vectored(f"{at:04d}.jpg", bytes([at]) * 16, vector))
    return Partial(item, running, photos, kept)


def vectors_of(count, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_merged_parts_say_what_all_photos_say(order):
    vectors = vectors_of(100)
    parts = [vectors[:3], vectors[3:70], vectors[70:]]
    starts = (0, 3, 70)
    runs = [Run((b"s" * 16,), 1, [partial_of("a", parts[at], starts[at])]) for at in order]
    before = runs[0].partials[0].running.count
    merged = merged_run([merged_run(runs[:2]), runs[2]])
    assert runs[0].partials[0].running.count == before  # Dask may hold it still
    (found,) = merged.partials
    row = found.row()
    exact = vectors.astype(np.float64)
    mean = exact.mean(axis=0)
    assert (row.photos, row.reference) == (100, "0000.jpg")
    np.testing.assert_allclose(row.centroid, mean / np.linalg.norm(mean), atol=1e-7)
    assert row.dispersion == pytest.approx(((exact - mean) ** 2).sum(axis=1).mean())
    deviations = exact - mean
    np.testing.assert_allclose(found.running.scatter(), deviations.T @ deviations, atol=1e-10)
    assert (len(merged.states), merged.embedded) == (3, 3)


def test_items_of_runs_come_once_and_in_order():
    runs = [
        Run((), 0, [partial_of(item, vectors_of(2), at) for item in items])
        for at, items in enumerate(("ac", "bcd", "a", ""))
    ]
    merged = merged_run(runs)
    assert [(each.item_id, each.running.count) for each in merged.partials] == [
        ("a", 4),
        ("b", 2),
        ("c", 4),
        ("d", 2),
    ]


@pytest.mark.parametrize("scatter", [False, True])
def test_bytes_and_back(scatter):
    partial = partial_of("a", vectors_of(40), scatter=scatter)
    partial.photos.append(Seen("odd \udcff.jpg", -1, -1, "cat/odd ?.jpg", "no such file"))
    again = Partial.from_bytes("a", partial.to_bytes(), DIM)
    assert again.photos == partial.photos
    np.testing.assert_array_equal(again.running.to_array(), partial.running.to_array())
    for one, other in zip(again.vectors, partial.vectors, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_array_equal(one.vector, other.vector)
    (error,) = again.unreadable()
    assert isinstance(error, PhotoError)
    assert str(error) == "cat/odd ?.jpg: no such file"


def test_an_item_without_a_readable_photo_has_no_row():
    assert Partial("a", RunningItem(DIM), [Seen("x", 1, 1, "x", "why")]).row() is None


def test_kept_groups_are_put_side_by_side_by_item(tmp_path):
    place = tmp_path / "items.index.chunks"
    states = (b"1" * 16, b"2" * 16)
    with KeptChunks.open(place, "model", DIM) as kept:
        assert kept.states(b"one") is None
        kept.put(b"one", Run(states, 3, [partial_of("b", vectors_of(3))]))
        kept.put(b"two", Run(states, 2, [partial_of(item, vectors_of(2), 3) for item in "ab"]))
        kept.put(b"old", Run(states, 2, [partial_of("z", vectors_of(2))]))
        kept.put(b"one", Run(states, 3, [partial_of("b", vectors_of(4))]))  # in its place
    with KeptChunks.open(place, "model", DIM) as kept:
        kept.remove_others({b"one", b"two"})
        assert kept.states(b"one") == states
        assert kept.states(b"old") is None
        assert [(item.item_id, item.running.count) for item in kept.items()] == [("a", 2), ("b", 6)]
        assert kept.has("a") and not kept.has("z")
    with KeptChunks.open(place, "other model", DIM) as kept:
        assert kept.states(b"one") is None


def test_damage_to_what_is_kept_is_seen(tmp_path):
    place = tmp_path / "items.index.chunks"
    with KeptChunks.open(place, "model", DIM) as kept:
        kept.put(b"one", Run((b"1" * 16,), 3, [partial_of("b", vectors_of(3))]))
    database = sqlite3.connect(place)
    database.execute("UPDATE partials SET content = substr(content, 2)")
    database.commit()
    database.close()
    with KeptChunks.open(place, "model", DIM) as kept, pytest.raises(DamagedKeptError):
        list(kept.items())
    place.write_bytes(b"no database" * 1000)
    with KeptChunks.open(place, "model", DIM) as kept:
        assert kept.states(b"one") is None
