"""Tests of the fused batch normalisation, against that of Keras."""

import numpy as np
import pytest
import tensorflow as tf

from embedder.backend import keras
from embedder.batch_norm import FusedBatchNormalization, with_fused_batch_norm
from embedder.model_files import Architecture
from embedder.networks import build_network

Plain = keras.layers.BatchNormalization


def features(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, shape).astype(np.float32)


def learned_from(layer, batch: np.ndarray, training: bool) -> list[np.ndarray]:
    """Output, all slopes, and what the layer keeps afterwards, of a loss with uneven slopes."""
    layer.build(batch.shape)
    for number, weight in enumerate(layer.trainable_weights):
        weight.assign(np.linspace(0.5, 1.5 + number, batch.shape[-1]))
    given = tf.constant(batch)
    with tf.GradientTape() as tape:
        tape.watch(given)
        output = layer(given, training=training)
        loss = tf.reduce_sum(tf.sin(output) * features(batch.shape)[::-1])
    slopes = tape.gradient(loss, [given, *(weight.value for weight in layer.trainable_weights)])
    kept = [layer.moving_mean, layer.moving_variance]
    return [np.asarray(found) for found in [output, *slopes, *kept]]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (1, 1, 1, 3), (7, 6)], ids=str)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}])
def test_it_is_what_keras_does(shape: tuple[int, ...], options: dict, training: bool):
    options = {"momentum": 0.9, **options}
    expected = learned_from(Plain(**options), features(shape), training)
    found = learned_from(FusedBatchNormalization(**options), features(shape), training)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_frozen_layer_keeps_what_it_knows():
    layer = FusedBatchNormalization(trainable=False)
    batch = features((4, 2, 2, 3))
    np.testing.assert_allclose(layer(batch, training=True), batch, rtol=1e-3)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_replacing_it_in_a_model_keeps_weights_and_what_it_computes():
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNet((32, 32, 3), 0.25, include_top=False, weights=None)
    weights = [np.abs(features(weight.shape)) * 0.1 for weight in model.get_weights()]
    model.set_weights(weights)
    faster = with_fused_batch_norm(model)
    for found, expected in zip(faster.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    names = [layer.name for layer in model.layers]
    assert [layer.name for layer in faster.layers][1:] == names[1:]  # the input is a new one
    batch = features((2, 32, 32, 3))
    np.testing.assert_allclose(
        faster(batch, training=True), model(batch, training=True), rtol=1e-3, atol=1e-3
    )
    for found, expected in zip(faster.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["compact", "MobileNet", "MobileNetV3Small"])
def test_every_backbone_is_built_with_it(backbone: str):
    network = build_network(Architecture(backbone, None, 32))
    parts = [part for layer in network.layers for part in getattr(layer, "layers", [layer])]
    found = [type(part) for part in parts if isinstance(part, Plain) and part.name != "centre"]
    assert len(found) > 5 and set(found) == {FusedBatchNormalization}


def test_averages_arrive_within_a_short_training():
    photos = keras.Input((2, 2, 3))
    model = keras.Model(photos, Plain(momentum=0.9997)(photos))
    faster, batch = with_fused_batch_norm(model), features((8, 2, 2, 3))
    passes = tf.function(lambda: faster(batch, training=True))
    for _ in range(600):
        trained = passes()
    np.testing.assert_allclose(faster(batch, training=False), trained, atol=0.05)
    shorter = with_fused_batch_norm(keras.Model(photos, Plain(momentum=0.9)(photos)))
    assert shorter.layers[-1].momentum == 0.9
