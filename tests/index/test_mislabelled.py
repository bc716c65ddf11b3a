"""Wrong labels: which, and the counts of confident learning, against naive loops."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scattered import photos_of

from embedder.score_space import unit
from index.mislabelled import Votes, confident_counts, farther, mislabelled, votes
from index.neighbours import neighbours
from index.standings import standings


def catalogue(seed, items=20, photos=30, dim=16, share=0.05, spread=0.6):
    """Vectors, labels of which some are wrong, and the true ones."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(items), photos)
    centres = unit(rng.normal(size=(items, dim)))
    vectors = unit(centres[truth] + spread / np.sqrt(dim) * rng.normal(size=(len(truth), dim)))
    labels = truth.copy()
    wrong = rng.choice(len(truth), round(share * len(truth)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, items, len(wrong))) % items
    return vectors.astype(np.float32), labels, truth


def judged(vectors, labels):
    found = standings(vectors, labels, np.ones(len(labels), bool), 10)
    counted = votes(neighbours(vectors, labels, found.rivals[:, :5], 10), labels)
    clearly = farther(found, labels)
    return mislabelled(clearly, counted), counted, clearly


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_wrong_labels_are_named_with_what_is_shown_and_counted(share):
    vectors, labels, truth = catalogue(1, share=share)
    wrong, counted, clearly = judged(vectors, labels)
    planted = labels != truth
    assert (wrong & planted).sum() >= 0.95 * planted.sum()
    assert not (wrong & ~planted).any()
    assert (counted.shown == truth)[wrong].sum() >= 0.95 * planted.sum()
    counts = confident_counts(counted, clearly, labels)
    # Those that are less typical of what they show than its photos are on average do not count.
    assert 0.6 * planted.sum() <= sum(one.photos for one in counts) <= planted.sum()


def test_items_that_cannot_be_told_apart_are_not_called_wrong():
    vectors, labels, _ = catalogue(2, share=0.0)
    twins = np.where(labels == 1, 0, labels)  # items 0 and 1 are one, split at random
    twins[twins == 0] = np.random.default_rng(0).integers(0, 2, int((twins == 0).sum()))
    wrong, _, _ = judged(vectors, twins)
    assert wrong[twins < 2].mean() < 0.1


def test_the_only_photo_of_an_item_and_an_only_item_are_not_in_doubt():
    vectors, labels, _ = catalogue(3, share=0.0)
    alone = labels.copy()
    alone[0] = labels.max() + 1
    assert not judged(vectors, alone)[0][0]
    wrong, counted, clearly = judged(vectors, np.zeros(len(labels), np.int64))
    assert not wrong.any()
    assert confident_counts(counted, clearly, np.zeros(len(labels), np.int64)) == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 40), st.integers(1, 12))
@settings(max_examples=40)
def test_neighbours_are_the_nearest_photos_of_the_items_that_are_asked(seed, items, photos, count):
    vectors, labels = photos_of(seed, items, photos)
    rivals = standings(vectors, labels, np.ones(len(labels), bool), items).rivals
    found = neighbours(vectors, labels, rivals, count)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    for at, row in enumerate(found):
        expected = np.sort(scores[at])[::-1][: min(count, len(labels) - 1)]
        assert scores[at, row[row >= 0]] == pytest.approx(expected, abs=1e-5)


def test_photos_of_items_that_are_no_rivals_are_not_compared():
    vectors, labels = photos_of(5, 4, 40)
    found = neighbours(vectors, labels, np.zeros((len(labels), 0), np.int64), 5)
    for at, row in enumerate(found):
        assert (labels[row[row >= 0]] == labels[at]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 40))
@settings(max_examples=60)
def test_votes_are_shares_of_the_nearest_photos(seed, items, photos):
    vectors, labels = photos_of(seed, items, photos)
    rivals = standings(vectors, labels, np.ones(len(labels), bool), items).rivals
    nearest = neighbours(vectors, labels, rivals, 10)
    found = votes(nearest, labels)
    for at, row in enumerate(nearest):
        among = max(3, int((labels == labels[at]).sum()) - 1)
        of = [int(labels[other]) for other in row[:among] if other >= 0]
        counts = Counter(of)
        assert found.own[at] == pytest.approx(counts.pop(int(labels[at]), 0) / max(1, len(of)))
        most = max(counts.values(), default=0)
        assert found.share[at] == pytest.approx(most / max(1, len(of)))
        assert counts.get(int(found.shown[at]), 0) == most
        if not most:
            assert found.shown[at] == labels[at]


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(5, 40))
@settings(max_examples=60)
def test_counts_are_those_of_the_paper(seed, items, photos):
    """Northcutt et al. 2021, equations 1 and 2, photo by photo, where two items are in question."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(items), rng.integers(0, items, photos)])
    shown = (labels + rng.integers(1, items, len(labels))) % items
    own = rng.random(len(labels))
    share = (1 - own) * rng.random(len(labels))
    clearly = rng.random(len(labels)) < 0.8
    thresholds = [own[labels == item].mean() for item in range(items)]
    joint = np.zeros((items, items), int)
    for label, other, mine, rest, sure in zip(labels, shown, own, share, clearly, strict=True):
        confident = {}
        if mine >= thresholds[label] - 1e-12:
            confident[label] = mine
        if sure and rest >= thresholds[other] - 1e-12:
            confident[other] = rest
        if confident:
            joint[label, max(confident, key=confident.get)] += 1
    counts = confident_counts(Votes(own, shown, share), clearly, labels)
    expected = {
        (i, j): joint[i, j] for i in range(items) for j in range(items) if i != j and joint[i, j]
    }
    assert {(one.item, one.shown): one.photos for one in counts} == expected
    of_item = np.bincount(labels)
    for one in counts:
        scaled = joint[one.item, one.shown] * of_item[one.item] / joint[one.item].sum()
        assert one.estimated == pytest.approx(scaled)
    assert [one.photos for one in counts] == sorted((one.photos for one in counts), reverse=True)


@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_the_order_of_photos_does_not_matter(seed):
    vectors, labels, _ = catalogue(seed, items=8, photos=12)
    order = np.random.default_rng(seed).permutation(len(labels))
    np.testing.assert_array_equal(
        judged(vectors, labels)[0][order], judged(vectors[order], labels[order])[0]
    )
