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

# Of the texts in a PNG, unpacked. Pillow's own limit takes 0.1 s to reach.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000


class Line(Embedder):
    """A model whose photos wait in one line, whoever asks, for as many threads as there are cores.

    A thread embeds one photo at a time: the network is no faster on several at once
    (`benchmarks/litert_batches.py`), and so no request waits for others to fill a batch.
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
        waiting = [self._pool.submit(self.embed_one, *one, self._pixels) for one in named]
        try:
            for result in waiting:
                yield result.result()
        finally:
            for result in waiting:
                result.cancel()
