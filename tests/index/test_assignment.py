from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from index.assignment import best_assignment

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
values = st.floats(-1, 1, width=32)


def total(scores, chosen):
    rows = np.flatnonzero(chosen >= 0)
    return float(scores[rows, chosen[rows]].astype(np.float64).sum())


def best_by_trying_all(scores):
    if scores.shape[0] > scores.shape[1]:
        scores = scores.T
    rows, columns = scores.shape
    exact = scores.astype(np.float64)
    return max(exact[np.arange(rows), list(p)].sum() for p in permutations(range(columns), rows))


@given(shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values)))
def test_no_assignment_is_better(scores):
    chosen = best_assignment(scores)
    taken = chosen[chosen >= 0]
    assert len(taken) == min(scores.shape) == len(set(taken.tolist()))
    assert total(scores, chosen) == pytest.approx(best_by_trying_all(scores), abs=1e-6)


@pytest.mark.parametrize("shape", [(20, 20), (10, 40), (40, 10), (64, 200), (70, 70), (300, 20)])
def test_as_good_as_scipy(shape):
    scores = np.random.default_rng(shape).uniform(-1, 1, shape).astype(np.float32)
    chosen = best_assignment(scores)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    assert total(scores, chosen) == pytest.approx(scores[rows, columns].sum(), abs=1e-4)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(shape):
    chosen = best_assignment(np.zeros(shape, dtype=np.float32))
    assert chosen.tolist() == [-1] * shape[0]


def test_prefers_the_total_to_the_best_pair():
    # Row 0 is best in column 0, but row 1 has nowhere else to go.
    scores = np.array([[0.9, 0.8], [0.85, 0.1]], dtype=np.float32)
    assert best_assignment(scores).tolist() == [1, 0]
