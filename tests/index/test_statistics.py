import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.statistics import RunningItem


def unit(rng, count, dim=7):
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_equals_numpy_over_all_vectors(count, seed):
    vectors = unit(np.random.default_rng(seed), count)
    running = RunningItem(7)
    for vector in vectors:
        running.add(vector)
    mean = vectors.astype(np.float64).mean(axis=0)
    assert running.count == count
    np.testing.assert_allclose(running.centroid(), mean / np.linalg.norm(mean), atol=1e-6)
    spread = ((vectors - mean) ** 2).sum(axis=1).mean()
    assert running.dispersion() == pytest.approx(spread, abs=1e-6)


def test_dispersion_is_zero_for_equal_vectors_and_near_one_for_opposite_ones():
    vector = unit(np.random.default_rng(0), 1)[0]
    same, opposite = RunningItem(7), RunningItem(7)
    for _ in range(5):
        same.add(vector)
    opposite.add(vector)
    opposite.add(-vector)
    assert same.dispersion() == pytest.approx(0, abs=1e-7)
    assert opposite.dispersion() == pytest.approx(1)
    assert np.isfinite(opposite.centroid()).all()


@given(st.integers(2, 100), st.integers(0, 2**32 - 1))
def test_scatter_is_that_of_numpy_and_asking_for_it_changes_nothing(count, seed):
    vectors = unit(np.random.default_rng(seed), count)
    running = RunningItem(7)
    for number, vector in enumerate(vectors, 1):
        running.add(vector)
        if number in (1, 31, 32, 70):
            before = vectors[:number].astype(np.float64)
            expected = (before - before.mean(axis=0)).T @ (before - before.mean(axis=0))
            np.testing.assert_allclose(running.scatter(), expected, atol=1e-12)
    expected = np.cov(vectors.astype(np.float64).T) * (count - 1)
    np.testing.assert_allclose(running.scatter(), expected, atol=1e-12)
    assert np.trace(running.scatter()) / count == pytest.approx(running.dispersion(), abs=1e-12)
