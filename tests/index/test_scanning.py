"""All rows of an index, block by block."""

import sqlite3

import numpy as np
import pytest

from embedder.errors import IndexFileError
from index import build_from_vectors, scanning
from index.scanning import scan
from index.store import Store
from index.stores import open_store

ITEMS = 25


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "_AT_ONCE", 10)
    rng = np.random.default_rng(0)
    ids = [f"sku-{rng.integers(10**9)}" for _ in range(ITEMS)]
    path = tmp_path / "items.index"
    build_from_vectors(rng.normal(size=(3 * ITEMS, 7)).astype("f4"), ids * 3, path)
    return path


def test_blocks_together_are_all_items_as_they_are_fetched_one_by_one(index, stored):
    with open_store(stored(index)) as store:
        blocks = list(scan(store))
        assert [len(block.ids) for block in blocks] == [10, 10, 5]
        numbers = np.concatenate([block.numbers for block in blocks])
        assert (np.diff(numbers) > 0).all()
        ids = [item_id for block in blocks for item_id in block.ids]
        assert sorted(ids) == list(store.ids())
        vectors, unknown = store.centroids(ids)
        assert not unknown
        np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks]), vectors)
        rows = store.statistics(ids)
        assert [rows[i].photos for i in ids] == [n for block in blocks for n in block.photos]
        assert [rows[i].dispersion for i in ids] == [
            value for block in blocks for value in block.dispersions
        ]


def test_a_damaged_row_is_named(index):
    with sqlite3.connect(index) as connection:
        (item_id,) = connection.execute("SELECT id FROM items WHERE number = 12").fetchone()
        connection.execute("UPDATE items SET photos = photos + 1 WHERE number = 12")
    with Store.open(index) as store, pytest.raises(IndexFileError, match=item_id):
        list(scan(store))
