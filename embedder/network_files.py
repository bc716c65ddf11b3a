"""A network of somebody else's in one file: what it takes and gives, and how photos get into it.

Any network will do that takes one square photo and gives one vector. What no file tells, which
numbers stand for light and dark, is in a small JSON file beside it, or is as in our own exports.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from embedder.errors import MissingExtraError, ModelError, in_one_line
from embedder.litert import LiteRT, NoVectorError, Port, Run, Vector
from embedder.model_files import (
    MOST_BYTES,
    NETWORK_SUFFIXES,
    PREPROCESSING,
    Architecture,
    ModelInfo,
    read_bounded,
)
from embedder.photos import Pixels
from embedder.quiet import native_output_silenced
from embedder.validation import DEFAULT_TEMPERATURE

_Three = tuple[float, float, float]

_MOST_JSON = 1 << 16
_MOST_SIDE = 4096  # of photos and of vectors, as in a model folder
_QUANTISED = ("uint8", "int8")
_WIDER = 2.0  # than what a network takes: pixels that far off are not those it learned from
_LONGEST_REASON = 300
_ANOTHER = "export it again, or name another with --embedder"


class Preparation(NamedTuple):
    """How pixels become what a network takes: (pixel - mean) * scale, pixels being 0 to 255.

    Attributes:
        mean: of red, green and blue.
        scale: of the same.
    """

    mean: _Three = (0.0, 0.0, 0.0)
    scale: _Three = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class NetworkFile:
    """A network as it lies in its file.

    Attributes:
        path: of the file.
        content: of the file.
        preparation: from the file beside it.
    """

    path: Path
    content: bytes
    preparation: Preparation

    @cached_property
    def fingerprint(self) -> str:
        """As `embedder.model_files.ModelInfo.fingerprint`: of the file and the preparation."""
        parts = {
            "network": hashlib.sha256(self.content).hexdigest(),
            "preparation": self.preparation._asdict(),
            "preprocessing": PREPROCESSING,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class NetworkInfo(ModelInfo):
    """What a network says of itself, in the place of a model.json.

    Attributes:
        network: its fingerprint.
    """

    network: str = ""
    ready_made: ClassVar[bool] = True

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same photo might get another embedding; 64 hexadecimal digits."""
        return self.network


class _Loaded(Protocol):
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]: ...


def beside(path: Path) -> Path:
    """Where the preparation for a network is."""
    return path.with_name(f"{path.name}.json")


def read_network(path: Path) -> NetworkFile:
    """Read a network and its preparation, without loading it.

    Raises:
        ModelError: there is none, it is too large, or what is beside it is no preparation.
    """
    if path.suffix.lower() not in NETWORK_SUFFIXES or not path.is_file():
        found = "another file" if path.is_file() else "none"
        raise ModelError(
            f"{path}: expected a model folder, or a network as a "
            f"{' or '.join(NETWORK_SUFFIXES)} file, found {found}"
        )
    try:
        return NetworkFile(path, read_bounded(path, MOST_BYTES), _preparation(beside(path)))
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read: {error.strerror}") from error


def open_network(path: Path) -> tuple[ModelInfo, Callable[[], Run]]:
    """Load a network.

    Returns:
        what it is, and what loads it for one more thread.

    Raises:
        ModelError: there is none, it cannot be loaded, or it is not one photo in and one vector
            out.
        MissingExtraError: ONNX without the extra [onnx].
    """
    file = read_network(path)
    with native_output_silenced():
        loaded = _load(file)
    size, channels_first = _takes(path, loaded.inputs)
    dim = _gives(path, loaded.outputs)
    _refuse_pixels(file, loaded.inputs[0])
    architecture = Architecture(f"{path.suffix.lower()} file", None, size, dim)
    info = NetworkInfo(architecture, DEFAULT_TEMPERATURE, network=file.fingerprint)
    return info, _Loader(file, channels_first, loaded)


class _Loader:
    """Loads a network for one more thread."""

    def __init__(self, file: NetworkFile, channels_first: bool, *ready: _Loaded) -> None:
        self._file, self._channels_first, self._ready = file, channels_first, list(ready)

    def __call__(self) -> Run:
        try:
            network = self._ready.pop()
        except IndexError:
            network = _load(self._file)
        if not isinstance(network, LiteRT):  # one is enough for all threads
            self._ready.append(network)
        return partial(_embed, network, self._file, self._channels_first)

    def __reduce__(self) -> tuple[type[_Loader], tuple[NetworkFile, bool]]:
        """For another process: what is loaded stays in this one."""
        return _Loader, (self._file, self._channels_first)


def _load(file: NetworkFile) -> _Loaded:
    try:
        if file.path.suffix.lower() == ".tflite":
            return LiteRT(file.content)
        from embedder.onnx import Onnx

        return Onnx(file.content, file.path)
    except MissingExtraError:
        raise
    except Exception as error:  # those of onnxruntime have no class of their own
        what = in_one_line(error, _LONGEST_REASON)
        raise ModelError(f"{file.path}: cannot be loaded: {what}: {_ANOTHER}") from error


