"""Rows of an index by their numbers: all of them, block by block, or some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.database import sqlite_errors
from index.fetching import damaged_row
from index.rows import Row, are_centroids
from index.store import Store

_COLUMNS = "number, items.id, centroid, photos, dispersion, checksum"
_AFTER = f"SELECT {_COLUMNS} FROM items WHERE number > ? ORDER BY number LIMIT ?"
_SOME = f"""
SELECT {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN items ON items.number = wanted.value
"""
# Of one end each: asked for both, SQLite would look at all.
_ENDS = tuple(f"SELECT coalesce({end}(number), 0) FROM items" for end in ("min", "max"))
_FOLLOWING = """
SELECT (SELECT number FROM items WHERE number >= wanted.value ORDER BY number LIMIT 1)
FROM json_each(?) AS wanted
"""
_AT_ONCE = 10_000


class Block(NamedTuple):
    """Some items that follow each other.

    Attributes:
        numbers: int64 (items,), of the rows: an item keeps its own as long as it stays as it is,
            and one that is added gets a higher one than any that is there.
        ids: their ids.
        vectors: float32 (items, dim), their centroids, of unit norm or zero.
        photos: int64 (items,), how many photos went into each.
        dispersions: float64 (items,), as in `index.rows.Item`.
    """

    numbers: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    photos: npt.NDArray[np.int64]
    dispersions: npt.NDArray[np.float64]


def scan(store: Store, after: int | None = None) -> Iterator[Block]:
    """All items, ascending; those that another process adds meanwhile may be among them or not.

    Args:
        store: an open index.
        after: a number of a row: only those with a higher one.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    last = -(2**63) if after is None else after
    while True:  # not in one go, which would keep writers waiting
        with sqlite_errors(store.path):
            found = store.connection.execute(_AFTER, (last, _AT_ONCE)).fetchall()
        if not found:
            return
        yield _block(store, found)
        last = found[-1][0]


def numbered(store: Store, numbers: npt.NDArray[np.int64]) -> Block:
    """The rows of these numbers, in this order, of those that the index has.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    with sqlite_errors(store.path):
        found = store.connection.execute(_SOME, (json.dumps(numbers.tolist()),)).fetchall()
    return _block(store, found)


def following(store: Store, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers of the rows at some numbers, or next after them: ascending, each once."""
    with sqlite_errors(store.path):
        found = store.connection.execute(_FOLLOWING, (json.dumps(numbers.tolist()),)).fetchall()
    return np.unique([number for (number,) in found if number is not None]).astype(np.int64)


def span(store: Store) -> tuple[int, int]:
    """The lowest and the highest number of a row; 0 and 0 where there is none."""
    with sqlite_errors(store.path):
        first, last = (store.connection.execute(query).fetchone()[0] for query in _ENDS)
    return first, last


def _block(store: Store, found: list[tuple[int, str, bytes, int, float, int]]) -> Block:
    rows = [Row._make(values) for _, *values in found]
    for row in rows:
        if not row.is_whole(store.info.dim):
            raise damaged_row(store.path, row.item_id)
    content = b"".join([row.centroid for row in rows])
    vectors = np.frombuffer(content, dtype="<f4").reshape(-1, store.info.dim)
    usable = are_centroids(vectors)
    if not usable.all():
        raise damaged_row(store.path, rows[int(usable.argmin())].item_id)
    return Block(
        np.array([number for number, *_ in found], np.int64),
        tuple(row.item_id for row in rows),
        vectors,
        np.array([row.photos for row in rows], np.int64),
        np.array([row.dispersion for row in rows]),
    )
