import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from index.calibration import Calibration, uncalibrated
from index.deciding import decide
from index.priors import known_log_odds, log_prior, unknown_share

# A score is the log likelihood ratio itself, whatever else a photo is like.
PLAIN = Calibration((1,), (1.0,), (0.0,), (-np.inf,), (0.0,), (1.0,))


def decided(ratios, pieces, calibration=PLAIN, **options):
    ratios = np.asarray(ratios, dtype=np.float64)
    return decide(
        ratios,
        np.zeros((len(ratios), 0)),
        np.ones(len(ratios), np.int64),
        np.asarray(pieces, np.int64),
        calibration,
        **options,
    )


def log_odds_of(ratios, pieces, unknown):
    """Of as many pieces of each item as there are objects at most: the others change nothing."""
    useful = np.minimum(pieces, len(ratios))
    return ratios + known_log_odds(unknown) + log_prior(useful, len(ratios), False)


def all_choices(objects, pieces):
    """All ways to give objects items or none (-1), no item more often than there are pieces.

    With each, in how many ways its pieces can be told apart.
    """
    if objects == 0:
        yield (), 1
        return
    for choice, ways in all_choices(objects - 1, pieces):
        yield (*choice, -1), ways
        for item, count in enumerate(pieces):
            left = count - choice.count(item)
            if left:
                yield (*choice, item), ways * left


def by_trying_all(log_odds, pieces):
    """The highest total, and the shares of objects and items."""
    best, shares, total = -np.inf, np.zeros(log_odds.shape), 0.0
    for choice, ways in all_choices(len(log_odds), pieces):
        pairs = [(at, item) for at, item in enumerate(choice) if item >= 0]
        weight = sum(log_odds[pair] for pair in pairs)
        best = max(best, weight)
        for pair in pairs:
            shares[pair] += ways * np.exp(weight)
        total += ways * np.exp(weight)
    return best, shares / total


def total_of(log_odds, chosen):
    return sum(log_odds[at, item] for at, item in enumerate(chosen) if item >= 0)


def taken_pieces(chosen, candidates):
    return np.bincount(chosen[chosen >= 0], minlength=candidates)


