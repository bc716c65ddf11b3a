"""Tests of an index that is calibrated with photos somebody gave, and then brought up to date."""

import json
import shutil
import sqlite3
from hashlib import sha256

import numpy as np
import pytest

from embedder import CatalogueError, Embedder, IndexFileError, ModelError, read_catalogue
from embedder.labelled_vectors import LabelledVectors
from embedder.model_files import HELD_OUT
from index import Matcher, build_index, calibrate_index
from index.calibration import read_background, read_calibration
from index.schema import seal
from index.store import Store


@pytest.fixture
def folder(part_of_sample):
    """A catalogue of six items with six photos each."""
    return part_of_sample(items=6, photos=6)


@pytest.fixture
def checked(sample, tmp_path):
    """Six other photos of each of the six items."""
    root = tmp_path / "checked"
    for item in sorted((sample / "catalogue").iterdir())[:6]:
        (root / item.name).mkdir(parents=True)
        for photo in sorted(item.iterdir())[6:]:
            shutil.copy2(photo, root / item.name)
    return root


@pytest.fixture
def build(folder, random_embedder, index):
    def run(**options):
        return build_index(read_catalogue(folder), random_embedder, index, **options)

    run()
    return run


def calibrated(index, embedder, folder, **options):
    return calibrate_index(index, embedder, read_catalogue(folder), **options)


def kept(index):
    with Store.open(index) as store:
        return read_calibration(store)


def test_the_photos_are_what_it_is_fitted_to(build, index, random_embedder, checked):
    assert kept(index) is None
    seen = []
    report = calibrated(
        index, random_embedder, checked, on_progress=lambda *done: seen.append(done)
    )
    assert (report.photos, report.items) == (36, 6)
    assert (report.unreadable, report.not_in_index) == ((), ())
    assert seen == [(done, 36) for done in range(1, 37)]
    found = kept(index)
    assert (found.photos, found.given, found.sizes) == (36, True, (2,))
    with Store.open(index) as store:
        assert read_background(store).without(()).shape == (6, store.info.dim)


def test_confidences_change_with_it(build, index, random_embedder, checked):
    # Of three of the six items: the others are the background.
    photos = [min(item.iterdir()) for item in sorted(checked.iterdir())[:3]]
    found = []
    for _ in range(2):
        with Matcher.open(index) as matcher:
            matcher.embedder = random_embedder
            found.append(matcher.match(photos, [photo.parent.name for photo in photos]))
        calibrated(index, random_embedder, checked)
    before, after = found
    assert [match.confidence for match in before] != [match.confidence for match in after]
    assert max(match.none for match in before) < 1e-9
    assert min(match.none for match in after) > 1e-9


def test_the_same_photos_give_the_same(build, index, random_embedder, checked):
    calibrated(index, random_embedder, checked)
    first = kept(index)
    calibrated(index, random_embedder, checked, jobs=1)
    assert kept(index) == first


def test_it_is_kept_when_the_index_is_brought_up_to_date(
    build, folder, index, random_embedder, checked
):
    calibrated(index, random_embedder, checked)
    expected = kept(index)
    assert build().embedded == 0
    assert kept(index) == expected
    first = min(folder.iterdir())
    (first / "0001.jpg").unlink()
    shutil.rmtree(max(folder.iterdir()))
    assert build().photos == 29
    assert kept(index) == expected
    with Store.open(index) as store:
        centroid, _ = store.centroids([first.name])
        behind = read_background(store).without(())
    assert len(behind) == 5
    np.testing.assert_array_equal(behind[:1], centroid)  # what is behind is brought up to date


def test_it_is_kept_by_a_build_that_was_interrupted_before_it(
    build, folder, index, random_embedder, checked, monkeypatch
):
    monkeypatch.setattr("index.building._SECONDS_BETWEEN_COMMITS", 0.0)

    def stop(done, total):
        raise KeyboardInterrupt

    (min(folder.iterdir()) / "0001.jpg").unlink()
    with pytest.raises(KeyboardInterrupt):
        build(on_progress=stop)
    calibrated(index, random_embedder, checked)
    expected = kept(index)
    build()
    assert kept(index) == expected


