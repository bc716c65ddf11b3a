"""The networks: a backbone, and a head that gives unit-norm embeddings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from embedder.backend import keras, layers
from embedder.errors import TrainingError
from embedder.model_files import Architecture

# Output channels and stride of each 3x3 convolution of the compact network. At 96 px and 2 cores
# it trains at some 500 photos a second, and it is 0.55 M parameters.
_COMPACT = ((24, 2), (48, 2), (96, 2), (128, 1), (128, 2), (192, 1))


def build_network(architecture: Architecture, weights: str | None = None) -> Any:
    """A Keras model from float32 photos (batch, size, size, 3), 0...255, to (batch, dim).

    Embeddings are float32 of unit norm. Preparing the pixels for the backbone is part of the
    network, so that every user of it feeds the same photos.

    Args:
        architecture: what to build.
        weights: None for random, "imagenet" (downloaded by Keras), or the path of a Keras .h5
            weights file of the backbone without its top.

    Raises:
        TrainingError: no such backbone, or the weights cannot be had or do not fit.
    """
    photos = keras.Input((architecture.size, architecture.size, 3), name="photos")
    if architecture.backbone == "compact":
        if weights is not None:
            raise TrainingError("the compact backbone has no weights to load: use --weights none")
        features = _compact(photos)
    else:
        features = _application(architecture, weights)(photos)
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    embedding = layers.Dense(architecture.dim, use_bias=False, name="embedding")(features)
    # Centred before it is scaled: without this all photos crowd into one narrow cone.
    centred = layers.BatchNormalization(momentum=0.9, scale=False, name="centre")(embedding)
    unit = layers.UnitNormalization(name="unit_norm")(centred)
    return keras.Model(photos, unit, name="embedder")


def _compact(photos: Any) -> Any:
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(photos)
    for channels, stride in _COMPACT:
        features = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(features)
        features = layers.BatchNormalization(momentum=0.9)(features)
        features = layers.ReLU()(features)
    return features


def _application(architecture: Architecture, weights: str | None) -> Callable[[Any], Any]:
    name, size = architecture.backbone, architecture.size
    make = getattr(keras.applications, name, None)
    if not callable(make):
        known = ", ".join(n for n in dir(keras.applications) if n[0].isupper())
        raise TrainingError(f"no backbone '{name}'; expected 'compact' or one of: {known}")
    options: dict[str, Any] = {"input_shape": (size, size, 3), "include_top": False}
    if architecture.alpha is not None:
        options["alpha"] = architecture.alpha
    try:
        backbone = make(weights="imagenet" if weights == "imagenet" else None, **options)
        if weights not in (None, "imagenet"):
            backbone.load_weights(weights)
    except Exception as error:  # a download, a file format and Keras, each with its own errors
        raise TrainingError(_why_no_weights(architecture, weights, error)) from error
    preprocess = sys.modules[make.__module__].preprocess_input
    return lambda photos: backbone(preprocess(photos))


def _why_no_weights(architecture: Architecture, weights: str | None, error: Exception) -> str:
    reason = (
        str(error).strip().splitlines()[0].rstrip(":")
        if str(error).strip()
        else type(error).__name__
    )
    backbone = architecture.backbone
    if architecture.alpha is not None:
        backbone += f" with alpha {architecture.alpha}"
    if weights == "imagenet":
        return (
            f"the ImageNet weights of {backbone} cannot be downloaded ({reason}); "
            "give a downloaded file with --weights FILE.h5, or --weights none"
        )
    if weights is not None and not os.path.exists(weights):  # noqa: PTH110 (a plain string)
        return f"{weights}: expected a Keras .h5 weights file, found nothing"
    if weights is not None:
        return f"{weights}: not the weights of {backbone} without its top: {reason}"
    return f"{backbone} cannot be built at {architecture.size} px: {reason}"
