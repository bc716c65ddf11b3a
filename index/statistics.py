"""What is kept of an item's photos, computed one vector at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import PhotoError
from embedder.inference import Vector
from index.rows import Item

Exact = npt.NDArray[np.float64]

# So many vectors are summed at once: one by one they take ten times as long.
_BATCH = 32


class Gathered(NamedTuple):
    """What came of the photos of one item.

    Attributes:
        item: its row; None if no photo can be read.
        running: what the row was made from.
        unreadable: photos that cannot be read.
    """

    item: Item | None
    running: RunningItem
    unreadable: list[PhotoError]


def gather(
    item_id: str,
    photos: Iterable[tuple[str, Vector | PhotoError]],
    dim: int,
    *,
    scatter: bool = False,
) -> Gathered:
    """Take in the photos of one item, one by one; the row has no signature yet.

    Args:
        item_id: of the item.
        photos: what to call each, and its vector (dim,) or why it cannot be read.
        dim: numbers in a vector.
        scatter: whether `running.scatter` will be asked for.
    """
    running, unreadable, reference = RunningItem(dim, scatter=scatter), [], ""
    for name, result in photos:
        if isinstance(result, PhotoError):
            unreadable.append(result)
        else:
            running.add(result)
            reference = reference or name
    if not running.count:
        return Gathered(None, running, unreadable)
    centroid, dispersion = running.centroid(), running.dispersion()
    item = Item(item_id, centroid, running.count, dispersion, reference, b"")
    return Gathered(item, running, unreadable)


class RunningItem:
    """Count, mean direction, dispersion and scatter of a stream of vectors, in float64.

    Attributes:
        count: vectors so far.
    """

    def __init__(self, dim: int, *, scatter: bool = True) -> None:
        self.count = 0
        self._of_scatter = scatter  # which takes longer than all else where vectors are long
        self._sum = np.zeros(dim)
        self._squares = 0.0
        self._products: Exact | float = 0.0
        self._waiting: list[npt.NDArray[np.float32]] = []

    def add(self, vector: npt.NDArray[np.float32]) -> None:
        """Take in one vector (dim,)."""
        self.count += 1
        self._waiting.append(vector)
        if len(self._waiting) == _BATCH:
            self._take_in()

    def merge(self, other: RunningItem) -> None:
        """Take in all that another one of as long vectors has, with a scatter if this has one."""
        self._take_in()
        other._take_in()
        self.count += other.count
        self._sum = self._sum + other._sum  # a new one: copies share the old one
        self._squares += other._squares
        if self._of_scatter:
            self._products = self._products + other._products

    def to_array(self) -> Exact:
        """All of it as numbers, for `from_array`."""
        self._take_in()
        parts = [np.array([self.count, self._squares]), self._sum]
        if self._of_scatter:
            dim = len(self._sum)
            parts.append((np.zeros((dim, dim)) + self._products)[np.triu_indices(dim)])
        return np.concatenate(parts)

    @classmethod
    def from_array(cls, numbers: Exact, dim: int) -> RunningItem:
        """The inverse of `to_array`."""
        running = cls(dim, scatter=len(numbers) > 2 + dim)
        running.count, running._squares = int(numbers[0]), float(numbers[1])
        running._sum = numbers[2 : 2 + dim].copy()
        if running._of_scatter:
            products = np.zeros((dim, dim))
            products[np.triu_indices(dim)] = numbers[2 + dim :]
            running._products = products + np.triu(products, 1).T
        return running

    def centroid(self) -> npt.NDArray[np.float32]:
        """The direction of the mean, float32 (dim,) of unit norm; zeros if the mean is zero."""
        self._take_in()
        norm = float(np.linalg.norm(self._sum))
        return (self._sum / norm if norm > 0 else self._sum).astype(np.float32)

    def dispersion(self) -> float:
        """Mean squared distance of the vectors to their mean: E|v|^2 - |E v|^2."""
        self._take_in()
        mean = self._sum / self.count
        return max(0.0, self._squares / self.count - float(mean @ mean))

    def scatter(self) -> Exact:
        """Sum of the outer products of the deviations from the mean, (dim, dim)."""
        self._take_in()
        mean = self._sum / self.count
        return self._products - np.outer(self._sum, mean)

    def _take_in(self) -> None:
        if self._waiting:
            vectors = np.array(self._waiting, np.float64)
            self._sum += vectors.sum(axis=0)
            self._squares += float((vectors * vectors).sum())
            if self._of_scatter:
                self._products = self._products + vectors.T @ vectors
            self._waiting.clear()
