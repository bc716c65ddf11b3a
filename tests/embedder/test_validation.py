"""Tests of what training is judged by, against counting every case."""

from itertools import combinations

import numpy as np
import pytest

from embedder.validation import (
    CANDIDATES,
    DEFAULT_TEMPERATURE,
    Judgement,
    candidate_accuracy,
    centroids,
    fit_temperature,
    gallery_and_queries,
    hold_out,
    judge,
    judge_spaces,
    rivals,
)

RNG = np.random.default_rng


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def share_right(scores: np.ndarray, truth: np.ndarray, candidates: int) -> float:
    """By trying every set of candidates; a tie counts as wrong."""
    right, tried = 0.0, 0
    for row, item in zip(scores, truth, strict=True):
        others = [score for other, score in enumerate(row) if other != item]
        sets = list(combinations(others, min(candidates, len(row)) - 1))
        right += sum(all(score < row[item] for score in each) for each in sets) / len(sets)
        tried += 1
    return right / tried


@pytest.mark.parametrize("items", [1, 2, 5, 9])
@pytest.mark.parametrize("candidates", [1, 2, 4, 10])
def test_candidate_accuracy_is_the_share_over_all_candidate_sets(items: int, candidates: int):
    rng = RNG(items * 100 + candidates)
    centres = np.eye(items, dtype=np.float32)
    scores = rng.integers(0, 6, (12, items)).astype(np.float32)  # coarse, so that there are ties
    truth = rng.integers(0, items, 12)
    counts = rivals(scores, truth, centres)
    found = candidate_accuracy(counts, items, candidates)
    assert found == pytest.approx(share_right(scores, truth, candidates), abs=1e-12)


def test_candidate_accuracy_of_no_photo_is_not_a_number():
    assert np.isnan(candidate_accuracy(np.zeros(0, np.int64), 5))


@pytest.mark.parametrize("photos", [0, 3, 1024, 1500])
def test_rivals_are_the_others_that_score_as_high(photos: int):
    rng = RNG(photos)
    vectors = rng.integers(-2, 3, (photos, 3)).astype(np.float32)
    centres = rng.integers(-2, 3, (7, 3)).astype(np.float32)
    truth = rng.integers(0, 7, photos)
    expected = [
        sum(
            vector @ centres[other] >= vector @ centres[item] for other in range(7) if other != item
        )
        for vector, item in zip(vectors, truth, strict=True)
    ]
    counts = rivals(vectors, truth, centres)
    assert counts.dtype == np.int64
    assert counts.tolist() == expected


def test_an_item_with_the_same_centre_is_a_rival():
    centres = unit(np.array([[1.0, 0], [1, 0], [0, 1]]))
    assert rivals(centres, np.arange(3), centres).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("photos", "held"), [(1, 0), (3, 0), (4, 1), (9, 1), (10, 1), (17, 2), (20, 2), (100, 10)]
)
def test_a_tenth_of_each_item_is_held_out(photos: int, held: int):
    labels = RNG(0).permutation(np.repeat(np.arange(6), photos))
    out = hold_out(labels, 1)
    assert out.dtype == bool
    assert np.bincount(labels[out], minlength=6).tolist() == [held] * 6


def test_the_seed_decides_what_is_held_out():
    labels = np.repeat(np.arange(30), 20)
    np.testing.assert_array_equal(hold_out(labels, 5), hold_out(labels, 5))
    assert (hold_out(labels, 5) != hold_out(labels, 6)).any()


def test_gallery_is_the_first_few_photos_that_are_not_held_out():
    labels = np.array([1] * 12 + [0] * 3)
    held = np.zeros(15, bool)
    held[[0, 5]] = True
    gallery, queries = gallery_and_queries(labels, held)
    assert gallery.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 12, 13, 14]
    assert queries.tolist() == [0, 5]


def test_a_large_catalogue_is_judged_by_some_items_that_have_photos_held_out():
    labels = RNG(0).permutation(np.repeat(np.arange(3000), 10))
    held = hold_out(labels, 0) & (labels % 3 == 0)
    gallery, queries = gallery_and_queries(labels, held)
    judged = set(labels[gallery].tolist())
    assert len(judged) == 500 and all(item % 3 == 0 for item in judged)
    assert held[queries].all() and not held[gallery].any()
    assert set(labels[queries].tolist()) == judged
    assert np.bincount(labels[gallery]).max() == 8


def test_the_one_item_with_a_photo_held_out_is_judged_among_others():
    labels = np.array([*np.repeat(np.arange(1001), 3), 1])
    held = hold_out(labels, 0)
    assert held.sum() == 1
    gallery, queries = gallery_and_queries(labels, held)
    assert labels[queries].tolist() == [1]
    assert len(set(labels[gallery].tolist())) == 500 and 1 in labels[gallery]


def test_of_many_photos_held_out_two_thousand_are_asked():
    labels = np.repeat(np.arange(300), 100)
    held = hold_out(labels, 0)
    _, queries = gallery_and_queries(labels, held)
    assert len(queries) == 2000 and held[queries].all()
    assert len(set(labels[queries].tolist())) == 300


