"""Which items of the whole index are nearest to a photo, where no list of candidates is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace, cosines
from index.scanning import Block
from index.search_file import SearchFile
from index.store import Store

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

_ROWS_AT_ONCE = 20_000  # fetched by number


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item near a photo.

    Attributes:
        item_id: its id.
        score: cosine to its centroid, -1 to 1; of whitened vectors if the index says so.
    """

    item_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a search says of one photo, or several photos of one object.

    Attributes:
        photo: as `index.Match` calls it.
        items: the nearest, the nearest first; none if it cannot be read.
        reason: why it cannot be read, or which of its photos cannot; None if all can.
    """

    photo: str
    items: tuple[Neighbour, ...]
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, as `embed search --format json` prints them."""
        items = [{"item_id": item.item_id, "score": item.score} for item in self.items]
        return {"photo": self.photo, "items": items, "reason": self.reason}


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


def nearest_of_all(
    store: Store,
    space: ScoreSpace | None,
    file: SearchFile | None,
    asked: Vectors,
    count: int,
) -> list[tuple[Neighbour, ...]]:
    """The items of an index that are nearest to some vectors.

    Each item that is named was compared exactly, by its checked row. Without a search file all rows
    are read, which is exact and takes two seconds for a million of them.

    Args:
        store: the index.
        space: its score space; None if vectors are compared as they are.
        file: its search file.
        asked: float32 (photos, dim), unit norm, in that space.
        count: how many are asked for.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    best = Best(asked, count)
    after = None
    if file is not None:
        wanted = file.shortlist(asked, count)
        rows = np.unique(wanted[wanted >= 0])
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            block = store.numbered(rows[start : start + _ROWS_AT_ONCE])
            best.take_in_some(block, projected(block.vectors, space), wanted)
        after = file.notes.last[0]
    for block in store.scan(after):
        best.take_in(block, projected(block.vectors, space))
    return best.sorted()


def projected(vectors: Vectors, space: ScoreSpace | None) -> Vectors:
    """Vectors (rows, dim) in the score space of an index."""
    return vectors if space is None else space.project(vectors)
