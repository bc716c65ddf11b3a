"""The score space of an index: what is collected for it, how it is fitted, kept and read.

How much photos differ within an item is kept for a sample of the items, so that what it takes does
not grow with the index. The sample hangs on the catalogue alone, so an index that was brought up to
date, or whose build was interrupted, gets the score space of one that was built at once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from heapq import nsmallest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace, fit_score_space
from index.parts import damaged_part, put_part, read_part
from index.rows import Item
from index.statistics import RunningItem
from index.stores import AnyStore

if TYPE_CHECKING:
    from index.store_writing import WritableStore

_SCORE_SPACE = "score_space"  # its name in the index

_MOST = 1e6  # a number of a score space; those of photos that differ at all are below
MOST_ITEMS = 1000  # in the sample: 20 kB each


@dataclass(frozen=True)
class Spread:
    """What one item of the sample adds to the score space.

    Attributes:
        photos: of the item.
        centroid: float32 (dim,).
        triangle: float32, the upper triangle, row by row, of the sum (dim, dim) of the outer
            products of the deviations from the mean.
    """

    photos: int
    centroid: npt.NDArray[np.float32]
    triangle: npt.NDArray[np.float32]


def sample(photos: Mapping[str, Sequence[object]]) -> frozenset[str]:
    """The items to collect spreads of: `MOST_ITEMS` of those with two photos or more.

    Args:
        photos: of each item, by its id. The ids with the smallest hashes are taken.
    """
    several = [item for item, found in photos.items() if len(found) > 1]
    if len(several) <= MOST_ITEMS:
        return frozenset(several)
    return frozenset(nsmallest(MOST_ITEMS, several, rank))


def rank(item_id: str) -> bytes:
    """Of an item, the hash that says whether it is in the sample."""
    return blake2b(item_id.encode()).digest()


def put_spread(store: WritableStore, item: Item, running: RunningItem) -> None:
    """Add the spread of an item; `commit` keeps it."""
    triangle = running.scatter()[_upper(store.info.dim)]
    numbers = np.concatenate([item.centroid, triangle]).astype("<f4").tobytes()
    content = struct.pack("<q", item.photos) + numbers
    store.put_spread(item.item_id, content + _checksum(item.item_id, content))


def whole_spreads(store: AnyStore) -> Iterator[tuple[str, Spread]]:
    """Item ids and spreads of a store, in the order of the ids; damaged ones are left out."""
    for item_id, content in store.spreads():
        if isinstance(item_id, str) and (spread := _spread(item_id, content, store.info.dim)):
            yield item_id, spread


def without_spread(store: WritableStore, items: frozenset[str]) -> frozenset[str]:
    """Those of some items of which no whole spread is there; spreads of others are removed."""
    spreads = {item_id for item_id, _ in whole_spreads(store)}
    store.remove_spreads(spreads - items)
    return items - spreads


def fit(store: WritableStore) -> ScoreSpace | None:
    """The score space of the spreads in a store; None if there are too few photos for one."""
    dim = store.info.dim
    triangle, freedom, centroids = np.zeros(dim * (dim + 1) // 2), 0, []
    for _, spread in whole_spreads(store):
        triangle += spread.triangle
        freedom += spread.photos - 1
        centroids.append(spread.centroid)
    scatter, upper = np.empty((dim, dim)), _upper(dim)
    scatter[upper] = scatter.T[upper] = triangle
    return fit_score_space(scatter, freedom, np.array(centroids, np.float32).reshape(-1, dim))


def write_score_space(store: WritableStore, space: ScoreSpace | None) -> None:
    """Put a score space into a store, or take it out; `commit` keeps that."""
    content = None
    if space is not None:
        content = np.concatenate([space.centre, space.matrix.ravel()]).astype("<f4").tobytes()
    put_part(store, _SCORE_SPACE, content)


def read_score_space(store: AnyStore) -> ScoreSpace | None:
    """The score space of a finished index; None if its scores are plain cosines.

    Raises:
        IndexFileError: it is damaged.
    """
    if not store.info.whitened:
        return None
    dim, content = store.info.dim, read_part(store, _SCORE_SPACE)
    if content is None or len(content) != 4 * (dim + dim * dim):
        raise damaged_part(store, _SCORE_SPACE, "checksum")
    numbers = np.frombuffer(content, dtype="<f4")
    if not (np.abs(numbers) < _MOST).all():
        raise damaged_part(store, _SCORE_SPACE, "a number is out of range")
    return ScoreSpace(numbers[:dim], numbers[dim:].reshape(dim, dim))


def _spread(item_id: str, content: object, dim: int) -> Spread | None:
    """None if it is damaged, of whatever type."""
    count = dim + dim * (dim + 1) // 2
    if not isinstance(content, bytes) or len(content) != 8 + 4 * count + 4:
        return None
    if _checksum(item_id, content[:-4]) != content[-4:]:
        return None
    numbers = np.frombuffer(content, dtype="<f4", offset=8, count=count)
    return Spread(struct.unpack("<q", content[:8])[0], numbers[:dim], numbers[dim:])


@lru_cache(1)
def _upper(dim: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Where the upper triangle of a matrix is; found anew it takes longer than what is read."""
    return np.triu_indices(dim)


def _checksum(item_id: str, content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content, zlib.crc32(item_id.encode())))
