"""Training the head alone: the backbone's features of every photo, computed once and kept.

Frozen features with a small part trained on top are what transfer learning starts with (Donahue et
al. 2014, "DeCAF: A Deep Convolutional Activation Feature for Generic Visual Recognition"). As the
backbone does not change, it looks at each photo a few times instead of once an epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.advice import with_advice
from embedder.backend import keras
from embedder.errors import TrainingError
from embedder.learner import Batches, Learner
from embedder.parallel import ordered_map
from embedder.photo_cache import PhotoCache
from embedder.photos import Pixels
from embedder.sampling import Indices
from embedder.score_space import Floats
from embedder.training_batches import (
    LookAlikes,
    batch_rows,
    draw_variation,
    pictures_behind,
    vary_photos,
)
from embedder.training_options import TrainingOptions
from embedder.training_step import embedding_function

VIEWS = 5  # of each photo: as it is, and varied

_FEATURES = "features.f32"
_KEY = "features.json"
_BLOCK = 8  # photos looked at together, with all their views
_AHEAD = 2


@dataclass(frozen=True)
class Features:
    """What a backbone made of the photos of a cache.

    Attributes:
        file: where the features lie.
        photos: how many.
        channels: numbers of a view.
    """

    file: Path
    photos: int
    channels: int

    # Mapped anew at each use, as the photos are: memory stays at a steady size.
    @property
    def views(self) -> Floats:
        """float32 (photos, VIEWS, channels), the plain view first; cannot be changed."""
        return np.memmap(self.file, np.float32, "r", shape=(self.photos, VIEWS, self.channels))


def refuse_unfreezable(options: TrainingOptions) -> None:
    """Refuse what cannot be frozen or is of no use so.

    Raises:
        TrainingError: the backbone would be random, or photos are to be smaller while training.
    """
    backbone = options.architecture.backbone
    if backbone == "compact":
        raise TrainingError(
            "the compact backbone starts from random weights and cannot be frozen: name a "
            "--backbone of keras.applications with its --weights"
        )
    if options.weights is None:
        raise TrainingError(
            f"expected the weights that {backbone} is frozen with, found none: random ones tell "
            "nothing apart; give --weights imagenet or a downloaded FILE.h5"
        )
    if options.side_trained_at != options.architecture.size:
        raise TrainingError(
            f"expected to train at {options.architecture.size} px, the size of the photos, found "
            f"{options.side_trained_at} px: a frozen backbone looks at photos once, at one size"
        )


def weights_key(weights: str) -> str:
    """A text that changes when a weights file does; of what Keras downloads, Keras keeps watch."""
    path = Path(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else weights


def learner_of_features(
    options: TrainingOptions,
    settings: str,
    cache: PhotoCache,
    network: Any,
    usable: Indices,
    on_features: Callable[[int, int], None] = lambda done, total: None,
) -> Learner:
    """The head of a network learns from features that are computed now, or were before.

    Args:
        options: how to train.
        settings: a text that is the same only for a training that may use the same features.
        cache: the photos.
        network: of `build_network`, with the weights that its backbone keeps.
        usable: int64, positions of the photos to train on.
        on_features: called with (photos done, photos in all).

    Raises:
        TrainingError: the features cannot be kept, for instance because the disk is full.
    """
    backbone, head = split(network)
    features = open_features(options, settings, cache, backbone, usable, on_features)
    return Learner(
        head,
        head,
        network,
        VIEWS,
        partial(feature_batches, options, cache, features),
        lambda rows: features.views[rows, 0],
    )


def split(network: Any) -> tuple[Any, Any]:
    """A network of `build_network` in two that share its weights.

    Returns:
        The backbone with its pooling, photos (batch, size, size, 3) to features (batch, channels),
        and the head, features to embeddings (batch, dim).
    """
    pooled = network.get_layer("embedding").input
    return keras.Model(network.input, pooled), keras.Model(pooled, network.output)


def feature_batches(
    options: TrainingOptions,
    cache: PhotoCache,
    features: Features,
    usable: Indices,
    steps: int,
    epoch: int,
    look_alikes: LookAlikes | None = None,
) -> Batches:
    """The batches of one epoch, as `training_batches.batches`, of any view of each photo.

    Yields:
        features float32 (batch, channels), and labels int64 (batch,).
    """
    rng = np.random.default_rng([options.seed, epoch, 6])
    for rows in batch_rows(options, cache, usable, steps, epoch, look_alikes):
        views = rng.integers(VIEWS, size=len(rows))
        yield features.views[rows, views], cache.labels[rows]


def open_features(
    options: TrainingOptions,
    settings: str,
    cache: PhotoCache,
    backbone: Any,
    usable: Indices,
    on_features: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Compute the features of all photos, or what is missing of those that an earlier call left.

    Takes what `learner_of_features` takes, and the backbone of `split`.
    """
    file, photos = cache.folder / _FEATURES, len(cache.labels)
    features = Features(file, photos, backbone.output_shape[-1])
    look = embedding_function(backbone)
    pictures = pictures_behind(options, cache, usable)
    try:
        done = _kept(features, hashlib.sha256(settings.encode()).hexdigest())
        blocks = [np.arange(at, min(at + _BLOCK, photos)) for at in range(done, photos, _BLOCK)]
        views = partial(_views, options, cache, pictures)
        # Written, not mapped: a full disk is then an error here instead of a signal that kills.
        with file.open("ab") as kept:
            for seen in ordered_map(views, blocks, ahead=_AHEAD):
                flat = np.asarray(look(seen.reshape(-1, *seen.shape[2:])))
                kept.write(flat.reshape(len(seen), VIEWS, -1).tobytes())
                done += len(seen)
                on_features(done, photos)
    except OSError as error:
        where = error.filename or file
        raise TrainingError(f"{where}: cannot keep features: {with_advice(error)}") from error
    return features


def _kept(features: Features, key: str) -> int:
    """Of how many photos the features are there already; leaves a file to write the others to."""
    file, contents = features.file, features.file.with_name(_KEY)
    if not (file.is_file() and _reads(contents, key)):
        contents.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        file.touch()
        contents.write_text(json.dumps({"key": key}), encoding="utf-8")
        return 0
    photo = VIEWS * features.channels * 4
    done = min(file.stat().st_size // photo, features.photos)
    if done < features.photos:
        done -= done % _BLOCK  # the last block may have been stopped in the middle
    with file.open("r+b") as whole:
        whole.truncate(done * photo)
    return done


def _reads(contents: Path, key: str) -> bool:
    try:
        return bool(json.loads(contents.read_text(encoding="utf-8")) == {"key": key})
    except (OSError, ValueError, RecursionError):
        return False


def _views(
    options: TrainingOptions, cache: PhotoCache, pictures: Pixels, rows: Indices
) -> npt.NDArray[np.uint8]:
    """All views of some photos, uint8 (rows, VIEWS, size, size, 3); the first row decides them."""
    seed = [options.seed, int(rows[0])]
    rng, generator = np.random.default_rng([*seed, 0, 7]), np.random.default_rng([*seed, 0, 8])
    views = [cache.pixels[rows]]
    for _ in range(VIEWS - 1):
        draw = draw_variation(options, cache, rows, rng, generator)
        views.append(vary_photos(options, cache, pictures, draw)[0])
    return np.stack(views, axis=1)
