from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedder import Embedder, TrainingError
from embedder.backend import keras
from embedder.model_files import Architecture, ModelInfo
from embedder.networks import build_network
from embedder.photos import prepare
from embedder.saving import lowest_cosine, save_model

SMALL = Architecture(size=32)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return build_network(SMALL)


@pytest.fixture(scope="module")
def photos(catalogue):
    paths = [path for item in catalogue.items.values() for path in item]
    return np.stack([prepare(path, SMALL.size) for path in paths[:20]])


def test_litert_gives_what_keras_gives(network, photos, tmp_path):
    info = save_model(network, ModelInfo(SMALL, 0.1), photos, tmp_path / "items.model")
    expected = network.predict(photos.astype(np.float32), verbose=0)
    embedder = Embedder.open(tmp_path / "items.model")
    found = np.stack([embedder.embed_pixels(photo) for photo in photos])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert info.training["litert_cosine"] >= 0.9999


def test_litert_pools_as_keras_does(photos, tmp_path):
    architecture = replace(SMALL, pooling="gem")
    network = build_network(architecture)
    save_model(network, ModelInfo(architecture, 0.1), photos, tmp_path / "items.model")
    expected = network.predict(photos[:5].astype(np.float32), verbose=0)
    embedder = Embedder.open(tmp_path / "items.model")
    found = np.stack([embedder.embed_pixels(photo) for photo in photos[:5]])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_weights_are_enough_to_build_the_network_again(network, photos, tmp_path):
    save_model(network, ModelInfo(SMALL, 0.1), photos, tmp_path / "items.model")
    again = build_network(SMALL)
    stored = load_file(tmp_path / "items.model" / "weights.safetensors")
    again.set_weights([stored[name] for name in sorted(stored)])
    expected = network.predict(photos.astype(np.float32), verbose=0)
    np.testing.assert_allclose(again.predict(photos.astype(np.float32), verbose=0), expected)


def test_disagreement_is_refused_and_the_old_model_stays(network, photos, tmp_path, monkeypatch):
    folder = tmp_path / "items.model"
    first = save_model(network, ModelInfo(SMALL, 0.1), photos, folder)
    other = build_network(SMALL)
    monkeypatch.setattr("embedder.saving.litert_model", lambda *_: other_model)
    other_model = (folder / "model.tflite").read_bytes()
    with pytest.raises(TrainingError, match="disagrees"):
        save_model(other, ModelInfo(SMALL, 0.1), photos, folder)
    assert Embedder.open(folder).info == first
    assert [path.name for path in tmp_path.iterdir()] == ["items.model"]


def test_a_new_model_replaces_the_old_one_whole(network, photos, tmp_path):
    folder = tmp_path / "items.model"
    save_model(network, ModelInfo(SMALL, 0.1), photos, folder)
    (folder / "left over").touch()
    second = save_model(build_network(SMALL), ModelInfo(SMALL, 0.2), photos, folder)
    assert Embedder.open(folder).info == second
    assert not (folder / "left over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["items.model"]


def test_lowest_cosine_is_of_the_worst_photo(random_embedder, photos):
    expected = np.stack([random_embedder.embed_pixels(photo) for photo in photos])
    assert lowest_cosine(random_embedder, photos, expected) == pytest.approx(1, abs=1e-6)
    expected[7] *= -1
    assert lowest_cosine(random_embedder, photos, expected) == pytest.approx(-1, abs=1e-6)


def test_an_interrupt_while_replacing_leaves_the_old_model(network, photos, tmp_path, monkeypatch):
    folder = tmp_path / "items.model"
    first = save_model(network, ModelInfo(SMALL, 0.1), photos, folder)
    rename = Path.rename

    def interrupted(path, target):
        if path.name == ".items.model.new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(network, ModelInfo(SMALL, 0.2), photos, folder)
    assert Embedder.open(folder).info == first
