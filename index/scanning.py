"""All rows of an index, block by block, in the order in which they were written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.database import sqlite_errors
from index.fetching import damaged_row
from index.rows import Row, are_centroids

_ROWS = """
SELECT number, id, centroid, photos, dispersion, checksum FROM items
WHERE number > ? ORDER BY number LIMIT ?
"""
_AT_ONCE = 10_000


class Block(NamedTuple):
    """Some items that follow each other.

    Attributes:
        numbers: int64 (items,), ascending: of the rows, for as long as an item stays as it is.
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


def scan_rows(path: Path, connection: sqlite3.Connection, dim: int) -> Iterator[Block]:
    """All items; those that another process adds meanwhile may be among them or not.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    last = -(2**63)
    while True:  # not in one go, which would keep writers waiting
        with sqlite_errors(path):
            found = connection.execute(_ROWS, (last, _AT_ONCE)).fetchall()
        if not found:
            return
        yield _block(path, found, dim)
        last = found[-1][0]


def _block(path: Path, found: list[tuple[int, str, bytes, int, float, int]], dim: int) -> Block:
    rows = [Row._make(values) for _, *values in found]
    for row in rows:
        if not row.is_whole(dim):
            raise damaged_row(path, row.item_id)
    content = b"".join([row.centroid for row in rows])
    vectors = np.frombuffer(content, dtype="<f4").reshape(-1, dim)
    usable = are_centroids(vectors)
    if not usable.all():
        raise damaged_row(path, rows[int(usable.argmin())].item_id)
    return Block(
        np.array([number for number, *_ in found], np.int64),
        tuple(row.item_id for row in rows),
        vectors,
        np.array([row.photos for row in rows], np.int64),
        np.array([row.dispersion for row in rows]),
    )
