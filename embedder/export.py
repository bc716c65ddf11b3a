"""A trained model as one file for phones, browsers and other programs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from embedder.catalogue import Catalogue
from embedder.errors import EmbedError, ExportError, PhotoError, in_one_line
from embedder.inference import Embedder
from embedder.litert import load_trained
from embedder.litert_graph import add_note
from embedder.model_files import LITERT, PREPROCESSING, ModelInfo, current_folder, read_checked
from embedder.onnx import Onnx
from embedder.onnx_files import as_onnx
from embedder.parallel import ordered_map
from embedder.photos import Pixels, prepare
from embedder.quantising import as_float16, as_int8
from embedder.quiet import native_output_silenced

if TYPE_CHECKING:
    from embedder.inference import Vector

Format = Literal["tflite", "onnx"]
Precision = Literal["float32", "float16", "int8"]

NOTE = "embed-match export"
"""What an exported file says of itself in its metadata: the name of the entry."""

_PHOTOS = 200  # to calibrate with, and as many others to compare on
_FEWEST = 20
_PICTURES = 8  # to compare on where there are no photos

# On average over photos. Rounding to 8 bits takes more than writing a network in another way.
_LOWEST = {"float32": 0.9999, "float16": 0.999, "int8": 0.95}


@dataclass(frozen=True)
class Export:
    """A model as a file, and how far it agrees with the model folder's own model.tflite.

    Attributes:
        content: the file.
        format: "tflite" or "onnx".
        precision: "float32", "float16" or "int8".
        size: bytes of the file.
        sha256: of the file, in hexadecimal.
        calibrated: photos that it was calibrated with; 0 where it needs none.
        compared: other photos that it was compared on.
        from_photos: false where these are pictures of noise, as no photos were given.
        mean_cosine: between its vectors and those of model.tflite, on average over these.
        lowest_cosine: the same of the photo for which it is lowest.
        unreadable: photos that could not be read and were left out.
    """

    content: bytes = field(repr=False)
    format: Format
    precision: Precision
    size: int
    sha256: str
    calibrated: int
    compared: int
    from_photos: bool
    mean_cosine: float
    lowest_cosine: float
    unreadable: tuple[PhotoError, ...] = ()


def export_model(
    model: str | os.PathLike[str],
    format: Format,
    precision: Precision,
    photos: Catalogue | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """A model folder as one file that takes a uint8 photo and gives a vector of unit norm.

    "float32" and "float16" are the network as it was trained. "int8" is calibrated on photos, and
    biases are corrected on them (`embedder.bias_correction`).

    Args:
        model: the model folder.
        format: "tflite" for LiteRT; "onnx", which is float32.
        precision: "float32", "float16" or "int8".
        photos: up to 200 of a catalogue, evenly drawn over items, calibrate "int8"; up to 200
            others are compared on. Without it pictures of noise are compared on.
        on_progress: called with (photos read, photos to read).

    Raises:
        ExportError: there is no such export, too few photos can be read for it, it cannot be made,
            or it does not agree with the model.
        MissingExtraError: what is needed for it is not installed.
        ModelError: there is no model, or a file of it is missing or damaged.
    """
    if format == "onnx" and precision != "float32":
        raise ExportError(f"expected float32 for ONNX, found {precision}: LiteRT has it (.tflite)")
    if precision == "int8" and photos is None:
        raise ExportError("expected photos to calibrate int8 with, found none: see --photos")
    embedder = Embedder.open(model)
    with native_output_silenced():
        embedder.warm_up()
    original = read_checked(current_folder(Path(model)), LITERT, embedder.info)
    calibrating, comparing, unreadable = _read(photos, embedder, precision, on_progress)
    try:
        content = _converted(original, embedder.info, format, precision, calibrating)
        cosines = _cosines(content, format, embedder, comparing)
    except EmbedError:
        raise
    except Exception as error:  # the libraries raise whatever they like on what they do not know
        raise ExportError(
            f"{model}: cannot be exported as {precision} to {format}: {in_one_line(error)}"
        ) from error
    _refuse_disagreement(model, precision, float(np.mean(cosines)))
    return Export(
        content,
        format,
        precision,
        len(content),
        hashlib.sha256(content).hexdigest(),
        len(calibrating),
        len(comparing),
        photos is not None,
        float(np.mean(cosines)),
        float(np.min(cosines)),
        unreadable,
    )


def _refuse_disagreement(
    model: str | os.PathLike[str], precision: Precision, cosine: float
) -> None:
    if not cosine >= _LOWEST[precision]:
        raise ExportError(
            f"{model}: expected {precision} to agree with the model to a cosine of at least "
            f"{_LOWEST[precision]} on average, found {cosine:.4f}: export it at a higher precision"
        )


def _converted(
    original: bytes,
    info: ModelInfo,
    format: Format,
    precision: Precision,
    photos: Sequence[Pixels],
) -> bytes:
    note = {
        "model": info.fingerprint,
        "backbone": info.architecture.backbone,
        "size": info.architecture.size,
        "dim": info.architecture.dim,
        "precision": precision,
        "preprocessing": PREPROCESSING,
    }
    text = json.dumps(note)
    if format == "onnx":
        return as_onnx(original, (NOTE, text))
    if precision == "int8":
        original = as_int8(original, photos)
    elif precision == "float16":
        original = as_float16(original)
    return add_note(original, NOTE, text)


def _cosines(
    content: bytes, format: Format, embedder: Embedder, photos: Sequence[Pixels]
) -> list[float]:
    if format == "onnx":
        network = Onnx(content, Path("the export"))
        found = [network.run(pixels[None])[0] for pixels in photos]
    else:
        info = embedder.info
        load = partial(load_trained, content, info.architecture, "the export")
        found = _vectors(Embedder(info, load), photos)
    expected = _vectors(embedder, photos)
    # Of vectors that are not of unit norm it would be no cosine: these do not agree.
    return [
        float(np.dot(a, b)) if abs(float(np.dot(a, a)) - 1) < 1e-3 else 0.0
        for a, b in zip(found, expected, strict=True)
    ]


def _vectors(embedder: Embedder, photos: Sequence[Pixels]) -> list[Vector]:
    return list(ordered_map(embedder.embed_pixels, photos))


def _read(
    photos: Catalogue | None,
    embedder: Embedder,
    precision: Precision,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Pixels], list[Pixels], tuple[PhotoError, ...]]:
    """Photos to calibrate with, others to compare on, and those that could not be read."""
    size = embedder.info.architecture.size
    if photos is None:
        return [], _noise(size), ()
    drawn = drawn_evenly(photos, 2 * _PHOTOS)
    read: list[Pixels] = []
    unreadable: list[PhotoError] = []
    for done, found in enumerate(ordered_map(lambda path: _prepared(path, size), drawn), 1):
        if isinstance(found, PhotoError):
            unreadable.append(found)
        else:
            read.append(found)
        if on_progress is not None:
            on_progress(done, len(drawn))
    if len(read) < _FEWEST:
        raise ExportError(
            f"{photos.source}: expected at least {_FEWEST} photos that can be read, found "
            f"{len(read)}: name a catalogue with more"
        )
    if precision != "int8":
        return [], read, tuple(unreadable)
    half = len(read) // 2
    return read[:half], read[half:], tuple(unreadable)


def _prepared(path: str, size: int) -> Pixels | PhotoError:
    try:
        return prepare(path, size)
    except PhotoError as error:
        return error


def drawn_evenly(catalogue: Catalogue, most: int) -> list[str]:
    """At most so many photos: one of each item, then a second one, and so on, both at random."""
    rng = np.random.default_rng(0)
    paths = np.array(list(catalogue.paths()))
    rounds = [rng.permutation(len(photos)) for photos in catalogue.items.values()]
    order = np.lexsort((rng.random(len(paths)), list(chain.from_iterable(rounds))))
    return [str(path) for path in paths[order[:most]]]


def _noise(size: int) -> list[Pixels]:
    """Pictures that say whether a conversion went wrong; not how well it does on photos."""
    from PIL import Image

    rng = np.random.default_rng(0)
    blots = rng.integers(0, 256, (_PICTURES, 8, 8, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(some).resize((size, size))) for some in blots]
