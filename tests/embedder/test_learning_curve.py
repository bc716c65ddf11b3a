"""Trainings with fewer photos and other numbers of epochs."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from embedder import Catalogue, CatalogueError, Embedder, TrainingError
from embedder.learning_curve import _amounts, _split, learning_curve, options_of
from embedder.model_files import Architecture, ModelInfo, read_model_info
from embedder.training_options import Augmentation, TrainingOptions


def test_options_of_a_model_are_those_it_was_trained_with() -> None:
    options = TrainingOptions(
        Architecture(size=64), "imagenet", epochs=3, augmentation=Augmentation(flip=True, blur=0.1)
    )
    info = ModelInfo(options.architecture, 0.1, {"options": asdict(options)})
    assert options_of(info, None) == options
    from_file = replace(options, weights="FILE.h5")
    info = ModelInfo(options.architecture, 0.1, {"options": asdict(from_file)})
    with pytest.raises(TrainingError, match=r"name FILE\.h5 with --weights"):
        options_of(info, None)
    assert options_of(info, "at/FILE.h5") == replace(options, weights="at/FILE.h5")


def test_a_model_that_does_not_say_how_it_was_trained_is_an_error(random_model: Path) -> None:
    with pytest.raises(TrainingError, match="does not say how it was trained"):
        options_of(read_model_info(random_model), None)


def test_photos_that_are_tested_are_never_learned_from() -> None:
    photos = {f"item {n}": tuple(f"{n}-{at}.jpg" for at in range(7 + 12 * n)) for n in range(6)}
    split = _split(Catalogue(Path("here"), photos), 0)
    assert list(split.test) == list(split.learn) == list(photos)
    for item, all_of in photos.items():
        assert sorted(split.test[item] + split.learn[item]) == sorted(all_of)
        assert len(split.test[item]) == min(10, len(all_of) // 5)
        assert len(split.learn[item]) >= 5
    again, other = (_split(Catalogue(Path("here"), photos), seed) for seed in (0, 1))
    assert split == again != other


@pytest.mark.parametrize(
    ("photos", "amounts"),
    [
        (7, [6]),
        (12, [5, 10]),
        (30, [5, 10, 24]),
        (100, [5, 10, 20, 50, 90]),
        (110, [5, 10, 20, 50, 100]),
        (500, [5, 10, 20, 50, 100]),
    ],
)
def test_amounts_are_steps_that_the_photos_reach(photos: int, amounts: list[int]) -> None:
    of_items = {item: (f"{item}.jpg",) * photos for item in "ab"}
    assert _amounts(_split(Catalogue(Path("here"), of_items), 0)) == amounts


def test_too_few_photos_are_an_error() -> None:
    photos = {"a": ("1.jpg",) * 7, "b": ("2.jpg",) * 6}
    with pytest.raises(CatalogueError, match="1 items with fewer, such as 'b'"):
        learning_curve(Catalogue(Path("here"), photos), TrainingOptions(), Path("nowhere"))


def test_a_curve_is_of_models_that_are_there_from_an_earlier_run(
    catalogue: Catalogue, random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings are run in tests/cli/test_evaluate.py."""
    trained: list[tuple[int, int]] = []

    def train(known: Catalogue, model: Path, options: TrainingOptions, _: object) -> None:
        trained.append((max(map(len, known.items.values())), options.epochs))
        shutil.copytree(random_model, model)

    monkeypatch.setattr("embedder.learning_curve._train", train)
    options = TrainingOptions(Architecture(size=32), epochs=4)
    seen: list[tuple[int, int]] = []
    curve = learning_curve(
        catalogue, options, tmp_path, on_progress=lambda done, total: seen.append((done, total))
    )
    # Of 12 photos an item two are tested.
    expected = [(photos, epochs) for photos in (5, 10) for epochs in (2, 4, 8)]
    assert trained == [(point.photos, point.epochs) for point in curve.points] == expected
    assert seen[0] == (0, 28) and seen[-1] == (28, 28)
    assert np.bincount(curve.item).tolist() == [2] * 12
    for point in curve.points:
        assert len(point.right) == 24 and ((point.right >= 0) & (point.right <= 1)).all()
    assert curve.points[-1].right.mean() > 0.5  # chance is a tenth
    learning_curve(catalogue, options, tmp_path)
    assert len(trained) == 6
    learning_curve(catalogue, replace(options, seed=1), tmp_path)
    assert len(trained) == 12


def test_a_photo_that_cannot_be_read_is_wrong_and_does_not_stop_the_others(
    random_embedder: Embedder, catalogue: Catalogue, tmp_path: Path
) -> None:
    from embedder.learning_curve import _tested

    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    known = {item: photos[:6] for item, photos in catalogue.items.items()}
    test = {item: photos[6:8] for item, photos in catalogue.items.items()}
    whole = _tested(random_embedder, known, test, None)
    first = next(iter(test))
    bad = str(tmp_path / "bad.jpg")
    tested = _tested(random_embedder, known, test | {first: (bad, test[first][1])}, None)
    assert np.isnan(tested[0])
    np.testing.assert_array_equal(tested[1:], whole[1:])
    known[first] = (bad, *known[first])
    np.testing.assert_array_equal(_tested(random_embedder, known, test, None), whole)
