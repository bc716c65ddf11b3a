"""What answers: the index as it is now, and the threads and processes that all requests share."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np

from embedder import Embedder, EmbedError
from embedder.errors import in_one_line
from index import Matcher
from index.database import refuse_other_model, refuse_photos
from index.optimizing import is_small
from index.places import DatabaseUrl
from index.stores import open_store, place_stamp
from service.line import Line
from service.refusals import RefusedError, too_many
from service.settings import Settings

Result = TypeVar("Result")
Stamp = tuple[int, int, int]

_LOG = logging.getLogger("embed.serve")
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_COME = 0.1


class Generation:
    """An index as it was opened, until nobody uses it any more.

    Attributes:
        matcher: open, and warm.
        stamp: what the file was known by, or what the database said of it.
        items: how many it has.
    """

    def __init__(self, matcher: Matcher, stamp: Stamp) -> None:
        self.matcher, self.stamp = matcher, stamp
        self.items = len(matcher.store)
        self._users = 1  # the engine
        self._lock = threading.Lock()

    def join(self) -> bool:
        """One user more, unless the last one has left it: then it is closed."""
        with self._lock:
            self._users += bool(self._users)
            return bool(self._users)

    def leave(self) -> None:
        """One user less; the last one closes it."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self.matcher.close()


class Engine:
    """Opens the index, and anew when it has changed; works on as many requests as may wait.

    Attributes:
        settings: what it was told.
        waiting: requests that are worked on, or wait for that.
        opened: how often the index was opened.
        trouble: why the index as it is on disk cannot be used; None if it is.

    Raises:
        EmbedError: the index or the model cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.waiting = self.opened = 0
        self.trouble: str | None = None
        self._coming: list[float] = []  # when those began that are being read
        self._requests = ThreadPoolExecutor(settings.queue, "requests")
        self._preparing = ThreadPoolExecutor(1, "search")
        self._changing, self._exchanging = threading.Lock(), threading.Lock()
        self._searched: Generation | None = None  # an older one until the newest is prepared
        self._to_search: Generation | None = None
        self._line: Line | None = None
        self._generation = self._open()

    @property
    def generation(self) -> Generation:
        """The newest that could be opened."""
        return self._generation

    @property
    def searchable(self) -> bool:
        """Whether the whole index can be searched, as it is or was a moment ago."""
        return self._searched is not None

    def refuse_unsearchable(self) -> None:
        """See that the whole index can be searched.

        Raises:
            RefusedError: what that needs is still being made.
        """
        if not self.searchable:
            wanted = "the search of the whole index is being made ready: try again"
            raise RefusedError(503, wanted, {"Retry-After": "5"})

    @contextmanager
    def used(self, search: bool = False) -> Iterator[Matcher]:
        """The matcher of the newest generation, or that can be searched; it stays open in it."""
        while True:
            generation = (self._searched if search else None) or self._generation
            if generation.join():  # otherwise another one took its place just now
                break
        try:
            yield generation.matcher
        finally:
            generation.leave()

    @property
    def full(self) -> bool:
        """Whether a request would not be worked on, as many wait as may."""
        since = time.monotonic() - _SECONDS_TO_COME
        coming = sum(began > since for began in self._coming)
        return self.waiting + coming >= self.settings.queue

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While a request is read: for a moment it counts as one that waits.

        Otherwise many would be read when one place is free, which takes the time of those that are
        refused. Who sends slowly keeps no place.
        """
        began = time.monotonic()
        self._coming.append(began)
        try:
            yield
        finally:
            self._coming.remove(began)

    async def work(
        self,
        function: Callable[[Matcher, Callable[[int, int], None]], Result],
        gone: threading.Event,
        search: bool = False,
    ) -> Result:
        """Do what a request asks for, on another thread.

        Args:
            function: takes a matcher, and what is to be called as photos are done.
            gone: set when nobody waits for it any more; it ends early then.
            search: whether it searches the whole index.

        Raises:
            RefusedError: as many wait as may.
            GoneError: `gone` was set.
        """
        if self.waiting >= self.settings.queue:
            raise too_many()

        def on_progress(done: int, total: int) -> None:
            if gone.is_set():
                raise GoneError

        def run() -> Result:
            with self.used(search) as matcher:
                return function(matcher, on_progress)

        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._requests, run)
        finally:
            self.waiting -= 1

    def refresh(self) -> None:
        """Open the index anew if it has changed; the one that is open stays if that fails."""
        with self._changing:
            try:
                if self._generation.matcher.store.stamp() != self._generation.stamp:
                    old, self._generation = self._generation, self._open()
                    old.leave()
                self.trouble = None
            except EmbedError as error:
                self._say(str(error))
            except OSError as error:
                self._say(f"{self.settings.index}: {error.strerror or error}")
            except Exception as error:  # whatever is wrong with a file, it is looked at again
                self._say(f"{self.settings.index}: {in_one_line(error)}")

    async def watch(self) -> None:
        """Look for changes of the index, until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            await asyncio.to_thread(self.refresh)

    def close(self) -> None:
        """End all threads and processes, and close the index."""
        if self._line is not None:
            self._line.close()  # who waits for photos ends then
        for pool in (self._requests, self._preparing):
            pool.shutdown(cancel_futures=True)
        for generation in filter(None, (self._generation, self._searched)):
            generation.leave()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            _LOG.warning("the index stays as it was opened: %s", trouble)
        self.trouble = trouble

    def _open(self) -> Generation:
        # Before it is opened: what changes meanwhile is seen at the next look.
        path = self.settings.index
        there = isinstance(path, DatabaseUrl) or path.exists()
        stamp = place_stamp(path) if there else (0, 0, 0)
        with ExitStack() as undo:
            store = undo.enter_context(open_store(path))
            refuse_photos(path, store.info)
            line = self._line
            if line is None or line.info.fingerprint != store.info.fingerprint:
                model = Embedder.open(self.settings.model)
                refuse_other_model(path, store.info, model.info.fingerprint)
                line = Line(model, self.settings.jobs, self.settings.pixels)
                line.warm_up()
            self._line = line
            matcher = Matcher(store, self.settings.model, line)
            generation = Generation(matcher, stamp)
            self._warm(generation)
            undo.pop_all()
        self.opened += 1
        return generation

    def _warm(self, generation: Generation) -> None:
        """Read what every request needs; a large index is made ready to be searched meanwhile."""
        matcher = generation.matcher
        first = next(iter(matcher.store.ids()), None)
        vector = np.ones((1, matcher.store.info.dim), np.float32)
        if first is not None:
            matcher.match_vectors(vector, [first])
        self._to_search = generation
        if first is None or is_small(matcher.store):
            self._search_with(generation)
            return

        def prepare() -> None:
            try:
                if self._to_search is generation:  # and no newer one was opened meanwhile
                    matcher.search_vectors(vector, 1)
            except Exception as error:  # who searches hears of it, or finds that it has passed
                _LOG.warning("a search of the whole index failed: %s", in_one_line(error))
            finally:
                self._search_with(generation)
                generation.leave()

        generation.join()
        self._preparing.submit(prepare)

    def _search_with(self, generation: Generation) -> None:
        """Let searches use it from now on."""
        generation.join()
        with self._exchanging:
            old, self._searched = self._searched, generation
        if old is not None:
            old.leave()


class GoneError(Exception):
    """The client of a request has gone: nobody waits for its answer."""
