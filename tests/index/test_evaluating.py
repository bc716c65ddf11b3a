"""`evaluate` against scikit-learn, the matcher itself, and naive re-computation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from embedder import Catalogue, CatalogueError, Embedder, read_catalogue
from embedder.validation import candidate_accuracy, hold_out
from index import (
    Evaluation,
    Matcher,
    add_item,
    build_index,
    calibrate_index,
    evaluate,
    remove_items,
)
from index.calibrating import background, fit_calibration
from index.calibration import write_calibration
from index.confidences import _draw, _said
from index.kept_photos import kept_beside
from index.photo_vectors import photo_vectors
from index.questions import Questions, questions
from index.store import Store
from index.store_writing import WritableStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """A catalogue with two thirds of the photos, the others beside it."""
    folder = tmp_path_factory.mktemp("evaluated")
    for item, photos in catalogue.items.items():
        for at, photo in enumerate(photos):
            target = folder / ("others" if at % 3 == 2 else "catalogue") / item
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(photo, target)
    return folder


@pytest.fixture(scope="module")
def index(folder: Path, trained_model: Path) -> Path:
    path = folder / "items.index"
    build_index(read_catalogue(folder / "catalogue"), Embedder.open(trained_model), path)
    return path


def evaluated(photos: Path | Catalogue, model: Path, index: Path) -> Evaluation:
    catalogue = photos if isinstance(photos, Catalogue) else read_catalogue(photos)
    with Store.open(index) as store:
        return evaluate(catalogue, Embedder.open(model), store)


def asked_of(photos: Path, model: Path, index: Path) -> Questions:
    embedder = Embedder.open(model)
    with Store.open(index) as store:
        found = photo_vectors(read_catalogue(photos), embedder, store)
        return questions(found, store, embedder.held_out())[0]


def test_recall_and_map_at_r_are_those_of_scikit_learn(
    folder: Path, index: Path, trained_model: Path
) -> None:
    found = evaluated(folder / "others", trained_model, index)
    embedder, others = Embedder.open(trained_model), read_catalogue(folder / "others")
    vectors = np.stack(list(embedder.embed(others.paths())))
    ids = list(others.items)
    truth = np.repeat(np.arange(len(ids)), [len(photos) for photos in others.items.values()])
    with Store.open(index) as store:
        assert not store.info.whitened
        scores = vectors @ store.centroids(ids)[0].T
    for k, figure in found.recall.items():
        expected = top_k_accuracy_score(truth, scores, k=k, labels=np.arange(len(ids)))
        assert figure.value == pytest.approx(expected)
    precisions = []
    for query in range(len(vectors)):
        rest = np.delete(np.arange(len(vectors)), query)
        right, near = truth[rest] == truth[query], vectors[rest] @ vectors[query]
        first = np.argsort(-near)[: right.sum()]
        share = right[first].sum() / right.sum()
        precisions.append(share and share * average_precision_score(right[first], near[first]))
    assert found.mean_average_precision.value == pytest.approx(np.mean(precisions))
    assert found.kinds == (len(vectors), 0, 0, 0, 0, len(vectors), False)
    assert 0 < found.recall[1].value < 1  # otherwise this says nothing


def test_photos_of_the_index_are_asked_if_training_held_them_out_and_as_if_not_in_it(
    sample: Path, catalogue: Catalogue, trained_model: Path, tmp_path: Path
) -> None:
    index, embedder = tmp_path / "items.index", Embedder.open(trained_model)
    build_index(catalogue, embedder, index)
    asked = asked_of(sample / "catalogue", trained_model, index)
    paths = list(catalogue.paths())
    labels = np.repeat(np.arange(len(catalogue.items)), [len(p) for p in catalogue.items.values()])
    held = hold_out(labels.astype(np.int64), 0)
    assert set(asked.photos) == {path for path, out in zip(paths, held, strict=True) if out}
    vectors = np.stack(list(embedder.embed(paths)))
    for photo, vector, own in zip(asked.photos, asked.vectors, asked.own, strict=True):
        at = paths.index(photo)
        rest = (labels == labels[at]) & (np.arange(len(paths)) != at)
        centroid = vectors[rest].mean(axis=0)
        assert own == pytest.approx(vector @ centroid / np.linalg.norm(centroid), abs=1e-4)


def assert_said_as_by_the_matcher(asked: Questions, index: Path, model: Path) -> None:
    rng = np.random.default_rng(0)
    with Matcher.open(index, model) as matcher:
        calibration = matcher._fitted[0]
        for mixed in (False, True) * 3:
            photos, candidates = _draw(asked, 6, mixed, rng)
            confidence, right, known, likeness, sure = _said(asked, photos, candidates, calibration)
            ids = [asked.ids[at] for at in candidates]
            matches = matcher.match_vectors(asked.given[photos], ids)
            truth = [asked.ids[at] if asked.ids[at] in ids else None for at in asked.item[photos]]
            assert [match.confidence for match in matches] == pytest.approx(confidence.tolist())
            assert [m.item_id == t for m, t in zip(matches, truth, strict=True)] == right.tolist()
            assert [one is not None for one in truth] == known.tolist()
            assert [1 - (m.none or 0) for m in matches] == pytest.approx(likeness.tolist())
            assert [match.status == "matched" for match in matches] == sure.tolist()
            assert known.sum() == (3 if mixed else 6)


def test_what_is_said_of_new_photos_is_what_the_matcher_says(
    folder: Path, index: Path, trained_model: Path
) -> None:
    asked = asked_of(folder / "others", trained_model, index)
    assert_said_as_by_the_matcher(asked, index, trained_model)


def test_what_is_said_is_the_same_of_an_index_that_was_changed_by_hand(
    folder: Path, index: Path, trained_model: Path, tmp_path: Path
) -> None:
    """Its background is still that of the build, as in a match."""
    copy = Path(shutil.copy(index, tmp_path / "items.index"))
    shutil.copy(kept_beside(index), tmp_path)
    embedder, others = Embedder.open(trained_model), read_catalogue(folder / "others")
    for number, photos in enumerate(list(others.items.values())[:3]):
        add_item(copy, embedder, f"new {number}", photos)
    asked = asked_of(folder / "others", trained_model, copy)
    assert asked.behind.sum() == 12 and len(asked.ids) == 15
    assert_said_as_by_the_matcher(asked, copy, trained_model)
    remove_items(copy, [next(iter(others.items))])
    assert asked_of(folder / "others", trained_model, copy).behind.sum() == 11


def test_accuracy_of_drawn_sets_is_the_exact_one_but_for_chance(
    folder: Path, index: Path, trained_model: Path
) -> None:
    found = evaluated(folder / "others", trained_model, index)
    asked = asked_of(folder / "others", trained_model, index)
    scores = asked.vectors @ asked.centroids.T
    rivals = (scores > asked.own[:, None] + 1e-6).sum(axis=1)
    for of in found.sets:
        exact = candidate_accuracy(rivals, len(asked.ids), of.candidates)
        assert of.independent.value == pytest.approx(exact, abs=0.03)
        assert of.independent.low <= exact <= of.independent.high
        assert of.photos == of.candidates
    assert [of.candidates for of in found.sets] == [2, 5, 10]  # of 12 items


def test_errors_of_items_and_pairs_are_counted(
    folder: Path, index: Path, trained_model: Path
) -> None:
    found = evaluated(folder / "others", trained_model, index)
    wrong = round((1 - found.recall[1].value) * found.kinds.asked)
    assert wrong > 0
    assert sum(pair.photos for pair in found.confusions) == wrong
    assert sum(round((1 - i.recall_at_1) * i.photos) for i in found.by_item) == wrong
    for pair in found.confusions:
        assert pair.item_id != pair.taken_for
        assert Path(pair.photo).parent.name == pair.item_id
    rates = [item.candidate_accuracy for item in found.by_item]
    assert rates == sorted(rates)
    assert len(found.by_item) == found.items == 12


def test_confidences_of_given_photos_are_those_of_the_index(
    folder: Path, index: Path, trained_model: Path, tmp_path: Path
) -> None:
    """Fitted to the very photos that are asked, once without our knowing and once by hand."""
    copy = shutil.copy(index, tmp_path / "items.index")
    others, embedder = read_catalogue(folder / "others"), Embedder.open(trained_model)
    before = evaluated(others, trained_model, copy)
    calibrate_index(copy, embedder, others)
    after = evaluated(others, trained_model, copy)
    assert after.sets[-1].calibration_error != before.sets[-1].calibration_error
    assert after.recall == before.recall


def test_photos_of_other_items_and_bad_ones_are_counted_and_left_out(
    folder: Path, index: Path, trained_model: Path, tmp_path: Path
) -> None:
    before = evaluated(folder / "others", trained_model, index)
    shutil.copytree(folder / "others", tmp_path / "photos")
    first = next((tmp_path / "photos").iterdir())
    shutil.copytree(first, tmp_path / "photos" / "another")
    (first / "bad.jpg").write_bytes(b"no photo")
    after = evaluated(tmp_path / "photos", trained_model, index)
    assert after.kinds == before.kinds._replace(other_items=4)
    assert [Path(error.photo).name for error in after.unreadable] == ["bad.jpg"]
    assert replace(after, kinds=before.kinds, unreadable=(), confusions=()) == replace(
        before, confusions=()
    )


def test_a_model_without_held_out_photos_is_flattered_and_that_is_said(
    folder: Path, random_model: Path, random_embedder: Embedder, tmp_path: Path
) -> None:
    index = tmp_path / "items.index"
    build_index(read_catalogue(folder / "catalogue"), random_embedder, index)
    found = evaluated(folder / "catalogue", random_model, index)
    assert found.kinds == (0, 0, 96, 0, 0, 96, True)


def test_nothing_to_ask_is_an_error(
    folder: Path, index: Path, trained_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(next((folder / "others").iterdir()), tmp_path / "photos" / "another")
    with pytest.raises(CatalogueError, match="found 4 photos, 0 of them of such items"):
        evaluated(tmp_path / "photos", trained_model, index)


def test_an_evaluation_changes_nothing_and_comes_out_the_same(
    folder: Path, index: Path, trained_model: Path, everything: Callable[[Path], object]
) -> None:
    before = index.read_bytes()
    assert evaluated(folder / "others", trained_model, index) == evaluated(
        folder / "others", trained_model, index
    )
    assert index.read_bytes() == before


def test_one_item_has_no_sets(
    catalogue: Catalogue, random_model: Path, random_embedder: Embedder, tmp_path: Path
) -> None:
    item, photos = next(iter(catalogue.items.items()))
    one = Catalogue(catalogue.source, {item: photos})
    build_index(one, random_embedder, tmp_path / "items.index")
    found = evaluated(one, random_model, tmp_path / "items.index")
    assert found.sets == () and found.confusions == ()
    assert found.recall[1].value == 1


def test_photos_of_an_item_added_by_hand_are_left_out_with_a_count(
    folder: Path, index: Path, trained_model: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(index, tmp_path / "items.index")
    shutil.copy(kept_beside(index), tmp_path)
    others = read_catalogue(folder / "others")
    item, photos = next(iter(others.items.items()))
    before = evaluated(others, trained_model, copy)
    add_item(copy, Embedder.open(trained_model), item, photos, replace=True)
    after = evaluated(others, trained_model, copy)
    assert after.kinds == before.kinds._replace(new=44, by_hand=4, asked=44)
    assert item not in {one.item_id for one in after.by_item}


def test_a_catalogue_that_was_moved_is_not_taken_for_new_photos(
    sample: Path, catalogue: Catalogue, trained_model: Path, tmp_path: Path
) -> None:
    """Not even where nothing is left of what the build kept."""
    index = tmp_path / "items.index"
    build_index(catalogue, Embedder.open(trained_model), index)
    shutil.copytree(sample / "catalogue", tmp_path / "moved")
    known = evaluated(tmp_path / "moved", trained_model, index)
    kept_beside(index).unlink()
    assert evaluated(tmp_path / "moved", trained_model, index).kinds == known.kinds
    assert known.kinds.new == 0 and known.kinds.held_out == 12


def test_sets_where_half_is_unknown_are_as_large_as_they_say(
    folder: Path, index: Path, trained_model: Path
) -> None:
    asked = asked_of(folder / "others", trained_model, index)
    rng = np.random.default_rng(0)
    for size, known, unknown in [(2, 1, 1), (5, 2, 2), (10, 5, 2), (12, 6, 0)]:
        for _ in range(20):
            photos, candidates = _draw(asked, size, True, rng)
            assert len(candidates) == len(set(candidates.tolist())) == size
            shown = np.isin(asked.item[photos], candidates)
            assert (shown.sum(), (~shown).sum()) == (known, unknown)
            assert len(set(asked.item[photos].tolist())) == len(photos)


def test_confidences_that_cannot_be_measured_are_no_numbers(
    sample: Path, catalogue: Catalogue, trained_model: Path, tmp_path: Path
) -> None:
    """Twelve photos held out: too few to calibrate to, and none is called unknown."""
    index = tmp_path / "items.index"
    build_index(catalogue, Embedder.open(trained_model), index)
    found = evaluated(catalogue, trained_model, index)
    assert found.calibrated == "not"
    assert all(np.isnan(of.unknown_auroc.value) for of in found.sets)
    assert not any(np.isnan(of.one_to_one.value) for of in found.sets)
    # Calibrated to the very photos that are asked, with too few in each half to do it anew.
    held = Embedder.open(trained_model).held_out()
    assert held is not None
    with WritableStore.open(index) as store:
        others = background(store)
        calibration = fit_calibration(
            np.random.default_rng(0).random((24, 12)), np.arange(24) % 12, np.ones(12, bool)
        )
        write_calibration(store, calibration, others)
        store.commit()
    found = evaluated(catalogue, trained_model, index)
    assert found.calibrated == "held out"
    assert all(np.isnan(of.calibration_error.value) for of in found.sets)
    assert found.reliability == ()
