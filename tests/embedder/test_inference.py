import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from embedder import Embedder, ModelError, PhotoError
from embedder.litert import load_trained
from embedder.model_files import Architecture
from embedder.photos import prepare


@pytest.fixture
def photos(catalogue):
    return [Path(path) for path in catalogue.paths()][:40]


def test_embeddings_are_unit_norm_float32_of_the_right_size(random_embedder, photos):
    for vector in random_embedder.embed(photos[:5]):
        assert vector.shape == (100,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_order_is_kept_and_threads_change_nothing(random_embedder, photos):
    one = list(random_embedder.embed(photos, jobs=1))
    many = list(random_embedder.embed(photos, jobs=4))
    np.testing.assert_array_equal(one, many)
    size = random_embedder.info.architecture.size
    alone = [random_embedder.embed_pixels(prepare(path, size)) for path in photos]
    np.testing.assert_array_equal(one, alone)
    assert len(np.unique(one, axis=0)) == len(photos)


def test_bad_photos_are_reported_in_place_and_change_no_other(random_embedder, photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(photos[0].read_bytes()[:300])
    mixed = list(random_embedder.embed([bad, photos[0], b"rubbish", photos[1]]))
    assert isinstance(mixed[0], PhotoError)
    assert mixed[0].photo == str(bad)
    assert isinstance(mixed[2], PhotoError)
    assert mixed[2].photo == "photo 3"
    good = list(random_embedder.embed(photos[:2]))
    np.testing.assert_array_equal([mixed[1], mixed[3]], good)


def test_one_embedder_serves_many_threads(random_embedder, photos):
    expected = list(random_embedder.embed(photos, jobs=1))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: list(random_embedder.embed(photos, jobs=2)), range(8)))
    for found in results:
        np.testing.assert_array_equal(found, expected)


def test_another_process_needs_no_files(random_model, photos, tmp_path):
    folder = tmp_path / "items.model"
    shutil.copytree(random_model, folder)
    here = Embedder.open(folder)
    there = pickle.loads(pickle.dumps(here))
    shutil.rmtree(folder)
    np.testing.assert_array_equal(list(there.embed(photos[:3])), list(here.embed(photos[:3])))


def test_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="embed train"):
        Embedder.open(tmp_path / "items.model")


def test_a_changed_file_is_refused_before_it_is_run(random_model, tmp_path):
    copy = shutil.copytree(random_model, tmp_path / "copy.model")
    content = bytearray((copy / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.tflite: expected SHA-256"):
        Embedder.open(copy)
    (copy / "model.tflite").unlink()
    with pytest.raises(ModelError, match=r"model\.tflite: cannot be read"):
        Embedder.open(copy)


def test_a_network_of_another_shape_is_refused(random_model, random_embedder):
    content = (random_model / "model.tflite").read_bytes()
    for architecture in (Architecture(size=64), Architecture(size=32, dim=50)):
        info = replace(random_embedder.info, architecture=architecture)
        with pytest.raises(ModelError, match="expected shapes"):
            Embedder(info, partial(load_trained, content, architecture, "model.tflite")).warm_up()


def test_what_is_no_network_is_refused(random_embedder):
    content = b"TFL3 but not really"
    info = random_embedder.info
    load = partial(load_trained, content, info.architecture, "model.tflite")
    embedder = Embedder(info, load)
    with pytest.raises(ModelError, match="LiteRT cannot load"):
        embedder.warm_up()