def test_an_index_of_another_model_starts_anew(
    build, folder, index, random_embedder, checked, save_random_model
):
    calibrated(index, random_embedder, checked)
    other = Embedder.open(save_random_model(random_embedder.info, 7))
    build_index(read_catalogue(folder), other, index)
    assert kept(index) is None


def test_a_model_other_than_that_of_the_index_is_refused(
    build, index, random_embedder, checked, save_random_model
):
    other = Embedder.open(save_random_model(random_embedder.info, 7))
    with pytest.raises(ModelError, match="another model"):
        calibrated(index, other, checked)
    assert kept(index) is None


def test_a_damaged_calibration_is_mended_by_the_next_build(build, index, random_embedder, checked):
    calibrated(index, random_embedder, checked)
    connection = sqlite3.connect(index)
    connection.execute("UPDATE meta SET value = 'x' WHERE key IN ('calibration', 'background')")
    seal(connection)
    connection.commit()
    connection.close()
    with pytest.raises(IndexFileError, match="calibration is damaged"):
        kept(index)
    build()
    assert kept(index) is None
    calibrated(index, random_embedder, checked)
    assert kept(index).given


def test_what_cannot_be_read_or_is_not_in_the_index_is_reported(
    build, index, random_embedder, checked
):
    bad = checked / min(checked.iterdir()).name / "bad.jpg"
    bad.write_bytes(b"<html>")
    shutil.copytree(min(checked.iterdir()), checked / "sku-new")
    report = calibrated(index, random_embedder, checked)
    assert (report.photos, report.items) == (36, 6)
    assert [error.photo for error in report.unreadable] == [str(bad)]
    assert report.not_in_index == ("sku-new",)


def test_too_few_photos_change_nothing(build, index, random_embedder, checked):
    calibrated(index, random_embedder, checked)
    expected = kept(index)
    for item in checked.iterdir():
        for photo in sorted(item.iterdir())[3:]:
            photo.unlink()
    with pytest.raises(CatalogueError, match=r"20 or more readable photos.*found 18 photos and 6"):
        calibrated(index, random_embedder, checked)
    assert kept(index) == expected


def test_photos_of_other_items_only(build, index, random_embedder, sample, tmp_path):
    for item in sorted((sample / "catalogue").iterdir())[6:]:
        shutil.copytree(item, tmp_path / "others" / item.name)
    with pytest.raises(CatalogueError, match="found 0 photos and 6 items"):
        calibrated(index, random_embedder, tmp_path / "others")


def test_an_index_that_is_not_there(index, random_embedder, checked):
    with pytest.raises(IndexFileError, match="expected an index file, found none"):
        calibrated(index, random_embedder, checked)
    with pytest.raises(IndexFileError):
        calibrated(index.parent / "no" / "items.index", random_embedder, checked)


def test_photos_held_out_of_training_calibrate_a_new_index(
    index, folder, random_model, checked, tmp_path
):
    """As a model does that has them: `tests/embedder` says which training holds out."""
    model = shutil.copytree(random_model, tmp_path / "with.model")
    plain = Embedder.open(model)
    photos = [photo for item in sorted(folder.iterdir()) for photo in sorted(item.iterdir())]
    vectors = np.array(list(plain.embed(photos)))
    held_out = LabelledVectors(vectors, tuple(photo.parent.name for photo in photos)).to_bytes()
    (model / HELD_OUT).write_bytes(held_out)
    info = json.loads((model / "model.json").read_text())
    info["sha256"][HELD_OUT] = sha256(held_out).hexdigest()
    (model / "model.json").write_text(json.dumps(info))
    build_index(read_catalogue(folder), Embedder.open(model), index)
    found = kept(index)
    assert (found.photos, found.given) == (36, False)
    # What somebody gave is better, and is not replaced by what was held out.
    calibrated(index, plain, checked)
    given = kept(index)
    build_index(read_catalogue(folder), Embedder.open(model), index)
    assert kept(index) == given
