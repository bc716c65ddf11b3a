"""Batch normalisation of photos in one operation while training, where Keras 3 has many."""

from __future__ import annotations

from typing import Any

from embedder.backend import keras, layers

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)


_LONGEST_MEMORY = 0.99  # share of a running average that is left after a step, as in MobileNet


def on_several_replicas() -> bool:
    """Whether a network that is built now learns on several replicas, and normalises over all."""
    return bool(tf.distribute.get_strategy().num_replicas_in_sync > 1)


class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # no types
    """The same as its base class, to rounding; a step of MobileNet takes half the time.

    Keras 2 did this by itself. In Keras 3 mean, variance, scaling and their slopes are some fifteen
    operations that each read and write the features of the whole batch.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As in the base class, float (batch, height, width, channels) -> the same."""
        if not (training and self.trainable and _can_be_fused(self, inputs, mask)):
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else tf.ones(channels),
            offset=self.beta if self.center else tf.zeros(channels),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
        )
        # It estimates the variance of all photos there are; Keras keeps that of the batch.
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        variance *= (count - 1) / count
        for kept, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + new * (1 - self.momentum))
        return outputs


def _can_be_fused(layer: Any, inputs: Any, mask: Any) -> bool:
    plain = mask is None and not layer.renorm and not layer.synchronized
    return plain and len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.dtype == "float32"


def with_fused_batch_norm(model: Any) -> Any:
    """The same layers and weights, with this batch normalisation in place of Keras' own.

    Its running averages follow the last few hundred steps at most. Some backbones of Keras are made
    for trainings of millions (0.9997 of NASNet): after the thousand steps of one of ours their
    averages would still be half those that they began with, which no photo has any more.
    """

    def replaced(layer: Any) -> Any:
        if type(layer) is not layers.BatchNormalization:
            return layer
        config = layer.get_config()
        config["momentum"] = min(config["momentum"], _LONGEST_MEMORY)
        config["synchronized"] = on_several_replicas()
        return FusedBatchNormalization.from_config(config)

    faster = keras.models.clone_model(model, clone_function=replaced)
    faster.set_weights(model.get_weights())
    return faster
