"""The nearest rows of each of some vectors, kept while rows come block by block."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace, cosines
from index.results import Neighbour
from index.scanning import Block

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass
class Best:
    """The nearest rows so far of each of some vectors; rows come in blocks.

    Attributes:
        asked: float32 (photos, dim), unit norm, in the score space.
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

    def take_in_some(self, block: Block, vectors: Vectors, wanted: Numbers) -> None:
        """Compare each vector with rows of its own: `wanted` (photos, rows), -1 for none."""
        places = {number: at for at, number in enumerate(block.numbers.tolist())}
        at = np.array([[places.get(n, -1) for n in row] for row in wanted.tolist()], np.int64)
        scores = np.full(wanted.shape, -np.inf, np.float32)
        for row, chosen in enumerate(at):
            there = chosen >= 0
            scores[row, there] = vectors[chosen[there]] @ self.asked[row]
        self.keep(scores, wanted)
        self._name(block)

    def sorted(self) -> list[tuple[Neighbour, ...]]:
        """Of each vector the nearest items, the nearest first."""
        found = []
        for scores, numbers in zip(self.scores, self.numbers, strict=True):
            order = np.lexsort((numbers, -scores))
            there = [at for at in order if np.isfinite(scores[at])][: self.count]
            found.append(
                tuple(Neighbour(self.ids[int(numbers[at])], float(scores[at])) for at in there)
            )
        return found

    def _name(self, block: Block) -> None:
        kept = np.isin(block.numbers, self.numbers)
        self.ids.update((int(block.numbers[at]), block.ids[at]) for at in np.flatnonzero(kept))


def projected(vectors: Vectors, space: ScoreSpace | None) -> Vectors:
    """Vectors (rows, dim) in the score space of an index."""
    return vectors if space is None else space.project(vectors)
