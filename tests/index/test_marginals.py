from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from index.marginals import bethe_marginals, can_be_exact, exact_marginals, marginals

shapes = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.sampled_from([shape, shape[::-1]])
)


def log_odds_within(limit):
    values = st.floats(-limit, limit)
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


def all_matchings(rows, columns):
    """All ways to give each row a column of its own, or none (-1)."""
    if rows == 0:
        yield ()
        return
    for rest in all_matchings(rows - 1, columns):
        yield (*rest, -1)
        yield from ((*rest, column) for column in range(columns) if column not in rest)


def by_trying_all(log_odds):
    found, weights = np.full(log_odds.shape, -np.inf), []
    for matching in all_matchings(*log_odds.shape):
        pairs = [(row, column) for row, column in enumerate(matching) if column >= 0]
        weight = sum(log_odds[pair] for pair in pairs)
        weights.append(weight)
        for pair in pairs:
            found[pair] = np.logaddexp(found[pair], weight)
    return np.exp(found - reduce(np.logaddexp, weights))


def by_minors(log_odds):
    """The marginals from permanents of the matrix bordered by a free column for each row."""
    rows, columns = log_odds.shape
    wide = np.concatenate([np.exp(log_odds), np.eye(rows)], axis=1)

    def permanent(matrix):
        return sum(
            np.prod(matrix[np.arange(len(matrix)), list(order)])
            for order in permutations(range(matrix.shape[1]), len(matrix))
        )

    total = permanent(wide)
    return np.array(
        [
            [
                wide[row, column]
                * permanent(np.delete(np.delete(wide, row, axis=0), column, axis=1))
                / total
                for column in range(columns)
            ]
            for row in range(rows)
        ]
    )


@given(log_odds_within(30))
def test_exact_is_as_by_trying_all_matchings(log_odds):
    np.testing.assert_allclose(exact_marginals(log_odds), by_trying_all(log_odds), atol=1e-9)


@given(log_odds_within(30))
def test_whatever_is_left_out_is_negligible(log_odds):
    np.testing.assert_allclose(marginals(log_odds), by_trying_all(log_odds), atol=3e-6)


def test_exact_is_as_by_permanents():
    log_odds = np.random.default_rng(0).normal(0, 2, (3, 4))
    np.testing.assert_allclose(exact_marginals(log_odds), by_minors(log_odds), atol=1e-12)


@pytest.mark.parametrize("find", [exact_marginals, marginals])
@given(log_odds=log_odds_within(600))
def test_extreme_odds_give_shares(find, log_odds):
    found = find(log_odds)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.sum(axis=1).max() <= 1 + 1e-9
    assert found.sum(axis=0).max() <= 1 + 1e-9


@given(log_odds_within(600))
def test_extreme_odds_do_not_upset_belief_propagation(log_odds):
    found = bethe_marginals(log_odds)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.sum(axis=1).max() <= 1 + 1e-9


@pytest.mark.parametrize("shape", [(3, 2), (40, 30), (60, 20)])
def test_belief_propagation_gives_no_piece_to_more_than_one_photo(shape):
    log_odds = np.random.default_rng(shape).normal(20, 1, shape)
    assert bethe_marginals(log_odds).sum(axis=0).max() <= 1.01


@pytest.mark.parametrize("find", [exact_marginals, bethe_marginals, marginals])
@given(log_odds=log_odds_within(10))
def test_photos_and_pieces_can_change_places(find, log_odds):
    np.testing.assert_allclose(find(log_odds.T).T, find(log_odds), atol=1e-3)


def test_two_alike_photos_and_pieces():
    # Seven matchings: none, four of one pair, two of two pairs.
    np.testing.assert_allclose(marginals(np.zeros((2, 2))), 2 / 7)
    # At high odds only those of two pairs are left.
    np.testing.assert_allclose(marginals(np.full((2, 2), 50.0)), 1 / 2)
    # Three photos for one piece, of odds 2.
    np.testing.assert_allclose(marginals(np.full((3, 1), np.log(2))), 2 / 7)


def test_nothing_to_match():
    for shape in ((0, 0), (0, 3), (3, 0)):
        assert exact_marginals(np.zeros(shape)).shape == shape
        assert bethe_marginals(np.zeros(shape)).shape == shape
        assert marginals(np.zeros(shape)).shape == shape
    assert not marginals(np.full((3, 4), -100.0)).any()


