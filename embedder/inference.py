"""`Embedder`: photos to embeddings with a trained model, on LiteRT."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable, Iterator
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.errors import ModelError, PhotoError, in_one_line
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

_NORM_TOLERANCE = 0.01
_LONGEST_REASON = 300


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
        """Embed one prepared photo: uint8 (size, size, 3) -> float32 (dim,) of unit norm.

        Raises:
            ModelError: LiteRT cannot load or run the model, or what it gives is no such vector.
        """
        interpreter = self._borrow()
        try:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
            interpreter.invoke()
            output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        except (ValueError, RuntimeError, MemoryError) as error:
            raise self._error("LiteRT cannot run the model", error) from error
        finally:
            self._idle.put(interpreter)
        vector: Vector = output[0]
        # np.dot warns of no overflow. With NaN the comparison fails too.
        if not abs(float(np.dot(vector, vector)) - 1) < _NORM_TOLERANCE:
            raise self._error("expected a vector of length 1, found another", None)
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
        except (ValueError, RuntimeError, MemoryError) as error:
            raise self._error("LiteRT cannot load the model", error) from error
        self._refuse_other_shapes(interpreter)
        return interpreter

    def _refuse_other_shapes(self, interpreter: Interpreter) -> None:
        size, dim = self.info.architecture.size, self.info.architecture.dim
        expected = [("uint8", (1, size, size, 3)), ("float32", (1, dim))]
        found = [
            (np.dtype(tensor["dtype"]).name, tuple(tensor["shape"].tolist()))
            for tensor in (*interpreter.get_input_details(), *interpreter.get_output_details())
        ]
        if found != expected:
            raise self._error(f"expected shapes {expected}, found {shortened(found)}", None)

    def _error(self, what: str, error: Exception | None) -> ModelError:
        where = LITERT if self._folder is None else self._folder / LITERT
        # LiteRT says all that is wrong, which can be a thousand things.
        why = "" if error is None else f": {in_one_line(error, _LONGEST_REASON)}"
        return ModelError(f"{where}: {what}{why}: train again or restore the folder")