@st.composite
def questions(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    ratios = draw(arrays(np.float64, shape, elements=st.floats(-12, 12)))
    pieces = draw(st.lists(st.integers(1, 3), min_size=shape[1], max_size=shape[1]))
    return ratios, pieces, draw(st.floats(0.01, 0.99))


@given(questions())
def test_no_way_to_give_pieces_or_none_is_likelier(question):
    ratios, pieces, unknown = question
    found = decided(ratios, pieces, unknown=unknown)
    log_odds = log_odds_of(ratios, pieces, unknown)
    best, _ = by_trying_all(log_odds, pieces)
    assert (taken_pieces(found.chosen, len(pieces)) <= pieces).all()
    assert total_of(log_odds, found.chosen) == pytest.approx(best, abs=1e-9)


@given(questions())
def test_a_share_is_that_of_all_ways_with_the_pieces_told_apart(question):
    ratios, pieces, unknown = question
    found = decided(ratios, pieces, unknown=unknown)
    useful = np.minimum(pieces, len(ratios)).tolist()
    _, shares = by_trying_all(log_odds_of(ratios, pieces, unknown), useful)
    np.testing.assert_allclose(found.shares, shares, atol=1e-5)


@given(questions(), st.booleans(), st.sampled_from([None, 0, 0.5, 1]))
def test_shares_are_probabilities(question, independent, unknown):
    ratios, pieces, _ = question
    found = decided(ratios, pieces, independent=independent, unknown=unknown)
    none = 1 - found.shares.sum(axis=1)
    assert found.shares.min() >= 0
    assert none.min() >= -1e-9
    if not independent:
        # The pieces of an item are in as many objects as there are, on average at most.
        assert (found.shares.sum(axis=0) <= np.array(pieces) + 1e-9).all()


@pytest.mark.parametrize(("objects", "candidates"), [(40, 30), (30, 40), (80, 70), (12, 300)])
def test_many_objects_are_given_what_scipy_gives(objects, candidates):
    rng = np.random.default_rng([objects, candidates])
    ratios = rng.normal(0, 4, (objects, candidates))
    pieces = rng.integers(1, 3, candidates)
    found = decided(ratios, pieces, unknown=0.3)
    log_odds = log_odds_of(ratios, pieces, 0.3)
    wide = np.repeat(log_odds, pieces, axis=1)
    # A column of its own for each object that has none.
    none = np.where(np.eye(objects, dtype=bool), 0.0, -1e6)
    rows, columns = linear_sum_assignment(np.concatenate([wide, none], axis=1), maximize=True)
    expected = np.concatenate([wide, none], axis=1)[rows, columns].sum()
    assert total_of(log_odds, found.chosen) == pytest.approx(expected)
    assert (taken_pieces(found.chosen, candidates) <= pieces).all()


def test_none_is_chosen_where_it_is_likelier():
    ratios = np.array([[8.0, -3.0], [-4.0, -5.0]])
    found = decided(ratios, [1, 1])
    assert found.chosen.tolist() == [0, -1]
    assert 1 - found.shares[1].sum() > 0.9


@given(questions())
def test_each_object_shows_something_if_that_is_known(question):
    ratios, pieces, _ = question
    found = decided(ratios, pieces, unknown=0)
    assert (found.chosen >= 0).sum() == min(len(ratios), sum(pieces))


@pytest.mark.parametrize("independent", [False, True])
def test_a_single_object_shows_the_single_candidate_if_that_is_known(independent):
    found = decided([[-20.0]], [1], unknown=0, independent=independent)
    assert found.chosen.tolist() == [0]
    assert found.shares[0, 0] > 0.99


def test_none_is_all_but_impossible_if_each_object_is_known_to_show_one():
    # The second fits nothing well, but fits nothing else better.
    found = decided([[40.0, 38.0], [-2.0, -2.5]], [1, 1], unknown=0)
    assert (1 - found.shares.sum(axis=1)).max() < 0.01


def test_one_of_many_pieces_is_given_if_each_object_is_known_to_show_one():
    found = decided([[-2.0, -1.0], [9.0, -2.0]], [1000, 1000], unknown=0)
    assert found.chosen.tolist() == [1, 0]


def test_with_more_objects_than_pieces_the_rest_have_none():
    for unknown in (None, 0, 0.2):
        found = decided([[5.0, 1.0], [4.0, 6.0], [4.5, 5.0]], [1, 1], unknown=unknown)
        assert found.chosen.tolist() == [0, 1, -1]


@pytest.mark.parametrize(("objects", "candidates"), [(4, 3), (40, 30), (60, 20)])
def test_objects_too_many_have_none_with_some_confidence(objects, candidates):
    # Without a calibration each photo shows a candidate, if there is a piece left.
    scores = np.random.default_rng(objects).uniform(0.3, 0.9, (objects, candidates))
    found = decided(scores, [1] * candidates, uncalibrated(0.1))
    none = 1 - found.shares.sum(axis=1)
    assert (found.chosen < 0).sum() == objects - candidates
    assert none.sum() == pytest.approx(objects - candidates, rel=0.05)


@pytest.mark.parametrize("count", [2, 1000, 10**12])
def test_many_pieces_of_an_item_make_it_no_less_likely(count):
    found = decided([[6.0, -6.0]], [count, 1], unknown=0.2)
    one = decided([[6.0, -6.0]], [1, 1], unknown=0.2)
    assert found.chosen.tolist() == [0]
    np.testing.assert_array_equal(found.shares, one.shares)


def test_an_object_by_itself_is_a_softmax_with_none():
    # However many pieces there are of each, and a fifth of the objects show none.
    found = decided([[1.0, 2.0], [-3.0, -4.0]], [2, 1], independent=True, unknown=0.2)
    for row, ratios in zip(found.shares, [(1.0, 2.0), (-3.0, -4.0)], strict=True):
        logs = np.log([0.8 / 2, 0.8 / 2, 0.2]) + np.array([*ratios, 0.0])
        np.testing.assert_allclose(row, np.exp(logs - logsumexp(logs))[:2], rtol=1e-9)
    assert found.chosen.tolist() == [1, -1]


def test_objects_by_themselves_may_share_a_piece():
    found = decided([[9.0, 0.0], [8.0, 0.0]], [1, 1], independent=True)
    assert found.chosen.tolist() == [0, 0]


def test_without_a_background_the_other_candidates_say_what_a_photo_is_like():
    wary = Calibration((1,), (1.0,), (0.0,), (0.0,), (-50.0,), (1.0,))
    scores = np.array([[9.0, 1.0, 0.0], [9.0, 8.8, 8.9]])
    found = decided(scores, [1, 1, 1], wary, independent=True, unknown=0.5)
    for row, own in zip(found.shares, scores, strict=True):
        likeness = logsumexp(np.sort(own)[:2]) - np.log(2)
        logs = np.append(own - np.log(3), likeness)
        np.testing.assert_allclose(row, np.exp(logs - logsumexp(logs))[:3], rtol=1e-9)
    assert found.chosen.tolist() == [0, -1]
    # With enough of a background they are left out of it.
    many = decide(
        scores, np.zeros((2, 10)), np.ones(2, int), np.ones(3, int), wary, True, unknown=0.5
    )
    assert many.chosen[1] >= 0


def test_photos_by_themselves_may_be_more_than_there_are_pieces():
    found = decided([[6.0, -6.0]] * 20, [1, 1], independent=True)
    assert (found.chosen == 0).all()
    assert found.shares[:, 0].min() > 0.99


def test_the_share_of_unknown_is_estimated_unless_given():
    ratios = np.random.default_rng(1).normal(0, 4, (5, 3))
    pieces = np.array([1, 1, 2])
    estimated = decided(ratios, pieces)
    given_it = decided(ratios, pieces, unknown=unknown_share(ratios, pieces))
    np.testing.assert_array_equal(estimated.shares, given_it.shares)


def test_no_objects_no_decisions():
    for independent in (False, True):
        found = decided(np.zeros((0, 3)), [1, 1, 1], independent=independent)
        assert found.chosen.tolist() == []
        assert found.shares.shape == (0, 3)
