"""Keras, or an error that names the extra it comes with."""

from __future__ import annotations

import os

from embedder.errors import MissingExtraError, TrainingError
from embedder.quiet import native_output_silenced

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported

try:
    with native_output_silenced():
        import keras
    from keras import layers, ops
except ModuleNotFoundError as error:
    if error.name in ("jax", "torch"):
        raise TrainingError(
            f"Keras is set to the backend {error.name}, which is not installed: unset KERAS_BACKEND"
        ) from error
    raise MissingExtraError("training", "train") from error

__all__ = ["keras", "layers", "ops"]
