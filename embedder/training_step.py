"""One step of training: its batch, its learning rate, its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from embedder.augmentation import NewBackground, change_photos, draw_changes
from embedder.backgrounds import draw_background, evenly
from embedder.losses import triplet_hard_loss
from embedder.photo_cache import PhotoCache
from embedder.photos import Pixels
from embedder.sampling import pk_batches
from embedder.training_options import TrainingOptions

_WARM_UP = 0.05  # of all steps
_LOWEST = 0.01  # of the highest learning rate


def batches(
    options: TrainingOptions,
    cache: PhotoCache,
    usable: npt.NDArray[np.int64],
    steps: int,
    epoch: int,
) -> Iterator[tuple[Any, ...]]:
    """The batches of one epoch, the same for the same seed and epoch.

    Args:
        options: P, K, seed and augmentation.
        cache: the photos.
        usable: int64, positions of the photos to train on.
        steps: how many batches.
        epoch: from 0.

    Yields:
        varied photos uint8 (batch, size, size, 3) and labels int64 (batch,); what `training_step`
        takes.
    """
    rng = np.random.default_rng([options.seed, epoch, 1])
    chosen = pk_batches(
        cache.labels[usable],
        options.items_per_batch,
        options.photos_per_item,
        steps,
        [options.seed, epoch, 2],
    )
    # Apart from the others, for backgrounds to leave them as they are.
    generator = np.random.default_rng([options.seed, epoch, 3])
    pictures = _pictures(options, cache, usable)
    for positions in chosen:
        rows = usable[positions]
        size = options.side_trained_at
        source = options.architecture.size
        changes = draw_changes(rng, len(rows), size, options.augmentation, source)
        behind = _behind(generator, cache, rows, options, pictures)
        photos = change_photos(cache.pixels[rows], changes, behind, size)
        yield photos, cache.labels[rows]


def _pictures(options: TrainingOptions, cache: PhotoCache, usable: npt.NDArray[np.int64]) -> Pixels:
    """What to put behind items: those given, or photos of the catalogue that show more than one."""
    if len(cache.pictures) or not options.augmentation.background:
        return cache.pictures
    natural = usable[cache.mask_rows[usable] < 0]
    return cache.pixels[natural[evenly(len(natural))]]


def _behind(
    rng: np.random.Generator,
    cache: PhotoCache,
    rows: npt.NDArray[np.int64],
    options: TrainingOptions,
    pictures: Pixels,
) -> list[NewBackground | None]:
    size, share = options.side_trained_at, options.augmentation.background
    behind: list[NewBackground | None] = []
    for mask, chance in zip(cache.mask_rows[rows], rng.random(len(rows)), strict=True):
        replaced = mask >= 0 and chance < share
        new = (cache.masks[mask], draw_background(rng, size, pictures)) if replaced else None
        behind.append(new)
    return behind


def training_step(
    network: Any, optimizer: Any, margin: float | None, steepness: float = 1.0
) -> Any:
    """A compiled function that learns from one batch of `batches` and returns its loss."""

    def step(photos: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            vectors = network(tf.cast(photos, tf.float32), training=True)
            # Distances grow with the vectors; a margin is in distances of unit vectors.
            longer, margin_then = vectors * steepness, (margin or 0.0) * steepness
            loss = triplet_hard_loss(labels, longer, margin_then, soft=margin is None)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return tf.function(step, reduce_retracing=True)


def embedding_function(network: Any) -> Any:
    """A compiled function from uint8 photos (batch, size, size, 3) to vectors (batch, dim)."""

    def embed(photos: Any) -> Any:
        return network(tf.cast(photos, tf.float32), training=False)

    return tf.function(embed, reduce_retracing=True)


def learning_rate_at(done: float) -> float:
    """The share of the highest learning rate after a share of the steps: up fast, down as a cosine.

    Args:
        done: share of all steps, 0 to 1.
    """
    rising = min(1.0, (done + 1e-3) / _WARM_UP)
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return rising * max(falling, _LOWEST)