@pytest.mark.parametrize(
    ("centre", "spread", "worst", "mean"),
    [
        (0, 1, 0.03, 0.005),
        (0, 3, 0.25, 0.01),
        (0, 5, 0.25, 0.01),
        # Where none is out of the question, two photos that fit two pieces each are taken for
        # surer than they are: its fixed point has one of the two ways only.
        (12, 1, 0.35, 0.05),
        (12, 3, 0.5, 0.09),
    ],
)
@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9, 10, 11, 12])
def test_belief_propagation_is_near_exact(size, centre, spread, worst, mean):
    errors = []
    for log_odds in np.random.default_rng([size, spread]).normal(centre, spread, (10, size, size)):
        found = bethe_marginals(log_odds)
        assert found.sum(axis=1).max() <= 1 + 1e-9
        assert found.sum(axis=0).max() <= 1.01
        errors.append(np.abs(found - exact_marginals(log_odds)))
    assert np.max(errors) < worst
    assert np.mean(errors) < mean


def test_two_look_alike_items_are_no_surer_among_many_others():
    pair = np.array([[10.0, 9.75], [9.75, 10.0]])
    log_odds = np.full((20, 20), -8.0)
    for at in range(0, 20, 2):
        log_odds[at : at + 2, at : at + 2] = pair
    assert not can_be_exact(*log_odds.shape)
    found = marginals(log_odds)
    assert found[0, 0] == pytest.approx(by_trying_all(pair)[0, 0], abs=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_belief_propagation_is_exact_where_there_is_no_loop(shape):
    log_odds = np.random.default_rng(shape).normal(0, 3, shape)
    np.testing.assert_allclose(bethe_marginals(log_odds), exact_marginals(log_odds), atol=1e-4)


def test_parts_that_share_no_odds_are_solved_by_themselves():
    rng = np.random.default_rng(1)
    parts = [rng.normal(0, 2, shape) for shape in ((3, 2), (1, 4), (4, 4))]
    whole = np.full((8, 10), -60.0)
    expected = np.zeros(whole.shape)
    row = column = 0
    for part in parts:
        at = np.s_[row : row + part.shape[0], column : column + part.shape[1]]
        whole[at], expected[at] = part, exact_marginals(part)
        row, column = row + part.shape[0], column + part.shape[1]
    rows, columns = rng.permutation(8), rng.permutation(10)
    shuffled = marginals(whole[np.ix_(rows, columns)])
    np.testing.assert_allclose(shuffled, expected[np.ix_(rows, columns)], atol=1e-12)


def test_many_small_parts_are_exact():
    assert not can_be_exact(60, 60)
    rng = np.random.default_rng(2)
    whole, expected = np.full((60, 60), -60.0), np.zeros((60, 60))
    for at in range(0, 60, 2):
        part = rng.normal(0, 2, (2, 2))
        whole[at : at + 2, at : at + 2] = part
        expected[at : at + 2, at : at + 2] = by_trying_all(part)
    np.testing.assert_allclose(marginals(whole), expected, atol=1e-12)


def test_a_chain_is_one_part():
    # Each photo shares a piece with the next one: what the last shows says something of the first.
    log_odds = np.full((5, 6), -60.0)
    for at in range(5):
        log_odds[at, at : at + 2] = (1.0, 2.0)
    np.testing.assert_allclose(marginals(log_odds), by_trying_all(log_odds), atol=1e-9)


def test_what_is_too_large_is_still_approximated():
    log_odds = np.random.default_rng(3).normal(-2, 3, (40, 50))
    found = marginals(log_odds)
    np.testing.assert_array_equal(found, bethe_marginals(log_odds))
    assert found.max() <= 1
    # Photos that fit one piece by far are known as if there were no others.
    log_odds[0], log_odds[0, 0], log_odds[1:, 0] = -10.0, 20.0, -10.0
    assert marginals(log_odds)[0, 0] > 0.999


@pytest.mark.parametrize(
    ("rows", "columns", "exact"),
    [
        (16, 16, True),
        (16, 17, False),
        (17, 17, False),
        (15, 34, True),
        (15, 35, False),
        (1, 2**23, True),
        (1, 2**23 + 1, False),
        (0, 0, True),
        (10**6, 10**6, False),
    ],
)
def test_which_sizes_are_exact(rows, columns, exact):
    assert can_be_exact(rows, columns) is exact
    assert can_be_exact(columns, rows) is exact
