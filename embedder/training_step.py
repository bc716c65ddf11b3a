"""One step of training: its gradient, and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from embedder.backend import keras
from embedder.losses import triplet_hard_loss, triplet_semihard_loss
from embedder.replicas import Replicas, gathered, on_each, one_replica
from embedder.training_options import TrainingOptions

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_WARM_UP = 0.05  # of all steps
_LOWEST = 0.01  # of the highest learning rate
_SEMI_HARD_MARGIN = 0.2
_SOFTMAX_TEMPERATURE = 0.05
_LENGTH = 1 / 3  # of a direction: Adam turns a shorter one faster


def training_step(
    network: Any,
    optimizer: Any,
    options: TrainingOptions,
    directions: Any = None,
    replicas: Replicas | None = None,
) -> Any:
    """A compiled function that learns from one batch of `batches`.

    It returns the loss, and the vectors (batch, dim) that the batch had before the step. With
    replicas it takes what the batch has for this process, and returns those of the whole batch.

    Args:
        network: a Keras model.
        optimizer: built for its trainable variables, and for the directions after them.
        options: which losses.
        directions: variable (items, dim), learned with the network where there is a softmax.
        replicas: in the scope of whose strategy network and optimizer were made.
    """
    replicas = replicas or one_replica()
    weights = [*network.trainable_variables, *([] if directions is None else [directions])]

    def step(photos: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            vectors = gathered(network(tf.cast(photos, tf.float32), training=True))
            loss = _triplets(options, labels, vectors)
            if directions is not None:
                loss += options.softmax * _softmax(vectors, labels, directions)
            # Each replica has the loss of the whole batch, and Keras adds up what all learn of it.
            share = loss / replicas.count
        optimizer.apply(tape.gradient(share, weights), weights)
        return loss, vectors

    return on_each(replicas, step)


def new_directions(options: TrainingOptions, items: int) -> Any:
    """What the softmax compares photos with, of an item each; None without a softmax."""
    if not options.softmax:
        return None
    rows = np.random.default_rng([options.seed, 4]).normal(size=(items, options.architecture.dim))
    rows *= _LENGTH / np.linalg.norm(rows, axis=1, keepdims=True)
    return keras.Variable(rows.astype(np.float32), name="directions")


def _triplets(options: TrainingOptions, labels: Any, vectors: Any) -> Any:
    if options.loss == "semi-hard":
        margin = _SEMI_HARD_MARGIN if options.margin is None else options.margin
        return triplet_semihard_loss(labels, vectors, margin, "squared-L2")
    return triplet_hard_loss(labels, vectors, options.margin or 0.0, soft=options.margin is None)


def _softmax(vectors: Any, labels: Any, directions: Any) -> Any:
    """Cross entropy of scaled cosines (Wang et al. 2017, "NormFace")."""
    unit = tf.math.l2_normalize(tf.convert_to_tensor(directions), axis=1)
    logits = tf.matmul(vectors, unit, transpose_b=True) / _SOFTMAX_TEMPERATURE
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


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