def test_queries_are_the_gallery_where_nothing_is_held_out():
    gallery, queries = gallery_and_queries(np.repeat(np.arange(4), 3), np.zeros(12, bool))
    assert gallery.tolist() == queries.tolist() == list(range(12))


def test_centroids_are_unit_norm_means():
    rng = RNG(2)
    vectors = unit(rng.normal(size=(40, 8)))
    labels = rng.permutation(np.arange(40) % 5)
    expected = [unit(vectors[labels == item].astype(np.float64).mean(axis=0)) for item in range(5)]
    found = centroids(vectors, labels, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_centroids_without_a_direction_are_zero():
    opposite = np.array([[1.0, 0], [-1, 0]], np.float32)
    assert centroids(opposite, np.array([0, 0]), 2).tolist() == [[0, 0], [0, 0]]


def problem(noise: float, items: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = RNG(3)
    centres = unit(rng.normal(size=(items, 16)))
    truth = np.arange(200) % items
    return unit(centres[truth] + noise * rng.normal(size=(200, 16))), truth, centres


def test_temperature_rises_with_the_noise():
    fitted = [fit_temperature(*problem(noise), seed=0)[0] for noise in (0.01, 0.3, 1.0, 30.0)]
    assert fitted == sorted(fitted)
    assert fitted[0] == pytest.approx(0.005)
    assert fitted[1] < fitted[2] / 1.5
    assert fitted[3] == pytest.approx(1.0)


@pytest.mark.parametrize(("items", "slack"), [(2, 1.001), (CANDIDATES, 1.05)])
def test_temperature_has_nearly_the_least_log_loss(items: int, slack: float):
    vectors, truth, centres = problem(0.6, items)  # all items are candidates
    scores = vectors.astype(np.float64) @ centres.T

    def loss(temperature: float) -> float:
        shares = np.exp(scores / temperature)
        return -np.log(shares[np.arange(200), truth] / shares.sum(axis=1)).mean()

    least = min(map(loss, np.geomspace(0.005, 1, 300)))
    temperature, found = fit_temperature(vectors, truth, centres, 0)
    assert loss(temperature) < least * slack
    if items == 2:  # every draw is of the same two
        assert found == pytest.approx(loss(temperature), rel=1e-4)


def test_temperature_is_the_same_for_the_same_seed():
    first, again = (fit_temperature(*problem(0.6), seed=4) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(("photos", "items"), [(0, 5), (3, 1)])
def test_temperature_without_anything_to_fit_it_to(photos: int, items: int):
    vectors, centres = np.ones((photos, 2), np.float32), np.ones((items, 2), np.float32)
    truth = np.zeros(photos, np.int64)
    temperature, loss = fit_temperature(vectors, truth, centres, 0)
    assert temperature == DEFAULT_TEMPERATURE
    assert np.isnan(loss)


def test_a_judgement_is_the_three_figures_and_the_temperature():
    vectors, truth, centres = problem(1.0)
    found = judge(vectors, truth, centres, 0)
    scores = vectors @ centres.T
    assert found.candidate_accuracy == pytest.approx(
        candidate_accuracy(rivals(vectors, truth, centres), 20)
    )
    assert found.top1 == pytest.approx((scores.argmax(axis=1) == truth).mean())
    assert (found.temperature, found.log_loss) == fit_temperature(vectors, truth, centres, 0)


def test_candidate_accuracy_comes_before_top1_and_that_before_the_log_loss():
    order = [(0.5, 0.9, 0.1), (0.8, 0.1, 0.1), (0.8, 0.2, 3.0), (0.8, 0.2, 2.0), (0.9, 0.0, 9.0)]
    judged = [Judgement(accuracy, top1, 0.1, loss) for accuracy, top1, loss in order]
    for low, high in combinations(judged, 2):
        assert high.better_than(low)
        assert not low.better_than(high)
    assert not judged[0].better_than(judged[0])


def test_spaces_are_judged_by_photos_that_were_not_fitted_on():
    rng = RNG(0)
    centres = rng.normal(size=(40, 8))
    labels = np.repeat(np.arange(40), 12)
    vectors = centres[labels] + rng.normal(size=(480, 8)) * np.array([2.0] * 2 + [0.3] * 6)
    vectors, held = unit(vectors), np.tile(np.arange(12) < 4, 40)
    plain, whitened = judge_spaces(
        vectors[~held], labels[~held], vectors[held], labels[held], 40, seed=0
    )
    assert plain == judge(
        vectors[held], labels[held], centroids(vectors[~held], labels[~held], 40), 0
    )
    assert whitened is not None
    assert whitened.better_than(plain)
    assert whitened.top1 > plain.top1 + 0.05


def test_too_few_photos_to_whiten():
    vectors, truth, _ = problem(0.3)
    plain, whitened = judge_spaces(vectors[:50], truth[:50], vectors[50:], truth[50:], 20, seed=0)
    assert whitened is None
    assert plain.top1 > 0
