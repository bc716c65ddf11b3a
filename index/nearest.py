"""The nearest rows of each of some vectors, kept while rows come block by block."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedder.score_space import cosines
from index.results import Neighbour
from index.scanning import Block

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass
class Best:
    """The nearest rows so far of each of some vectors; rows come in blocks.

    Attributes:
        asked: float32 (photos, dim), in the score space; of unit norm, or means of such.
        count: how many are kept of each.
        scores: float32 (photos, at most count), in no order.
        numbers: of the rows, int64 of the same shape.
        ids: of items that were among them at some time, by number.
    """

    asked: Vectors
    count: int
    scores: Vectors = field(init=False)
    numbers: Numbers = field(init=False)
    ids: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scores = np.empty((len(self.asked), 0), np.float32)
        self.numbers = np.empty((len(self.asked), 0), np.int64)

    def take_in(self, block: Block, vectors: Vectors) -> None:
        """Compare with all rows of a block; `vectors` are theirs in the score space."""
        found = cosines(self.asked, vectors)
        top = min(self.count, found.shape[1])
        if top < found.shape[1]:
            columns = np.argpartition(found, -top, axis=1)[:, -top:]
        else:
            columns = np.broadcast_to(np.arange(top), (len(found), top))
        self.keep(np.take_along_axis(found, columns, axis=1), block.numbers[columns])
        self._name(block)

    def keep(self, scores: Vectors, numbers: Numbers) -> None:
        """Take in rows whose scores are known."""
        self.scores = np.concatenate([self.scores, scores], axis=1)
        self.numbers = np.concatenate([self.numbers, numbers], axis=1)
        if self.scores.shape[1] > self.count:
            best = np.argpartition(self.scores, -self.count, axis=1)[:, -self.count :]
            self.scores = np.take_along_axis(self.scores, best, axis=1)
            self.numbers = np.take_along_axis(self.numbers, best, axis=1)

    def take_in_own(self, block: Block, vectors: Vectors, wanted: Numbers) -> None:
        """Compare each vector with rows of its own, those of `wanted` (photos, rows) it has.

        Numbers of a block ascend; a number of `wanted` that is not among them does not count.
        """
        if not block.ids:
            return
        at = np.minimum(np.searchsorted(block.numbers, wanted), len(block.ids) - 1)
        there = block.numbers[at] == wanted
        scores = np.full(wanted.shape, -np.inf, np.float32)
        for row, (places, known) in enumerate(zip(at, there, strict=True)):
            scores[row, known] = vectors[places[known]] @ self.asked[row]
        self.keep(scores, wanted)
        self._name(block)

    def found(self) -> npt.NDArray[np.int64]:
        """How many rows are known of each vector: int64 (photos,)."""
        counts: npt.NDArray[np.int64] = np.isfinite(self.scores).sum(axis=1)
        return counts

    def sorted(self) -> list[tuple[Neighbour, ...]]:
        """Of each vector the nearest items, the nearest first."""
        nearest = []
        for scores, numbers in zip(self.scores, self.numbers, strict=True):
            items: dict[str, tuple[int, float]] = {}
            for at in np.flatnonzero(np.isfinite(scores)):
                number = int(numbers[at])
                # One that was replaced meanwhile has two rows, of which the later counts.
                if number >= items.get(self.ids[number], (number, 0.0))[0]:
                    items[self.ids[number]] = number, float(scores[at])
            ranked = sorted(items, key=lambda item_id: (-items[item_id][1], items[item_id][0]))
            nearest.append(tuple(Neighbour(item_id, items[item_id][1]) for item_id in ranked))
        return nearest

    def _name(self, block: Block) -> None:
        kept = np.isin(block.numbers, self.numbers)
        self.ids.update((int(block.numbers[at]), block.ids[at]) for at in np.flatnonzero(kept))
