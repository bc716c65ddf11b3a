"""Which items of the whole index are nearest to a photo, where no list of candidates is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace, projected
from index.nearest import Best
from index.optimizing import current_search_file, is_small
from index.results import Found, Neighbour
from index.scanning import numbered, scan
from index.search_file import SearchFile
from index.stores import AnyStore
from index.views import Embedded, Views, pooled, unreadable_views

_ROWS_AT_ONCE = 20_000  # fetched by number
_PHOTOS_AT_ONCE = 500
_SECONDS_WITHOUT = 10.0


class Searcher:
    """The nearest of all items of an open index. Safe to use from several threads.

    Each item that is named was compared exactly, by its checked row. Without a search file all rows
    are read, which is exact and takes some seconds for a million of them.
    """

    def __init__(self, store: AnyStore, space: ScoreSpace | None) -> None:
        self._store, self._space = store, space
        self._file: SearchFile | None = None
        self._look_again = 0.0  # when to look for a file again that could not be had

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
        file = self._file
        if file is None and time.monotonic() >= self._look_again:
            file = self._file = current_search_file(self._store, self._space, on_making)
            if file is None and not is_small(self._store):  # another process may be making it
                self._look_again = time.monotonic() + _SECONDS_WITHOUT
        found: list[tuple[Neighbour, ...]] = []
        for start in range(0, len(asked), _PHOTOS_AT_ONCE):
            some = asked[start : start + _PHOTOS_AT_ONCE].astype(np.float32)
            found += self._nearest(Best(some, count), file)
        return found

    def _nearest(self, best: Best, file: SearchFile | None) -> list[tuple[Neighbour, ...]]:
        if file is None:
            return self._all(best)
        wanted = file.shortlist(best.asked, best.count)
        rows = np.unique(wanted[wanted >= 0])
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            block = numbered(self._store, rows[start : start + _ROWS_AT_ONCE])
            best.take_in_own(block, projected(block.vectors, self._space), wanted)
        found = self._all(best, after=file.notes.last[0])
        # Of items that were removed since, or in lists that were not looked into.
        short = np.flatnonzero(best.found() < best.count)
        if len(short):
            again = self._all(Best(best.asked[short], best.count))
            for at, items in zip(short.tolist(), again, strict=True):
                found[at] = items
        return found

    def _all(self, best: Best, after: int | None = None) -> list[tuple[Neighbour, ...]]:
        """Compare with all rows, or with those that were written after one."""
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
