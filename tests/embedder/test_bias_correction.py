"""Bias correction beside a network that was changed on purpose."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from embedder.backend import keras, layers, ops
from embedder.bias_correction import correct_biases
from embedder.litert_graph import (
    add_note,
    convolutions,
    graph_bytes,
    read_graph,
    set_values,
    values,
)
from embedder.saving import litert_from_keras

SIDE, CHANNELS = 6, 4


@pytest.fixture(scope="module")
def original():
    """A LiteRT file of a full, a depthwise and another full convolution, with maps as output."""
    keras.utils.set_random_seed(0)
    photos = keras.Input(batch_shape=(1, SIDE, SIDE, 3), dtype="uint8")
    features = ops.cast(photos, "float32") / 255
    features = layers.Conv2D(CHANNELS, 1, activation="relu", bias_initializer="ones")(features)
    features = layers.DepthwiseConv2D(1, bias_initializer="random_normal")(features)
    features = layers.Conv2D(5, 1, bias_initializer="random_normal")(ops.relu(features + 1))
    return litert_from_keras(keras.Model(photos, features))


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (9, SIDE, SIDE, 3), dtype=np.uint8))


def changed(content, seed=0):
    """The same file with other kernels, each number off by up to a tenth of the largest."""
    graph, rng = read_graph(content), np.random.default_rng(seed)
    for of in convolutions(graph):
        kernel = values(graph, of.kernel)
        noise = rng.uniform(-0.1, 0.1, kernel.shape) * np.abs(kernel).max()
        set_values(graph, of.kernel, kernel + noise)
    return graph_bytes(graph)


def averages(content, photos):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    maps = []
    for pixels in photos:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
        interpreter.invoke()
        maps.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.mean(maps, axis=(0, 1, 2))


def test_averages_are_what_they_were(original, photos):
    other = changed(original)
    expected = averages(original, photos)
    assert np.abs(averages(other, photos) - expected).max() > 0.01
    found = averages(correct_biases(other, original, photos), photos)
    # Kernels of one pixel: nothing is at an edge, so it holds to the last digits.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_else_changes(original, photos):
    other = changed(original)
    before, after = read_graph(other), read_graph(correct_biases(other, original, photos))
    for old, new in zip(convolutions(before), convolutions(after), strict=True):
        assert old == new
        np.testing.assert_array_equal(values(before, old.kernel), values(after, new.kernel))
        assert not np.allclose(values(before, old.bias), values(after, new.bias))


def test_a_file_that_is_the_original_stays_as_it_is(original, photos):
    graph, again = read_graph(original), read_graph(correct_biases(original, original, photos))
    for of in convolutions(graph):
        np.testing.assert_allclose(values(again, of.bias), values(graph, of.bias), atol=1e-6)


def test_another_network_is_refused(original, photos):
    one = keras.Input(batch_shape=(1, SIDE, SIDE, 3), dtype="uint8")
    maps = layers.Conv2D(2, 1, bias_initializer="ones")(ops.cast(one, "float32"))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        correct_biases(litert_from_keras(keras.Model(one, maps)), original, photos)


def test_convolutions_are_found_as_they_were_built(original):
    graph = read_graph(original)
    found = convolutions(graph)
    shapes = [values(graph, of.kernel).shape for of in found]
    assert shapes == [(CHANNELS, 1, 1, 3), (1, 1, 1, CHANNELS), (5, 1, 1, CHANNELS)]
    assert [of.depthwise for of in found] == [False, True, False]


def test_a_note_changes_no_result(original, photos):
    noted = add_note(original, "who", "somebody")
    np.testing.assert_array_equal(averages(noted, photos), averages(original, photos))
    assert b"somebody" in noted
    assert add_note(noted, "why", "for nothing").count(b"somebody") == 1
