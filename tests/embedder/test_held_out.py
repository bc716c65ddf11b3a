"""Tests of the photos held out of training that a model folder keeps to fit confidences on."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest

from embedder import Embedder, ModelError
from embedder.model_files import HELD_OUT


@pytest.fixture
def model(random_model, tmp_path):
    return shutil.copytree(random_model, tmp_path / "items.model")


def keep(model, content):
    """Put a file of held-out photos into a model folder, with its checksum."""
    (model / HELD_OUT).write_bytes(content)
    info = json.loads((model / "model.json").read_text())
    info["sha256"][HELD_OUT] = sha256(content).hexdigest()
    (model / "model.json").write_text(json.dumps(info))


def test_a_trained_model_has_those_of_its_catalogue(trained_model, catalogue):
    embedder = Embedder.open(trained_model)
    found = embedder.held_out()
    assert len(found.items) == embedder.info.training["held_out_photos"] == 12
    assert set(found.items) <= set(catalogue.items)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    # They are photos of the catalogue, embedded as the model does it.
    for item, vector in zip(found.items, found.vectors, strict=True):
        others = np.array(list(embedder.embed(catalogue.items[item])))
        assert (others @ vector).max() > 0.999


def test_a_model_without_them_has_none(random_embedder):
    assert random_embedder.held_out() is None


def test_the_model_is_the_same_with_them(model, random_embedder):
    keep(model, b"[]\n")
    with_them = Embedder.open(model)
    assert with_them.info.fingerprint == random_embedder.info.fingerprint
    assert with_them.held_out().items == ()


@pytest.mark.parametrize("content", [b"", b"nonsense", b'["a"]\nabc', b"{}\n"])
def test_what_is_not_held_out_photos_is_named(model, content):
    keep(model, content)
    with pytest.raises(ModelError, match=r"held_out\.vectors: cannot be read"):
        Embedder.open(model).held_out()


def test_a_damaged_or_missing_file_is_named(model):
    keep(model, b"[]\n")
    (model / HELD_OUT).write_bytes(b"[] \n")
    with pytest.raises(ModelError, match=r"held_out\.vectors: expected SHA-256"):
        Embedder.open(model).held_out()
    (model / HELD_OUT).unlink()
    with pytest.raises(ModelError, match=r"held_out\.vectors"):
        Embedder.open(model).held_out()
