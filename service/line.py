"""The line in which the photos of all requests wait for the network."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from embedder import Embedder, EmbedError, Photo, PhotoError
from embedder.inference import Vector
from embedder.photos import photo_name
from service.embedding import begin, embed_few, embed_one
from service.refusals import busy

# Photos that a process takes at once: for one at a time processes would wake each other all the
# time, and of too many one would have work when the others have none.
_TOGETHER = 3


class Line(Embedder):
    """A model whose photos wait in one line, whoever asks, for as many processes as may embed.

    They are processes, as threads would share Python's lock with the one that hears requests. Each
    takes a few photos and embeds one after another: the network is no faster on several at once
    (`benchmarks/litert_batches.py`), and so no request waits for others to fill a batch.

    They end when nobody uses the line any more.
    """

    def __init__(self, model: Embedder, jobs: int, pixels: int) -> None:
        super().__init__(model.info, lambda: model.embed_pixels)
        self._model, self._jobs, self._pixels = model, jobs, pixels
        self._changing = threading.Lock()
        self._processes = self._begun()

    def warm_up(self) -> None:
        """Load the model once for each process, as `Embedder.warm_up` does for one.

        Raises:
            EmbedError: it cannot be loaded, or no process can be started.
        """
        try:
            for done in [self._submit(embed_one) for _ in range(self._jobs)]:
                done.result()
        except BrokenProcessPool:
            raise EmbedError(
                f"expected {self._jobs} processes that embed photos, found that one ended as it "
                "began: give the server more memory, or fewer --jobs"
            ) from None

    def embed(
        self, photos: Iterable[Photo], jobs: int | None = None
    ) -> Iterator[Vector | PhotoError]:
        """As `Embedder.embed`, in the processes of the line, however many `jobs` are.

        Raises:
            RefusedError: a process was lost, as where memory is short.
        """
        named = [(photo, photo_name(photo, at)) for at, photo in enumerate(photos)]
        size = max(1, min(_TOGETHER, -(-len(named) // self._jobs)))
        parts = [named[start : start + size] for start in range(0, len(named), size)]
        waiting = [self._submit(embed_few, part) for part in parts]
        try:
            for part in waiting:
                yield from part.result()
        except BrokenProcessPool:
            raise busy("a process that embeds photos was lost") from None
        finally:
            for part in waiting:
                part.cancel()

    def close(self) -> None:
        """End the processes; what still waits is cancelled."""
        self._processes.shutdown(cancel_futures=True)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with self._changing:
            try:
                return self._processes.submit(function, *arguments)
            except BrokenProcessPool:
                self._processes = self._begun()
                return self._processes.submit(function, *arguments)

    def _begun(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        what = (self._model, self._pixels, spawn.Barrier(self._jobs))
        return ProcessPoolExecutor(self._jobs, spawn, begin, what)
