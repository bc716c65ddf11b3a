"""The figures of an evaluation, against scikit-learn and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from index.measures import (
    BINS,
    auroc,
    auroc_figure,
    average_precisions_at_r,
    calibration_figure,
    expected_calibration_error,
    mean_figure,
    resampled,
    share_figure,
)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
@settings(max_examples=60)
def test_auroc_is_that_of_scikit_learn(seed, count):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 8, count) / 8  # with ties
    positive = rng.random(count) < 0.5
    positive[:2] = True, False
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_the_interval_of_an_auroc_is_that_of_a_bootstrap_with_scikit_learn():
    rng = np.random.default_rng(0)
    item, positive = rng.integers(0, 9, 80), rng.random(80) < 0.5
    score = np.round(positive + rng.standard_normal(80), 1)
    weights = resampled(9)
    areas = [roc_auc_score(positive, score, sample_weight=row[item] + 1e-12) for row in weights]
    figure = auroc_figure(score, positive, item, weights)
    assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])))
    assert figure.value == pytest.approx(roc_auc_score(positive, score))


def test_auroc_of_one_kind_is_not_a_number():
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([True, True])))
    figure = auroc_figure(np.zeros(2), np.ones(2, bool), np.zeros(2, np.int64), resampled(1))
    assert np.isnan(figure.value)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
@settings(max_examples=60)
def test_mean_average_precision_at_r_is_that_of_scikit_learn(seed, photos, items):
    rng = np.random.default_rng(seed)
    item = rng.integers(0, items, photos)
    vectors = rng.standard_normal((photos, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found, queries = average_precisions_at_r(vectors, item)
    expected = {}
    for query in range(photos):
        others = np.delete(np.arange(photos), query)
        right = item[others] == item[query]
        count = int(right.sum())
        if count == 0:
            continue
        scores = vectors[others] @ vectors[query]
        first = np.argsort(-scores)[:count]
        # Its average precision is over the relevant ones among those it is given.
        inside = right[first]
        mean = average_precision_score(inside, scores[first]) if inside.any() else 0.0
        expected[query] = mean * inside.sum() / count
    assert dict(zip(queries.tolist(), found.tolist(), strict=True)) == pytest.approx(expected)


def test_calibration_error_is_the_naive_one():
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    confidence[:2] = 0.0, 1.0
    right = rng.random(500) < confidence**2
    expected = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if low <= c < high or (number == BINS - 1 and c == 1)
        ]
        if inside:
            gap = np.mean([c for c, _ in inside]) - np.mean([r for _, r in inside])
            expected += abs(gap) * len(inside) / 500
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Items are right by themselves: an interval over photos would be far too narrow."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        chance = rng.beta(2, 1, 60)  # of each item, with the mean 2/3
        item = np.repeat(np.arange(60), 10)
        right = rng.random(600) < chance[item]
        figure = mean_figure(right, item, resampled(60))
        assert figure.value == right.mean()
        covered += figure.low <= 2 / 3 <= figure.high
    assert 180 <= covered <= 199


def test_the_interval_of_a_mean_is_that_of_a_naive_bootstrap():
    rng = np.random.default_rng(1)
    item = rng.integers(0, 12, 100)
    right = (rng.random(100) < 0.7).astype(float)
    weights = resampled(12)
    means = []
    for row in weights:
        values = [right[item == at] for at in range(12) for _ in range(int(row[at]))]
        means.append(np.concatenate(values).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    figure = mean_figure(right, item, weights)
    assert (figure.low, figure.high) == pytest.approx((low, high))


def test_the_interval_of_a_calibration_error_holds_the_error_without_chance():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        item = np.repeat(np.arange(100), 5)
        confidence = rng.random(500)
        right = rng.random(500) < np.clip(confidence - 0.1, 0, 1)  # too sure by 0.1
        figure = calibration_figure(confidence, right, item, resampled(100))
        assert figure.low <= figure.value <= figure.high
        covered += figure.low <= 0.095 <= figure.high  # the clip takes a twentieth off
    assert covered >= 80


@pytest.mark.parametrize("items", [1, 12, 40])
def test_where_all_are_right_the_interval_is_that_of_clopper_and_pearson(items):
    item = np.repeat(np.arange(items), 3)
    expected = binomtest(items, items).proportion_ci(0.95, "exact")
    figure = share_figure(np.ones(3 * items, bool), item, resampled(items))
    assert tuple(figure) == pytest.approx((1.0, expected.low, 1.0))
    expected = binomtest(0, items).proportion_ci(0.95, "exact")
    figure = share_figure(np.zeros(3 * items, bool), item, resampled(items))
    assert tuple(figure) == pytest.approx((0.0, 0.0, expected.high))


def test_figures_of_nothing_are_no_numbers():
    nothing = np.zeros(0)
    figure = mean_figure(nothing, np.zeros(0, np.int64), resampled(3))
    assert all(np.isnan(figure))
    assert all(np.isnan(share_figure(nothing > 0, np.zeros(0, np.int64), resampled(3))))
    found, queries = average_precisions_at_r(np.eye(3), np.arange(3))
    assert len(found) == len(queries) == 0
