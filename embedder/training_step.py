"""One step of training: its gradient, and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from embedder.losses import triplet_hard_loss
from embedder.training_options import TrainingOptions

_WARM_UP = 0.05  # of all steps
_LOWEST = 0.01  # of the highest learning rate


def training_step(network: Any, optimizer: Any, options: TrainingOptions) -> Any:
    """A compiled function that learns from one batch of `batches`.

    It returns the loss, and the vectors (batch, dim) that the batch had before the step.
    """
    # Distances grow with the vectors; a margin is in distances of unit vectors.
    steepness, soft = options.steepness, options.margin is None
    margin = (options.margin or 0.0) * steepness

    def step(photos: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            vectors = network(tf.cast(photos, tf.float32), training=True)
            loss = triplet_hard_loss(labels, vectors * steepness, margin, soft=soft)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss, vectors

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
