"""`Embedder`: photos to embeddings with a trained model, on LiteRT."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.errors import ModelError, PhotoError
from embedder.labelled_vectors import LabelledVectors
from embedder.model_files import (
    HELD_OUT,
    LITERT,
    ModelInfo,
    current_folder,
    read_checked,
    read_model_info,
)
from embedder.parallel import default_jobs, ordered_map
from embedder.photos import Photo, Pixels, photo_name, prepare

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

Vector = npt.NDArray[np.float32]


class Embedder:
    """A trained model, ready to embed photos. Safe to use from several threads.

    Each photo is embedded by itself, so its embedding never depends on the photos beside it.

    Attributes:
        info: what model.json says.
    """

    def __init__(self, info: ModelInfo, litert_model: bytes, folder: Path | None = None) -> None:
        self.info = info
        self._folder = folder
        self._content = litert_model
        self._idle: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()

    @classmethod
    def open(cls, folder: str | os.PathLike[str] = "items.model") -> Embedder:
        """Open a model folder.

        Raises:
            ModelError: there is none, or a file of it is missing or damaged.
        """
        path = current_folder(Path(folder))
        info = read_model_info(path)
        return cls(info, read_checked(path, LITERT, info), path)

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
            ModelError: LiteRT cannot load it.
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

    def embed_one(self, photo: Photo, name: str | None = None) -> Vector | PhotoError:
        """Embed one photo, on this thread; as `embed` does.

        Args:
            photo: in any of the forms of `Photo`.
            name: what an error calls it, if it has no path.
        """
        try:
            pixels = prepare(photo, self.info.architecture.size, name)
        except PhotoError as error:
            return error
        return self.embed_pixels(pixels)

    def embed_pixels(self, pixels: Pixels) -> Vector:
        """Embed one prepared photo: uint8 (size, size, 3) -> float32 (dim,) of unit norm."""
        interpreter = self._borrow()
        try:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
            interpreter.invoke()
            output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        finally:
            self._idle.put(interpreter)
        vector: Vector = output[0]
        return vector

    def _borrow(self) -> Interpreter:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._new_interpreter()

    def _new_interpreter(self) -> Interpreter:
        from ai_edge_litert.interpreter import Interpreter

        try:
            # One thread each: photos run in parallel, and batches of one are as fast as larger
            # ones then (docs/architecture.md).
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{LITERT}: LiteRT cannot load the model: {error}") from error
        size, dim = self.info.architecture.size, self.info.architecture.dim
        shapes = [
            tuple(details[0]["shape"].tolist())
            for details in (interpreter.get_input_details(), interpreter.get_output_details())
        ]
        if shapes != [(1, size, size, 3), (1, dim)]:
            raise ModelError(
                f"{LITERT}: expected shapes (1, {size}, {size}, 3) and (1, {dim}), found {shapes}"
            )
        return interpreter
