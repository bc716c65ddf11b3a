"""LiteRT: loading and running a network, one photo at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import ModelError, in_one_line
from embedder.model_files import Architecture
from embedder.photos import Pixels

Vector = npt.NDArray[np.float32]


class NoVectorError(ModelError):
    """A network that is not ours says nothing about this photo; with others it may be right."""


Run = Callable[[Pixels], Vector]  # for one thread at a time

ERRORS = (ValueError, RuntimeError, MemoryError)  # that LiteRT raises

_NORM_TOLERANCE = 0.01
_LONGEST_REASON = 300  # LiteRT says all that is wrong, which can be a thousand things


class Port(NamedTuple):
    """What goes into a network or comes out of it.

    Attributes:
        dtype: of its numbers, as NumPy calls it.
        shape: None for a side that can have any length.
        scale: a number n stands for (n - zero) * scale; 0 if it stands for itself.
        zero: see `scale`.
    """

    dtype: str
    shape: tuple[int | None, ...]
    scale: float = 0.0
    zero: int = 0


class LiteRT:
    """A network that is loaded; for one thread at a time.

    Attributes:
        inputs: what goes in.
        outputs: what comes out.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        # One thread each: photos run in parallel, and batches of one are as fast as larger ones
        # then (docs/architecture.md).
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        # Asking for these again takes longer than a small network does.
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        self.inputs, self.outputs = (tuple(map(_port, some)) for some in (inputs, outputs))
        self._input, self._output = (some[0]["index"] if some else -1 for some in (inputs, outputs))

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What comes out first, for what goes in first, both with a batch of one."""
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        output: npt.NDArray[Any] = self._interpreter.get_tensor(self._output)
        return output


def load_trained(content: bytes, architecture: Architecture, where: str | Path) -> Run:
    """Load the network of a model folder.

    Args:
        content: the LiteRT file.
        architecture: what it is expected to be.
        where: what an error names.

    Returns:
        what embeds a photo: uint8 (size, size, 3) -> float32 (dim,) of unit norm.

    Raises:
        ModelError: LiteRT cannot load it, or it takes or gives other shapes; so does what is
            returned, where LiteRT cannot run it or what it gives is no such vector.
    """
    import ai_edge_litert.interpreter  # noqa: F401 -- that it cannot be is no fault of the model

    size, dim = architecture.size, architecture.dim
    try:
        network = LiteRT(content)
    except ERRORS as error:
        raise _error(where, "LiteRT cannot load the model", error) from error
    expected = [("uint8", (1, size, size, 3)), ("float32", (1, dim))]
    found = [port[:2] for port in (*network.inputs, *network.outputs)]
    if found != expected:
        raise _error(where, f"expected shapes {expected}, found {shortened(found)}", None)

    def run(pixels: Pixels) -> Vector:
        try:
            vector: Vector = network.run(pixels[None])[0]
        except ERRORS as error:
            raise _error(where, "LiteRT cannot run the model", error) from error
        # np.dot warns of no overflow. With NaN the comparison fails too.
        if not abs(float(np.dot(vector, vector)) - 1) < _NORM_TOLERANCE:
            raise _error(where, "expected a vector of length 1, found another", None)
        return vector

    return run


def _port(details: dict[str, Any]) -> Port:
    # Both are of one length, but for the latter of networks that say nothing about it.
    sides = zip(details["shape"].tolist(), details["shape_signature"].tolist(), strict=True)
    shape = tuple(None if free < 0 else int(side) for side, free in sides)
    scale, zero = details["quantization"]
    return Port(np.dtype(details["dtype"]).name, shape, float(scale), int(zero))


def _error(where: str | Path, what: str, error: Exception | None) -> ModelError:
    why = "" if error is None else f": {in_one_line(error, _LONGEST_REASON)}"
    return ModelError(f"{where}: {what}{why}: train again or restore the folder")
