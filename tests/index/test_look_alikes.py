"""Items that look alike, against a naive sum, and outliers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scattered import photos_of

from index.look_alikes import look_alikes
from index.looks import look_at
from index.outliers import is_blurred, oddness, shows_nothing
from index.standings import standings


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(4, 40), st.floats(0.02, 1))
@settings(max_examples=60)
def test_confusions_are_means_of_what_two_candidates_would_get(seed, items, photos, temperature):
    vectors, labels = photos_of(seed, items, photos)
    counted = np.random.default_rng(seed).random(len(labels)) < 0.9
    found = standings(vectors, labels, np.ones(len(labels), bool), items - 1)
    chance = np.full((items, items), np.nan)
    for item in range(items):
        rows = np.flatnonzero((labels == item) & counted & (found.own > -1))
        for other in range(items):
            if other != item and len(rows):
                score = [found.scores[at][found.rivals[at] == other][0] for at in rows]
                lead = found.own[rows].astype(float) - np.array(score, float)
                chance[item, other] = (1 / (1 + np.exp(lead / temperature))).mean()
    pairs = look_alikes(found, labels, counted, lambda scores: scores / temperature, 0.05)
    least = np.nanmax(np.stack([chance, chance.T, np.full_like(chance, 0)]), axis=0)
    expected = {(i, j) for i in range(items) for j in range(i) if least[i, j] >= 0.05}
    assert {(max(p.first, p.second), min(p.first, p.second)) for p in pairs} == expected
    for pair in pairs:
        assert pair.confusion == pytest.approx(chance[pair.first, pair.second])
        assert pair.reverse == pytest.approx(np.nan_to_num(chance[pair.second, pair.first]))
        assert pair.confusion >= pair.reverse
        assert labels[pair.photo] == pair.first
        rows = np.flatnonzero((labels == pair.first) & counted & (found.own > -1))
        leads = {
            at: found.own[at] - found.scores[at][found.rivals[at] == pair.second][0] for at in rows
        }
        assert leads[pair.photo] == pytest.approx(min(leads.values()), abs=1e-6)
    assert [p.confusion for p in pairs] == sorted((p.confusion for p in pairs), reverse=True)


def test_one_item_looks_like_no_other():
    vectors, labels = photos_of(0, 1, 5)
    found = standings(vectors, labels, np.ones(6, bool), 3)
    assert look_alikes(found, labels, np.ones(6, bool), np.asarray, 0.01) == []
    assert look_alikes(found, labels, np.zeros(6, bool), np.asarray, 0.01) == []


def flock(seed, outliers):
    """Items close together in one part of the space, and photos far from all of them."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), 20)
    vectors = np.zeros((200, 30))
    vectors[np.arange(200), labels] = 0.6
    vectors[:, 20] = 1
    vectors += 0.05 * rng.normal(size=vectors.shape)
    vectors[:outliers] = rng.normal(size=(outliers, 30))
    vectors[:outliers, 20] = -0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rng.permutation(200)
    return vectors[order].astype(np.float32), labels[order], order < outliers


@pytest.mark.parametrize("outliers", [0, 1, 4])
def test_photos_far_from_all_items_are_odd_and_no_others(outliers):
    vectors, labels, far = flock(outliers, outliers)
    found = standings(vectors, labels, np.ones(200, bool), 1)
    np.testing.assert_array_equal(oddness(found, labels) >= 6, far)


def test_photos_of_one_item_alone_can_be_odd_too():
    vectors, labels, far = flock(1, 1)
    labels[:] = 0
    found = standings(vectors, labels, np.ones(200, bool), 1)
    odd = oddness(found, labels)
    assert far[odd.argmax()]


def test_the_only_photo_of_an_item_is_not_odd_for_being_like_no_other():
    vectors, labels, far = flock(2, 1)
    labels[far] = 10
    found = standings(vectors, labels, np.ones(200, bool), 1)
    assert oddness(found, labels)[far] == 0


def test_black_and_blurred_photos_are_told_by_their_pixels(tmp_path, catalogue):
    photos = [path for paths in catalogue.items.values() for path in paths[:2]]
    for at, photo in enumerate(photos[:6]):
        image = Image.open(photo)
        image.point(lambda value: value // 30).save(tmp_path / f"black{at}.jpg")
        image.filter(ImageFilter.GaussianBlur(image.width / 12)).save(tmp_path / f"soft{at}.jpg")
    made = sorted(map(str, tmp_path.iterdir()))
    looks = look_at([*photos, *made, "none.jpg"])
    count = len(photos)
    assert shows_nothing(looks).nonzero()[0].tolist() == list(range(count, count + 6))
    assert is_blurred(looks).nonzero()[0].tolist() == list(range(count + 6, count + 12))
