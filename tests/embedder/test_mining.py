"""Tests of following centroids and of finding look-alike items by them."""

import numpy as np
import pytest

from embedder.mining import follow, nearest_items
from embedder.sampling import GROUP


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_centroids_follow_the_items_of_a_batch_and_leave_the_others():
    rng = np.random.default_rng(0)
    centroids = np.zeros((5, 4), np.float32)
    centroids[3] = [0, 0, 0, 1]
    labels = np.array([3, 1, 3, 1])
    vectors = unit(rng.normal(size=(4, 4)))
    follow(centroids, labels, vectors)
    assert not centroids[[0, 2, 4]].any()
    np.testing.assert_allclose(centroids[1], unit(vectors[1] + vectors[3]), atol=1e-6)
    mean = unit(vectors[0] + vectors[2])
    np.testing.assert_allclose(centroids[3], unit(np.add(mean, [0, 0, 0, 1])), atol=1e-6)


@pytest.mark.parametrize("items", [1, 3, GROUP, 30])
def test_nearest_items_are_those_of_a_plain_search(items):
    rng = np.random.default_rng(items)
    centroids = unit(rng.normal(size=(items, 6)))
    asked = rng.permutation(items)[:5]
    for item, group in zip(asked, nearest_items(centroids, asked), strict=True):
        others = sorted(range(items), key=lambda other: -centroids[item] @ centroids[other])
        others.remove(item)
        assert group.tolist() == [item, *others][:GROUP]


def test_items_not_seen_are_nobodys_neighbours_and_have_none():
    centroids = unit(np.random.default_rng(0).normal(size=(20, 6)))
    centroids[5:] = 0
    few, alone = nearest_items(centroids, np.array([2, 9]))
    assert few[0] == 2 and set(few.tolist()) == set(range(5))
    assert alone.tolist() == [9]
