from itertools import permutations
from math import factorial, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.priors import EXPECTED_UNKNOWN, known_log_odds, log_prior, unknown_share


def one_each(count):
    return np.ones(count, np.int64)


def test_by_itself_a_candidate_is_as_likely_as_another():
    assert log_prior(np.array([1, 3, 4]), 2, True) == pytest.approx(-log(3))


@pytest.mark.parametrize(("pieces", "objects"), [([1] * 5, 3), ([2, 1, 4], 2), ([1, 1], 2)])
def test_one_to_one_objects_bear_equal_parts_of_the_number_of_ways(pieces, objects):
    found = log_prior(np.array(pieces), objects, False)
    total = sum(pieces)
    ways = len(list(permutations(range(total), objects)))
    assert ways == factorial(total) // factorial(total - objects)
    np.testing.assert_allclose(found, -log(ways) / objects)


def test_more_objects_than_pieces_are_as_many_as_pieces():
    np.testing.assert_allclose(log_prior(one_each(3), 9, False), -log(6) / 3)


def test_of_a_million_million_pieces_each_is_as_likely():
    np.testing.assert_allclose(log_prior(np.array([2**40, 2**40]), 3, False), -log(2.0**41))


def test_no_objects_have_priors_too():
    np.testing.assert_allclose(log_prior(one_each(4), 0, False), -log(4))


def test_known_log_odds_are_those_of_the_share():
    assert known_log_odds(0.1) == pytest.approx(log(9))
    assert known_log_odds(0.5) == pytest.approx(0)


def test_objects_that_all_show_a_candidate_leave_little_room_for_none():
    ratios = np.where(np.eye(20, dtype=bool), 15.0, -15.0)
    assert unknown_share(ratios, one_each(20)) < 0.03


def test_objects_that_all_show_none_are_unknown():
    assert unknown_share(np.full((40, 10), -15.0), one_each(10)) > 0.85


def test_half_of_many_is_half():
    ratios = np.full((200, 200), -20.0)
    ratios[np.arange(100), np.arange(100)] = 20.0
    # Five objects' worth of a tenth is mixed in.
    expected = (100 + 5 * EXPECTED_UNKNOWN) / 205
    assert unknown_share(ratios, one_each(200)) == pytest.approx(expected, abs=1e-3)


def test_nothing_known_is_a_tenth():
    assert unknown_share(np.zeros((0, 3)), one_each(3)) == pytest.approx(EXPECTED_UNKNOWN)
    # Evidence that says as much for as against moves nothing.
    assert unknown_share(np.zeros((3, 3)), one_each(3)) == pytest.approx(EXPECTED_UNKNOWN)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.integers(0, 7), st.floats(0, 20))
def test_evidence_for_a_candidate_never_raises_the_share(evidence, at, more):
    before = np.array(evidence)[:, None]
    after = before.copy()
    after[at % len(after)] += more
    pieces = np.array([8])
    assert unknown_share(after, pieces) <= unknown_share(before, pieces) + 1e-12


@given(st.integers(1, 6), st.integers(1, 6), st.floats(-30, 800))
def test_objects_without_a_piece_show_none_whatever_they_look_like(objects, count, ratio):
    share = unknown_share(np.full((objects, 1), ratio), np.array([count]))
    assert 0 < share < 1
    assert share >= 1 - count / objects
    if ratio > 20 and objects > count:
        assert share == pytest.approx(max(1 - count / objects, 0.5 / (objects + 5)), abs=1e-3)


def test_the_share_is_a_fixed_point_of_expectation_and_maximisation():
    rng = np.random.default_rng(0)
    ratios, pieces = rng.normal(0, 3, (30, 6)), np.array([9, 1, 5, 5, 9, 9])
    share = unknown_share(ratios, pieces)
    likelihood = np.exp(ratios).mean(axis=1)
    none = share / (share + (1 - share) * likelihood)
    assert share == pytest.approx((none.sum() + 0.5) / 35, abs=1e-4)
