"""Rows of an index by their numbers: all of them, block by block, or some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.fetching import damaged_row
from index.rows import Row, are_centroids
from index.stores import AnyStore

_AT_ONCE = 10_000

_Found = tuple[int, str, bytes, int, float, int]


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


def scan(store: AnyStore, after: int | None = None) -> Iterator[Block]:
    """All items, ascending; those that another process adds meanwhile may be among them or not.

    Args:
        store: an open index.
        after: a number of a row: only those with a higher one.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    for found in _all(store, after):
        yield _block(store, found)


def scan_rows(store: AnyStore) -> Iterator[Row]:
    """As `scan`, the rows themselves, with their checksums.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    for found in _all(store):
        yield from _whole(store, found)


def numbered(store: AnyStore, numbers: npt.NDArray[np.int64]) -> Block:
    """The rows of these numbers, in this order, of those that the index has.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    return _block(store, store.rows_numbered(numbers.tolist()))


def following(store: AnyStore, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers of the rows at some numbers, or next after them: ascending, each once."""
    return np.unique(store.numbers_from(numbers.tolist())).astype(np.int64)


def span(store: AnyStore) -> tuple[int, int]:
    """The lowest and the highest number of a row; 0 and 0 where there is none."""
    return store.ends()


def _all(store: AnyStore, after: int | None = None) -> Iterator[list[_Found]]:
    last = -(2**63) if after is None else after
    # Not in one go, which would keep writers waiting.
    while found := store.rows_after(last, _AT_ONCE):
        yield found
        last = found[-1][0]


def _whole(store: AnyStore, found: list[_Found]) -> list[Row]:
    rows = [Row._make(values) for _, *values in found]
    for row in rows:
        if not row.is_whole(store.info.dim):
            raise damaged_row(store.path, row.item_id)
    return rows


def _block(store: AnyStore, found: list[_Found]) -> Block:
    rows = _whole(store, found)
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