def _embed(network: _Loaded, file: NetworkFile, channels_first: bool, pixels: Pixels) -> Vector:
    """uint8 (size, size, 3) -> float32 (dim,) of unit norm."""
    tensor = _tensor(pixels, network.inputs[0], file.preparation)
    if channels_first:
        tensor = np.ascontiguousarray(tensor.transpose(2, 0, 1))
    try:
        found = network.run(tensor[None])
    except Exception as error:  # those of onnxruntime have no class of their own
        what = in_one_line(error, _LONGEST_REASON)
        raise ModelError(f"{file.path}: cannot be run: {what}: {_ANOTHER}") from error
    given = network.outputs[0]
    exact = found.reshape(-1).astype(np.float64)
    if given.scale:
        exact = (exact - given.zero) * given.scale
    norm = float(np.linalg.norm(exact))
    if found.shape != (1, given.shape[1]):
        raise ModelError(
            f"{file.path}: expected a vector of {given.shape[1]} numbers, found {found.shape}: "
            f"{_ANOTHER}"
        )
    if not (math.isfinite(norm) and norm > 0):  # as of a black photo, by a network without biases
        raise NoVectorError(
            f"{file.path}: gives zeros or no numbers for it: see what {beside(file.path).name} says"
        )
    return (exact / norm).astype(np.float32)


def _tensor(pixels: Pixels, port: Port, preparation: Preparation) -> npt.NDArray[Any]:
    if port.dtype == "uint8" and not port.scale:
        return pixels
    mean, scale = (np.array(three, np.float32) for three in preparation)
    numbers = (pixels - mean) * scale
    if port.dtype == "float32":
        return numbers
    limits = np.iinfo(port.dtype)
    whole = np.rint(numbers / np.float32(port.scale)) + port.zero
    quantised: npt.NDArray[Any] = whole.clip(limits.min, limits.max).astype(port.dtype)
    return quantised


def _takes(path: Path, ports: tuple[Port, ...]) -> tuple[int, bool]:
    """The side of its photos, and whether the colours come first."""
    if len(ports) == 1 and len(ports[0].shape) == 4 and ports[0].shape[0] in (1, None):
        port, sides = ports[0], ports[0].shape[1:]
        usable = port.dtype in ("uint8", "float32") or (port.dtype == "int8" and port.scale)
        for channels_first in (False, True):
            height, width, colours = (*sides[1:], sides[0]) if channels_first else sides
            square = height is not None and height == width and 1 <= height <= _MOST_SIDE
            if height is not None and usable and square and colours == 3:
                return height, channels_first
    raise ModelError(
        f"{path}: expected one square photo in, uint8 or float32 (1, side, side, 3) or "
        f"(1, 3, side, side), found {_listed(ports)}: {_ANOTHER}"
    )


def _gives(path: Path, ports: tuple[Port, ...]) -> int:
    """The length of its vectors."""
    if len(ports) == 1 and len(ports[0].shape) == 2 and ports[0].shape[0] in (1, None):
        port, dim = ports[0], ports[0].shape[1]
        usable = port.dtype == "float32" or (port.dtype in _QUANTISED and port.scale)
        if usable and dim is not None and 1 <= dim <= _MOST_SIDE:
            return dim
    raise ModelError(
        f"{path}: expected one vector out, float32 (1, dim) with dim up to {_MOST_SIDE}, found "
        f"{_listed(ports)}: {_ANOTHER}"
    )


def _listed(ports: tuple[Port, ...]) -> str:
    shown = (
        f"{port.dtype} ({', '.join('?' if side is None else str(side) for side in port.shape)})"
        for port in ports[:4]
    )
    return in_one_line(" and ".join(shown) or "nothing")


def _refuse_pixels(file: NetworkFile, port: Port) -> None:
    """Refuse a preparation that does not go with what the network says of its pixels."""
    preparation, name = file.preparation, beside(file.path)
    if port.dtype == "float32":
        return
    if not port.scale:
        if preparation != Preparation():
            raise ModelError(
                f"{name}: expected nothing there, for {file.path.name} takes pixels as they are "
                "(uint8), found a mean or a scale: delete it"
            )
        return
    limits = np.iinfo(port.dtype)
    low, high = ((number - port.zero) * port.scale for number in (limits.min, limits.max))
    ends = [
        (pixel - mean) * scale
        for mean, scale in zip(*preparation, strict=True)
        for pixel in (0, 255)
    ]
    if max(ends) - min(ends) > _WIDER * (high - low):
        raise ModelError(
            f"{file.path}: expected pixels of {low:.3g} to {high:.3g}, as it is quantised, found "
            f"{min(ends):.3g} to {max(ends):.3g}: put the mean and scale that it was made with "
            f"into {name.name}"
        )


def _preparation(path: Path) -> Preparation:
    if not path.exists():
        return Preparation()
    try:
        document = json.loads(read_bounded(path, _MOST_JSON).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {in_one_line(error)}") from error
    if not isinstance(document, dict) or not document.keys() <= set(Preparation._fields):
        found = sorted(document) if isinstance(document, dict) else document
        raise ModelError(
            f'{path}: expected {{"mean": ..., "scale": ...}}, found {shortened(found)}'
        )
    found = {name: _three(path, name, value) for name, value in document.items()}
    if 0.0 in found.get("scale", ()):
        raise ModelError(f"{path}: expected a scale other than 0, found {document['scale']}")
    return Preparation(**found)


def _three(path: Path, name: str, value: Any) -> _Three:
    numbers = value if isinstance(value, list) else [value] * 3
    usable = [n for n in numbers if type(n) in (int, float) and abs(n) <= 1e6]  # no NaN
    if len(numbers) != 3 or len(usable) != 3:
        raise ModelError(
            f"{path}: expected '{name}' as a number, or three for red, green and blue, found "
            f"{shortened(value)}"
        )
    red, green, blue = map(float, usable)
    return red, green, blue
