"""Which items of the whole index are nearest to a photo, where no list of candidates is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace
from index.nearest import Best, projected
from index.optimizing import current_search_file
from index.results import Found, Neighbour
from index.scanning import numbered, scan
from index.search_file import SearchFile
from index.store import Store
from index.views import Embedded, Views, pooled, unreadable_views

_ROWS_AT_ONCE = 20_000  # fetched by number


class Searcher:
    """The nearest of all items of an open index. Safe to use from several threads.

    Each item that is named was compared exactly, by its checked row. Without a search file all rows
    are read, which is exact and takes two seconds for a million of them.
    """

    def __init__(self, store: Store, space: ScoreSpace | None) -> None:
        self._store, self._space = store, space
        self._file: SearchFile | None = None

    def nearest(
        self,
        asked: npt.NDArray[np.floating],
        count: int,
        on_making: Callable[[int, int], None],
    ) -> list[tuple[Neighbour, ...]]:
        """The items nearest to each vector (photos, dim) of the score space, nearest first.

        Raises:
            IndexFileError: a row is damaged; names the item.
            ValueError: the count is below 1.
        """
        if count < 1:
            raise ValueError(f"expected a count of 1 or more, got {count}")
        if self._file is None:
            self._file = current_search_file(self._store, self._space, on_making)
        best, after = Best(asked.astype(np.float32), count), None
        if self._file is not None:
            wanted = self._file.shortlist(best.asked, count)
            rows = np.unique(wanted[wanted >= 0])
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                block = numbered(self._store, rows[start : start + _ROWS_AT_ONCE])
                best.take_in_some(block, projected(block.vectors, self._space), wanted)
            after = self._file.notes.last[0]
        for block in scan(self._store, after):
            best.take_in(block, projected(block.vectors, self._space))
        return best.sorted()

    def search(
        self,
        objects: Sequence[Views],
        embedded: Embedded,
        count: int,
        on_making: Callable[[int, int], None],
    ) -> list[Found]:
        """`nearest` to the mean of each object's photos, of those that can be read."""
        vectors = np.array(embedded.vectors, np.float32).reshape(-1, self._store.info.dim)
        owners = np.array(embedded.owners, np.int64)
        means, counts = pooled(projected(vectors, self._space), owners, len(objects))
        nearest = iter(self.nearest(means[counts > 0], count, on_making))
        return [
            Found(views.name, next(nearest) if seen else (), unreadable_views(bad))
            for views, seen, bad in zip(objects, counts, embedded.bad, strict=True)
        ]
