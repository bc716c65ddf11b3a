"""What is fitted to the photos of an index whose network did not learn from them."""

import shutil

import numpy as np
import pytest
from networks import DIM, save_onnx

from embedder import Embedder, read_catalogue
from embedder.score_space import fit_score_space, within_scatter
from index import build_from_vectors, build_index
from index.calibration import read_calibration
from index.store import Store
from index.whitening import read_score_space


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Embedder.open(save_onnx(tmp_path_factory.mktemp("network") / "tiny.onnx"))


def fitted(path):
    with Store.open(path) as store:
        return store.info, read_calibration(store), read_score_space(store)


def test_an_index_is_fitted_as_one_of_the_same_vectors(catalogue, tiny, tmp_path):
    build_index(catalogue, tiny, tmp_path / "photos.index")
    items = [item for item, paths in catalogue.items.items() for _ in paths]
    vectors = np.stack(list(tiny.embed(catalogue.paths())))
    report = build_from_vectors(vectors, items, tmp_path / "vectors.index")
    assert report.calibrated == 144
    (one, fit, space), (two, wanted, other) = (
        fitted(tmp_path / f"{name}.index") for name in ("photos", "vectors")
    )
    assert (one.whitened, one.dim) == (two.whitened, DIM)
    assert one.temperature == pytest.approx(two.temperature)
    np.testing.assert_allclose(fit.temperatures, wanted.temperatures, rtol=1e-3)
    np.testing.assert_allclose(fit.background, wanted.background, rtol=1e-2, atol=1e-2)
    if space is not None:
        np.testing.assert_allclose(space.matrix, other.matrix, rtol=1e-3, atol=1e-3)


def test_an_update_is_fitted_as_a_new_index_also_without_what_was_kept(
    part_of_sample, tiny, tmp_path
):
    folder = part_of_sample(6, 8)
    path = tmp_path / "items.index"
    build_index(read_catalogue(folder), tiny, path)
    gone = sorted(folder.iterdir())[0]
    shutil.rmtree(gone)
    assert build_index(read_catalogue(folder), tiny, path).embedded == 0
    build_index(read_catalogue(folder), tiny, tmp_path / "new.index")
    (one, fit, _), (two, wanted, _) = map(fitted, (path, tmp_path / "new.index"))
    assert (one.whitened, one.temperature, fit) == (two.whitened, two.temperature, wanted)
    (tmp_path / "items.index.photos").unlink()
    assert build_index(read_catalogue(folder), tiny, path).embedded == 40
    assert fitted(path)[1] == wanted


def test_the_score_space_is_that_of_all_photos(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 30)
    spread = rng.normal(size=(1200, 24)) * np.where(np.arange(24) < 5, 4.0, 1.5)
    vectors = rng.normal(size=(40, 24))[labels] + spread
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    report = build_from_vectors(vectors, [f"{at:02d}" for at in labels], tmp_path / "items.index")
    assert report.whitened
    means = np.array([vectors[labels == at].mean(axis=0) for at in range(40)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    wanted = fit_score_space(*within_scatter(vectors, labels), means)
    _, _, found = fitted(tmp_path / "items.index")
    np.testing.assert_allclose(found.matrix, wanted.matrix, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.centre, wanted.centre, atol=1e-6)
