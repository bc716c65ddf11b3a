"""The line in which the photos of all requests wait for the network."""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from embedder import Embedder, EmbedError, Photo, PhotoError
from embedder.inference import Vector
from embedder.photos import photo_name
from service.embedding import TURN, embed_what_comes
from service.refusals import busy

# Photos that a process takes at once: for one at a time processes would wake each other all the
# time, and of too many one would have work when the others have none.
_TOGETHER = 3

_one_large = threading.RLock()  # photo at a time, in whatever process: see `embedder.photos`


class Line(Embedder):
    """A model whose photos wait in one line, whoever asks, for as many processes as may embed.

    They are processes, as threads would share Python's lock with the one that hears requests. Each
    takes a few photos and embeds one after another: the network is no faster on several at once
    (`benchmarks/litert_batches.py`), and so no request waits for others to fill a batch.

    The processes end when nobody has the line any more.
    """

    def __init__(self, model: Embedder, jobs: int, pixels: int) -> None:
        super().__init__(model.info, lambda: model.embed_pixels)
        self._model, self._jobs, self._pixels = model, jobs, pixels
        self._pool = ThreadPoolExecutor(jobs, "photos")  # a thread for each process
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._processes: list[_Process] = []

    def warm_up(self) -> None:
        """Load the model once for each process, as `Embedder.warm_up` does for one.

        Raises:
            EmbedError: it cannot be loaded, or a process cannot be started.
        """
        together = threading.Barrier(self._jobs)

        def load() -> None:
            together.wait()
            self._free.put(self._taken())

        try:
            for done in [self._pool.submit(load) for _ in range(self._jobs)]:
                done.result()
        except BaseException:
            together.abort()
            self.close()
            raise

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
        waiting = [self._pool.submit(self._embed, part) for part in parts]
        try:
            for part in waiting:
                yield from part.result()
        finally:
            for part in waiting:
                part.cancel()

    def close(self) -> None:
        """End the processes, whatever they do; what waits is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.kill()
        self._pool.shutdown()

    def _embed(self, part: list[tuple[Photo, str]]) -> list[Vector | PhotoError]:
        process = self._taken()
        try:
            found: list[Vector | PhotoError] = process.ask(part)
        except EmbedError:
            self._free.put(process)
            raise
        except BaseException as error:
            process.kill()  # who knows what it would answer next
            self._processes.remove(process)
            if isinstance(error, EOFError | OSError):
                raise busy("a process that embeds photos was lost") from None
            raise
        self._free.put(process)
        return found

    def _taken(self) -> _Process:
        """One that is free, or a new one: there are as many as threads that ask."""
        try:
            while not (process := self._free.get_nowait()).is_there():
                self._processes.remove(process)
        except queue.Empty:
            process = _Process(self._model, self._pixels)
            self._processes.append(process)
        return process


class _Process:
    """A process that embeds, for one thread at a time; it ends when nobody has this any more.

    Raises:
        EmbedError: it cannot be started, or not load the model.
    """

    def __init__(self, model: Embedder, pixels: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=embed_what_comes, args=(theirs, pixels), name="photos", daemon=True
        )
        try:
            self._process.start()
            theirs.close()  # or nobody would hear of its end
            self.ask(model)
        except (EOFError, OSError):
            raise EmbedError(
                "expected a process that embeds photos, found that it ended as it began: give the "
                "server more memory, or fewer --jobs"
            ) from None

    def is_there(self) -> bool:
        """Whether one that was asked nothing has not ended yet.

        It would have nothing to say, so that something can be read means that it hung up. (To ask
        for its exit status is no good while another thread does: one of them hears that it runs.)
        """
        try:
            return not self._connection.poll()
        except OSError:
            return False

    def kill(self) -> None:
        """End it, whatever it does; who has asked it hears of that."""
        self._process.kill()

    def ask(self, what: object) -> Any:
        """What it answers.

        Raises:
            EOFError: it has ended.
            OSError: the same.
            EmbedError: it cannot do that.
        """
        self._connection.send(what)
        with ExitStack() as turn:
            while (answer := self._connection.recv()) == TURN:
                turn.enter_context(_one_large)
                self._connection.send(None)
        if isinstance(answer, EmbedError):
            raise answer
        return answer
