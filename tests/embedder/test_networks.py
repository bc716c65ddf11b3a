"""Tests of the networks and of the weights that they are given."""

from pathlib import Path

import numpy as np
import pytest

from embedder import TrainingError
from embedder.backend import keras
from embedder.model_files import Architecture
from embedder.networks import build_network

MOBILE = Architecture("MobileNet", 0.25, 64, 10)


def photos(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.float32)


def embeddings(network, batch: np.ndarray) -> np.ndarray:
    return np.asarray(network(batch, training=False))


def refusal(architecture: Architecture, weights: str | None = None) -> str:
    with pytest.raises(TrainingError) as caught:
        build_network(architecture, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "architecture",
    [Architecture(size=96, dim=100), Architecture(size=33, dim=7)],
    ids=["default", "odd-size"],
)
def test_embeddings_are_unit_norm_and_tell_photos_apart(architecture: Architecture):
    keras.utils.set_random_seed(1)
    network = build_network(architecture)
    assert network.input_shape == (None, architecture.size, architecture.size, 3)
    found = embeddings(network, photos(architecture.size))
    assert (found.shape, found.dtype) == ((3, architecture.dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_an_embedding_does_not_depend_on_the_photos_beside_it():
    network = build_network(Architecture(size=32))
    batch = photos(32)
    alone = np.concatenate([embeddings(network, photo[None]) for photo in batch])
    np.testing.assert_allclose(embeddings(network, batch), alone, atol=1e-5)


def test_gem_pools_by_the_cube_root_of_the_mean_cube():
    keras.utils.set_random_seed(1)
    network = build_network(Architecture(size=33, dim=7, pooling="gem"))
    relu = [layer for layer in network.layers if isinstance(layer, keras.layers.ReLU)][-1]
    into = network.get_layer("embedding").input
    features, pooled = keras.Model(network.input, [relu.output, into])(photos(33))
    cubes = np.maximum(np.asarray(features, np.float64), 1e-4) ** 3
    np.testing.assert_allclose(pooled, np.cbrt(cubes.mean(axis=(1, 2))), rtol=1e-3)
    assert np.isfinite(embeddings(network, photos(33))).all()


def test_a_published_backbone_gives_unit_norm_embeddings():
    keras.utils.set_random_seed(1)
    # As in training: the statistics of random weights are not known before it.
    found = np.asarray(build_network(MOBILE)(photos(64), training=True))
    assert (found.shape, found.dtype) == ((3, 10), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_compact_has_the_parameters_it_claims():
    assert 0.46e6 < build_network(Architecture()).count_params() < 0.48e6


@pytest.mark.parametrize("name", ["NoSuchNet", "mobilenet", "", "__doc__"])
def test_an_unknown_backbone_lists_the_known_ones(name: str):
    message = refusal(Architecture(name, None, 64))
    assert f"'{name}'" in message
    assert "compact" in message and "MobileNetV2" in message


def test_efficientnet_of_the_first_version_is_refused_with_its_successor():
    assert "EfficientNetV2B3" in refusal(Architecture("EfficientNetB3", None, 64))


@pytest.mark.parametrize("weights", ["imagenet", "file.h5"])
def test_compact_takes_no_weights(weights: str):
    assert "takes neither --weights nor --alpha" in refusal(Architecture(), weights)


@pytest.mark.parametrize(
    "architecture",
    [Architecture("MobileNet", -1, 64), Architecture("ResNet50", 0.25, 64)],
    ids=["negative-alpha", "alpha-not-taken"],
)
def test_an_impossible_network_is_refused(architecture: Architecture):
    assert architecture.backbone in refusal(architecture)


def test_a_missing_weights_file_is_named(tmp_path: Path):
    path = str(tmp_path / "gone.h5")
    assert refusal(MOBILE, path) == f"{path}: expected a Keras .h5 weights file, found nothing"


@pytest.mark.parametrize("name", ["notes.h5", "notes.weights.h5", "notes.txt"])
def test_another_file_is_not_weights(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("not weights\nat all\n")
    message = refusal(MOBILE, str(path))
    assert message.startswith(f"{path}: not the weights of MobileNet with alpha 0.25")


# Keras saves .h5 files in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
@pytest.mark.parametrize(
    "other", [Architecture(size=32), Architecture("MobileNet", 0.5, 64)], ids=["compact", "wider"]
)
def test_weights_of_another_network_are_refused(tmp_path: Path, other: Architecture):
    path = str(tmp_path / "other.weights.h5")
    network = build_network(other)
    backbones = [layer for layer in network.layers if hasattr(layer, "layers")]
    (backbones or [network])[0].save_weights(path)
    assert refusal(MOBILE, path).startswith(f"{path}: not the weights of MobileNet")


@pytest.mark.real_data
def test_published_weights_are_loaded(real_data: Path):
    path = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    network = build_network(MOBILE, str(path))
    (backbone,) = (layer for layer in network.layers if hasattr(layer, "layers"))
    expected = keras.applications.MobileNet(
        input_shape=(64, 64, 3), alpha=0.25, include_top=False, weights=str(path)
    )
    for found, wanted in zip(backbone.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    message = refusal(Architecture("MobileNet", 0.5, 64), str(path))
    assert message.startswith(f"{path}: not the weights of MobileNet with alpha 0.5")
