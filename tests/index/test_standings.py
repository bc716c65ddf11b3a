"""How photos stand to items, against naive loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scattered import photos_of

from embedder.score_space import unit
from index.standings import standings, whitened


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(0, 30), st.integers(1, 9))
@settings(max_examples=50)
def test_each_photo_is_compared_with_its_item_as_if_it_were_not_in_it(seed, items, photos, rivals):
    vectors, labels = photos_of(seed, items, photos)
    counted = np.random.default_rng(seed).random(len(labels)) < 0.8
    found = standings(vectors, labels, counted, rivals)
    for at, vector in enumerate(vectors):
        own = [
            other
            for other in range(len(vectors))
            if labels[other] == labels[at] and counted[other] and other != at
        ]
        expected = vector @ unit(vectors[own].sum(axis=0)) if own else -1.0
        assert found.own[at] == pytest.approx(expected, abs=1e-4)
        scores = {
            item: float(vector @ unit(vectors[(labels == item) & counted].sum(axis=0)))
            for item in range(items)
            if item != labels[at]
        }
        nearest = sorted(scores.values(), reverse=True)[:rivals]
        assert found.scores[at].tolist() == pytest.approx(nearest, abs=1e-4)
        assert [scores[item] for item in found.rivals[at].tolist()] == pytest.approx(
            nearest, abs=1e-4
        )


def test_parts_say_the_same_as_all_at_once(monkeypatch):
    vectors, labels = photos_of(3, 5, 40)
    counted = np.ones(len(labels), bool)
    whole = standings(vectors, labels, counted, 3)
    monkeypatch.setattr("index.standings._MOST_SCORES", 20)
    for one, other in zip(whole, standings(vectors, labels, counted, 3), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_whitened_photos_are_nearest_to_their_item_though_light_differs_more_than_items():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 30)
    vectors = rng.normal(size=(40, 8))[labels] + 0.3 * rng.normal(size=(1200, 8))
    vectors[:, 0] += 8 * rng.normal(size=1200)
    vectors = unit(vectors).astype(np.float32)

    def right(rows):
        found = standings(rows, labels, np.ones(1200, bool), 1)
        return (found.own > found.scores[:, 0]).mean()

    assert right(whitened(vectors, labels)) > right(vectors) + 0.2


def test_too_few_photos_are_left_as_they_are():
    vectors, labels = photos_of(1, 3, 4)
    np.testing.assert_array_equal(whitened(vectors, labels), vectors)
