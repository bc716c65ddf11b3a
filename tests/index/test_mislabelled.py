"""Wrong labels: how many there are, which, and the counts of confident learning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.score_space import unit
from index.mislabelled import Labels, confident_counts, judge_labels
from index.standings import Standings, standings


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


def judged(vectors, labels, rivals=10):
    found = standings(vectors, labels, np.ones(len(labels), bool), rivals)
    return found, judge_labels(found, int(labels.max()) + 1)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_the_share_of_wrong_labels_is_estimated_and_they_are_named(share):
    vectors, labels, truth = catalogue(1, share=share)
    found, result = judged(vectors, labels)
    assert result.share == pytest.approx(share, abs=0.005)
    np.testing.assert_array_equal(result.wrong > 0.5, labels != truth)
    wrong = labels != truth
    assert (found.rivals[wrong, 0] == truth[wrong]).sum() >= 0.95 * wrong.sum()


def test_items_that_cannot_be_told_apart_are_not_all_called_wrong():
    vectors, labels, _ = catalogue(2, share=0.0)
    twins = np.where(labels == 1, 0, labels)  # items 0 and 1 are one, split at random
    twins[twins == 0] = np.random.default_rng(0).integers(0, 2, int((twins == 0).sum()))
    _, result = judged(vectors, twins)
    assert (result.wrong[twins < 2] > 0.5).mean() < 0.1


def test_the_only_photo_of_an_item_and_an_only_item_are_not_in_doubt():
    vectors, labels, _ = catalogue(3, share=0.0)
    alone = labels.copy()
    alone[0] = labels.max() + 1
    _, result = judged(vectors, alone)
    assert result.wrong[0] == 0
    found, result = judged(vectors, np.zeros(len(labels), np.int64))
    assert not result.wrong.any()
    assert result.share == 0
    assert confident_counts(found, result, np.zeros(len(labels), np.int64)) == []


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(5, 40))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_the_paper(seed, items, photos):
    """Northcutt et al. 2021, equations 1 and 2, photo by photo, over all items."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(items), rng.integers(0, items, photos)])
    shares = rng.dirichlet(np.full(items, 0.5), len(labels))
    thresholds = [shares[labels == item, item].mean() for item in range(items)]
    joint = np.zeros((items, items), int)
    for label, row in zip(labels, shares, strict=True):
        sure = [item for item in range(items) if row[item] >= thresholds[item] - 1e-12]
        if sure:
            joint[label, max(sure, key=lambda item: row[item])] += 1
    rows = np.arange(len(labels))
    rivals = np.array([[i for i in range(items) if i != label] for label in labels])
    rivals = np.take_along_axis(
        rivals, np.argsort(-np.take_along_axis(shares, rivals, axis=1), axis=1), axis=1
    )
    found = Standings(np.zeros(len(labels)), rivals, np.zeros(rivals.shape))
    own, others = shares[rows, labels], np.take_along_axis(shares, rivals, axis=1)
    counts = confident_counts(found, Labels(own, others, own, 0.0, 1.0), labels)
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
@settings(max_examples=5, deadline=None)
def test_the_order_of_photos_does_not_matter(seed):
    vectors, labels, _ = catalogue(seed, items=8, photos=12)
    order = np.random.default_rng(seed).permutation(len(labels))
    _, result = judged(vectors, labels)
    _, other = judged(vectors[order], labels[order])
    np.testing.assert_array_equal(result.wrong[order] > 0.5, other.wrong > 0.5)
    assert result.share == pytest.approx(other.share, abs=1e-3)
