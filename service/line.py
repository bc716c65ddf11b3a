"""The line in which the photos of all requests wait for the network."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import PngImagePlugin

from embedder import Embedder, Photo, PhotoError
from embedder.inference import Vector
from embedder.photos import photo_name

# Photos that a thread takes at once: for one at a time threads would wake each other all the time,
# and of too many a thread would have work when the others have none.
_TOGETHER = 3

# Of the texts in a PNG, unpacked. Pillow's own limit takes 0.1 s to reach.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000


class Line(Embedder):
    """A model whose photos wait in one line, whoever asks, for as many threads as there are cores.

    A thread takes a few photos and embeds one after another: the network is no faster on several at
    once (`benchmarks/litert_batches.py`), and so no request waits for others to fill a batch.
    """

    def __init__(self, model: Embedder, pool: ThreadPoolExecutor, jobs: int, pixels: int) -> None:
        super().__init__(model.info, lambda: model.embed_pixels)
        self._pool, self._jobs, self._pixels = pool, jobs, pixels

    def warm_up(self) -> None:
        """Load the model once for each thread, as `Embedder.warm_up` does for one."""
        size = self.info.architecture.size
        grey = np.full((size, size, 3), 128, np.uint8)
        together = threading.Barrier(self._jobs)

        def load() -> None:
            together.wait()
            self.embed_pixels(grey)

        for done in [self._pool.submit(load) for _ in range(self._jobs)]:
            done.result()

    def embed(
        self, photos: Iterable[Photo], jobs: int | None = None
    ) -> Iterator[Vector | PhotoError]:
        """As `Embedder.embed`, on the threads of the line, however many `jobs` are."""
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

    def _embed(self, part: list[tuple[Photo, str]]) -> list[Vector | PhotoError]:
        return [self.embed_one(photo, name, self._pixels) for photo, name in part]
