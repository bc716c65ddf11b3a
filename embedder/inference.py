"""`Embedder`: photos to embeddings, with a trained model or another network."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from embedder.errors import ModelError, PhotoError
from embedder.labelled_vectors import LabelledVectors
from embedder.litert import NoVectorError, Run, load_trained
from embedder.litert import Vector as Vector
from embedder.model_files import (
    HELD_OUT,
    LITERT,
    MODEL_JSON,
    ModelInfo,
    current_folder,
    is_network,
    read_checked,
    read_model_info,
)
from embedder.parallel import default_jobs, ordered_map
from embedder.photos import Photo, Pixels, photo_name, prepare


class Embedder:
    """A trained model, ready to embed photos. Safe to use from several threads.

    Each photo is embedded by itself, so its embedding never depends on the photos beside it.

    Attributes:
        info: what model.json says, or what there is to say of another network.
    """

    def __init__(
        self, info: ModelInfo, load: Callable[[], Run], folder: Path | None = None
    ) -> None:
        self.info = info
        self._folder = folder
        self._load = load
        self._idle: queue.SimpleQueue[Run] = queue.SimpleQueue()

    def __reduce__(self) -> tuple[type[Embedder], tuple[object, ...]]:
        """For another process, which loads the model itself; its files may be gone by then."""
        return Embedder, (self.info, self._load, self._folder)

    @classmethod
    def open(cls, path: str | os.PathLike[str] = "items.model") -> Embedder:
        """Open a model folder, or a network in a file.

        Args:
            path: the model folder; or a `.tflite` or `.onnx` file of any network that takes one
                square photo and gives one vector, which is scaled to unit norm here. What such a
                network takes for light and dark is in FILE.json (`docs/howto/networks.md`).

        Raises:
            ModelError: there is none, a file of it is missing or damaged, or the network takes or
                gives something else.
            MissingExtraError: `.onnx` without the extra [onnx].
        """
        path = Path(path)
        if is_network(path):
            from embedder.network_files import open_network

            return cls(*open_network(path))
        folder = current_folder(path)
        info = read_model_info(folder)
        content = read_checked(folder, LITERT, info)
        load = partial(load_trained, content, info.architecture, folder / LITERT)
        return cls(info, load, folder)

    @staticmethod
    def files(path: str | os.PathLike[str]) -> dict[str, bytes]:
        """What another machine needs of a model to embed as this one does, by file name.

        Written into a folder of the model's name, or for a network beside each other, they open as
        the model does; hashes are checked then.

        Raises:
            ModelError: a file is missing or damaged.
        """
        path = Path(path)
        if is_network(path):
            from embedder.network_files import beside, read_network

            found = {path.name: read_network(path).content}
            notes = beside(path)
            return found | ({notes.name: notes.read_bytes()} if notes.is_file() else {})
        folder = current_folder(path)
        content = read_checked(folder, LITERT, read_model_info(folder))
        return {MODEL_JSON: (folder / MODEL_JSON).read_bytes(), LITERT: content}

    def held_out(self) -> LabelledVectors | None:
        """The photos held out of training; None where the model has none.

        Raises:
            ModelError: their file is missing or damaged.
        """
        if self._folder is None or HELD_OUT not in self.info.sha256:
            return None
        content = read_checked(self._folder, HELD_OUT, self.info)
        try:
            return LabelledVectors.from_bytes(content, self.info.architecture.dim)
        except ValueError as error:
            raise ModelError(f"{self._folder / HELD_OUT}: cannot be read: {error}") from error

    def warm_up(self) -> None:
        """Load the model now instead of with the first photo.

        Raises:
            ModelError: it cannot be loaded.
        """
        self._idle.put(self._borrow())

    def embed(
        self, photos: Iterable[Photo], jobs: int | None = None
    ) -> Iterator[Vector | PhotoError]:
        """Embed a stream of photos, in order, holding few of them in memory.

        Args:
            photos: paths, file bytes, PIL images or uint8 arrays (height, width, 3).
            jobs: threads; all cores unless given.

        Yields:
            for each photo a float32 vector (dim,) of unit norm, or the `PhotoError` that says why
            it cannot be read. A bad photo does not end the stream.
        """
        return ordered_map(
            lambda numbered: self.embed_one(numbered[1], photo_name(numbered[1], numbered[0])),
            enumerate(photos),
            jobs or default_jobs(),
        )

    def embed_one(
        self, photo: Photo, name: str | None = None, most: int | None = None
    ) -> Vector | PhotoError:
        """Embed one photo, on this thread; as `embed` does.

        Args:
            photo: in any of the forms of `Photo`.
            name: what an error calls it, if it has no path.
            most: pixels that it may have; of a JPEG as it is, not as it is decoded.
        """
        try:
            pixels = prepare(photo, self.info.architecture.size, name, most)
        except PhotoError as error:
            return error
        return self.embed_prepared(pixels, name or photo_name(photo))

    def embed_prepared(self, pixels: Pixels, name: str) -> Vector | PhotoError:
        """`embed_one` of a photo that is prepared already.

        Args:
            pixels: uint8 (size, size, 3).
            name: what an error calls it.
        """
        try:
            return self.embed_pixels(pixels)
        except NoVectorError as error:
            return PhotoError(name, str(error))

    def embed_pixels(self, pixels: Pixels) -> Vector:
        """Embed one prepared photo: uint8 (size, size, 3) -> float32 (dim,) of unit norm.

        Raises:
            ModelError: the model cannot be loaded or run, or what it gives is no such vector.
        """
        run = self._borrow()
        try:
            return run(pixels)
        finally:
            self._idle.put(run)

    def _borrow(self) -> Run:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._load()
