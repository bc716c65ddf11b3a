"""From a trained Keras network to the model folder."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from embedder.advice import with_advice
from embedder.backend import keras, ops
from embedder.checkpoints import named, save_arrays
from embedder.errors import TrainingError
from embedder.inference import Embedder
from embedder.labelled_vectors import LabelledVectors
from embedder.litert import load_trained
from embedder.model_files import (
    HELD_OUT,
    LITERT,
    WEIGHTS,
    Architecture,
    ModelInfo,
    former_folder,
    write_model_info,
)
from embedder.photos import Pixels
from embedder.quiet import native_output_silenced

LOWEST_COSINE = 0.9999


def litert_model(network: Any, architecture: Architecture) -> bytes:
    """The network as a LiteRT file: uint8 (1, size, size, 3) to float32 (1, dim)."""
    side = architecture.size
    photos = keras.Input(batch_shape=(1, side, side, 3), dtype="uint8", name="photos")
    return litert_from_keras(keras.Model(photos, network(ops.cast(photos, "float32"))))


def litert_from_keras(network: Any) -> bytes:
    """A Keras model as a LiteRT file, without what the converter prints."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        # Keras and TensorFlow write in Python too, which in a notebook goes elsewhere.
        with native_output_silenced(), redirect_stdout(io.StringIO()):
            content: bytes = tf.lite.TFLiteConverter.from_keras_model(network).convert()
    finally:
        logger.setLevel(level)
    return content


def save_model(
    network: Any,
    info: ModelInfo,
    photos: Pixels,
    folder: Path,
    held_out: LabelledVectors | None = None,
) -> ModelInfo:
    """Write a model folder, after LiteRT was found to agree with Keras; replaces an older one.

    Args:
        network: a trained network.
        info: what to write into model.json; hashes and agreement are filled in.
        photos: uint8 (photos, size, size, 3), real photos to compare the two on.
        folder: the model folder to write.
        held_out: photos to fit confidences on.

    Returns:
        What was written to model.json.

    Raises:
        TrainingError: the two disagree on a photo, or the folder cannot be written.
    """
    content = litert_model(network, info.architecture)
    expected = network.predict(photos.astype(np.float32), verbose=0)
    weights = {**named("network", [np.asarray(weight) for weight in network.weights])}
    new = folder.with_name(f".{folder.name}.new")
    try:
        put_back(folder)
        _delete(new)
        new.mkdir(parents=True)
        (new / LITERT).write_bytes(content)
        save_arrays(weights, new / WEIGHTS)
        if held_out is not None:
            (new / HELD_OUT).write_bytes(held_out.to_bytes())
        hashes = {file.name: _sha256(file) for file in sorted(new.iterdir())}
        info = replace(info, sha256=hashes)
        embedder = Embedder(info, partial(load_trained, content, info.architecture, LITERT))
        with native_output_silenced():
            embedder.warm_up()
        cosine = lowest_cosine(embedder, photos, expected)
        if not cosine >= LOWEST_COSINE:
            raise TrainingError(
                f"the LiteRT model disagrees with the trained network: expected a cosine of "
                f"at least {LOWEST_COSINE} on every photo, found {cosine:.6f}"
            )
        info = replace(info, training={**info.training, "litert_cosine": round(cosine, 6)})
        write_model_info(new, info)
        _put_in_place(new, folder)
    except OSError as error:
        where = error.filename or folder
        raise TrainingError(f"{where}: cannot be written: {with_advice(error)}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return info


def _put_in_place(new: Path, folder: Path) -> None:
    # No system replaces one folder by another in one step: `current_folder` finds the old one.
    for file in new.iterdir():
        with file.open("r+b") as written:
            os.fsync(written.fileno())
    if folder.exists():
        folder.rename(former_folder(folder))
    try:
        new.rename(folder)
    except BaseException:
        put_back(folder)
        raise
    with suppress(OSError):
        _delete(former_folder(folder))


def put_back(folder: Path) -> None:
    """Undo a replacement of a model folder that was stopped in the middle, or tidy up after it.

    Raises:
        OSError: it cannot be undone.
    """
    former = former_folder(folder)
    if former.exists() and not folder.exists():
        former.rename(folder)
    _delete(former)


def _delete(folder: Path) -> None:
    if folder.is_symlink():  # what it leads to is not ours
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def lowest_cosine(embedder: Embedder, photos: Pixels, expected: Any) -> float:
    """The worst agreement of LiteRT with expected unit-norm embeddings (photos, dim)."""
    found = np.stack([embedder.embed_pixels(pixels) for pixels in photos])
    return float((found * expected).sum(axis=1).min())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
