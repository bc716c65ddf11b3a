"""The networks: a backbone, and a head that gives unit-norm embeddings."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedder.backend import keras, layers, ops
from embedder.batch_norm import (
    FusedBatchNormalization,
    on_several_replicas,
    with_fused_batch_norm,
)
from embedder.errors import TrainingError
from embedder.model_files import Architecture

# Output channels and stride of each 3x3 convolution of the compact network. At 96 px and 2 cores
# it trains at some 600 photos a second, and it is 0.47 M parameters: at 8 bits each, a file below
# half a megabyte.
_COMPACT = ((24, 2), (48, 2), (96, 2), (112, 1), (128, 2), (152, 1))

_LEAST_FEATURE = 1e-4


def build_network(architecture: Architecture, weights: str | None = None) -> Any:
    """A Keras model from float32 photos (batch, size, size, 3), 0...255, to (batch, dim).

    Embeddings are float32 of unit norm. Preparing the pixels for the backbone is part of the
    network, so that every user of it feeds the same photos. Built in the scope of a strategy of
    TensorFlow's, batches are normalised over the photos of all its replicas.

    Args:
        architecture: what to build.
        weights: None for random, "imagenet" (downloaded by Keras), or the path of a Keras .h5
            weights file of the backbone without its top.

    Raises:
        TrainingError: no such backbone, or the weights cannot be had or do not fit.
    """
    photos = keras.Input((architecture.size, architecture.size, 3), name="photos")
    if architecture.backbone == "compact":
        if weights is not None or architecture.alpha is not None:
            raise TrainingError("the compact backbone takes neither --weights nor --alpha")
        features = _compact(photos)
    else:
        features = _application(architecture, weights)(photos)
    features = _pooled(features, architecture.pooling)
    embedding = layers.Dense(architecture.dim, use_bias=False, name="embedding")(features)
    # Centred before it is scaled: without this all photos crowd into one narrow cone.
    centred = layers.BatchNormalization(
        momentum=0.9, scale=False, synchronized=on_several_replicas(), name="centre"
    )
    unit = layers.UnitNormalization(name="unit_norm")(centred(embedding))
    return keras.Model(photos, unit, name="embedder")


def refuse_missing(architecture: Architecture, weights: str | None) -> None:
    """See that there are such a backbone and such a file, without building anything.

    Takes what `build_network` takes, and raises what that does.
    """
    name = architecture.backbone
    if name != "compact" and not callable(getattr(keras.applications, name, None)):
        known = ", ".join(n for n in dir(keras.applications) if n[0].isupper())
        raise TrainingError(f"no backbone '{name}'; expected 'compact' or one of: {known}")
    if weights not in (None, "imagenet") and not Path(str(weights)).is_file():
        raise TrainingError(f"{weights}: expected a Keras .h5 weights file, found nothing")


def _pooled(features: Any, pooling: str) -> Any:
    if pooling == "mean":
        return layers.GlobalAveragePooling2D(name="pool")(features)
    # Not zero, whose cube root has no slope.
    above = ops.maximum(features, _LEAST_FEATURE)
    means = layers.GlobalAveragePooling2D(name="pool")(above * ops.square(above))
    return ops.power(means, 1 / 3)


def _compact(photos: Any) -> Any:
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(photos)
    for channels, stride in _COMPACT:
        features = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(features)
        normalised = FusedBatchNormalization(momentum=0.9, synchronized=on_several_replicas())
        features = normalised(features)
        features = layers.ReLU()(features)
    return features


def _application(architecture: Architecture, weights: str | None) -> Callable[[Any], Any]:
    name, size = architecture.backbone, architecture.size
    refuse_missing(architecture, weights)
    make = getattr(keras.applications, name)
    if re.fullmatch("EfficientNetB[0-7]", name):
        # Keras builds it with another input layer for "imagenet" than for weights from a file.
        raise TrainingError(f"{name} is not supported; use EfficientNetV2{name[-2:]} instead")
    options: dict[str, Any] = {"input_shape": (size, size, 3), "include_top": False}
    if architecture.alpha is not None:
        options["alpha"] = architecture.alpha
    try:
        backbone = make(weights=None, **options)
    except Exception as error:
        raise TrainingError(f"{_named(architecture)} cannot be built: {_first(error)}") from error
    if weights is not None:
        _load(backbone, make, options, architecture, weights)
    preprocess = sys.modules[make.__module__].preprocess_input
    backbone = with_fused_batch_norm(backbone)
    return lambda photos: backbone(preprocess(photos))


def _load(
    backbone: Any, make: Any, options: dict[str, Any], architecture: Architecture, weights: str
) -> None:
    named = _named(architecture)
    if weights == "imagenet":
        try:
            backbone.set_weights(make(weights="imagenet", **options).get_weights())
        except Exception as error:  # a download fails in many ways
            raise TrainingError(
                f"the ImageNet weights of {named} cannot be downloaded ({_first(error)}); "
                "give a downloaded file with --weights FILE.h5, or --weights none"
            ) from error
        return
    try:
        backbone.load_weights(weights)
    except Exception as error:  # neither Keras nor HDF5 says which errors it raises
        raise TrainingError(
            f"{weights}: not the weights of {named} without its top: {_first(error)}"
        ) from error


def _named(architecture: Architecture) -> str:
    alpha = "" if architecture.alpha is None else f" with alpha {architecture.alpha}"
    return f"{architecture.backbone}{alpha} at {architecture.size} px"


def _first(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(":") if text else type(error).__name__
