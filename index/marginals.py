"""How likely each photo shows each item, given that every piece is in one photo at most.

A matching gives some rows (photos) a column (piece) each, no column twice. Its weight is the
product of the odds of its pairs; a row without a column shows none of the items and weighs 1. The
marginal of a pair is the share of the weight of all matchings that contain it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from index.assignment import best_assignment

Exact = npt.NDArray[np.float64]

# 16 by 16 takes half a second at most; each row more takes over twice as long.
_MOST_STEPS = 16 * 16 * 2**16
_MOST_STATES = 2**24  # kept at a time: 128 MB
_NEGLIGIBLE = 1e-6  # odds of a row or column, all in all
_LOSSES = (14.0, 10.0, 7.0)  # nats: a thousandth is the most that is left out
_MOST_ROUNDS, _MOST_UPDATES = 1000, 3 * 10**7
_SETTLED = 1e-6
_FARTHEST = 600.0  # nats: products of two stay within a float64


def marginals(log_odds: Exact) -> Exact:
    """The marginals of all pairs: exact where that is quick, else approximate.

    What falls apart is solved part by part. A pair is never likelier than its own odds, for without
    it what is left is a matching too, so pairs with next to no odds are left out. Of a part that
    is too large then, pairs are left out that only matchings far below the best one contain.

    Args:
        log_odds: finite float (rows, columns), log of the weight of each pair, in nats.

    Returns:
        float64 (rows, columns); what a row lacks to 1 is the probability that it has no column.
    """
    found = np.zeros(log_odds.shape)
    likely = log_odds > math.log(_NEGLIGIBLE / max(1, *log_odds.shape))
    for rows, columns in _parts(likely):
        inside = np.ix_(rows, columns)
        found[inside] = _of_part(log_odds[inside])
    return found


def _of_part(log_odds: Exact) -> Exact:
    if can_be_exact(*log_odds.shape):
        return exact_marginals(log_odds)
    found, loss = np.zeros(log_odds.shape), losses(log_odds)
    waiting = [(np.arange(len(log_odds)), np.arange(log_odds.shape[1]))]
    for most in _LOSSES:
        large = []
        for rows, columns in waiting:
            for some, few in _parts(loss[np.ix_(rows, columns)] < most):
                inside = np.ix_(rows[some], columns[few])
                if can_be_exact(len(some), len(few)):
                    found[inside] = exact_marginals(log_odds[inside])
                else:
                    large.append((rows[some], columns[few]))
        waiting = large
    for rows, columns in waiting:
        inside = np.ix_(rows, columns)
        found[inside] = bethe_marginals(log_odds[inside])
    return found


def losses(log_odds: Exact) -> Exact:
    """How much less than the best matching any matching with a pair weighs at least, in nats.

    From a solution of the dual problem: prices of rows and columns, none negative, that together
    are never below the log odds of their pair, and the same where the best matching has a pair
    (Kuhn 1955, "The Hungarian method for the assignment problem"). There are many; of each row the
    highest and the lowest price are averaged.

    Args:
        log_odds: finite float (rows, columns).

    Returns:
        float64 (rows, columns), 0 or more, 0 for the pairs of the best matching.
    """
    gains = np.maximum(log_odds, 0.0)
    chosen = best_assignment(gains)
    matched = np.flatnonzero(chosen >= 0)
    taken = chosen[matched]
    back = np.full(log_odds.shape[1], -1)
    back[taken] = matched
    highest = _highest_prices(gains, chosen)
    lowest = np.zeros(log_odds.shape[1])
    lowest[taken] = gains[matched, taken] - _highest_prices(gains.T, back)[matched]
    columns = (highest + lowest) / 2
    rows = np.zeros(len(log_odds))
    rows[matched] = gains[matched, taken] - columns[taken]
    return np.maximum(rows[:, None] + columns - log_odds, 0.0)


def _highest_prices(gains: Exact, chosen: npt.NDArray[np.int64]) -> Exact:
    """The highest price of each column; 0 of those that no row has."""
    matched = np.flatnonzero(chosen >= 0)
    taken = chosen[matched]
    own = gains[matched, taken]
    prices = np.zeros(gains.shape[1])
    prices[taken] = own
    for _ in range(len(matched)):
        # A row would rather have another column if its own cost more than this.
        lower = own - (gains[matched] - prices).max(axis=1)
        lower = np.minimum(lower, prices[taken])
        if (lower > prices[taken] - 1e-9).all():
            break
        prices[taken] = lower
    return np.maximum(prices, 0.0)


def _parts(linked: npt.NDArray[np.bool_]) -> Iterator[tuple[list[int], list[int]]]:
    """Rows and columns that are linked with each other, directly or through others."""
    waiting = set(np.flatnonzero(linked.any(axis=1)).tolist())
    while waiting:
        rows, columns, new = list[int](), set[int](), {min(waiting)}
        while new:
            rows += sorted(new)
            waiting -= new
            fresh = set(np.flatnonzero(linked[sorted(new)].any(axis=0)).tolist()) - columns
            columns |= fresh
            new = set(np.flatnonzero(linked[:, sorted(fresh)].any(axis=1)).tolist()) & waiting
        yield sorted(rows), sorted(columns)


def can_be_exact(rows: int, columns: int) -> bool:
    """Whether `marginals` of so many rows and columns are exact."""
    few, many = sorted((rows, columns))
    # Not 2**few: there may be a million.
    return few < 32 and few * many * 2**few <= _MOST_STEPS and many * 2**few <= _MOST_STATES


def exact_marginals(log_odds: Exact) -> Exact:
    """By dynamic programming over the subsets of the shorter side.

    The sum over all matchings is a permanent of the matrix, bordered by ones (Ryser 1963 gives a
    formula of the same order with signs, which loses digits). Here the longer side is gone
    through one by one; a state is which of the shorter side are taken, and the log of the weight
    of all ways to come to it. What leads to the end is summed up the same way from behind, and a
    pair's marginal is all ways that take it.
    """
    if log_odds.shape[0] > log_odds.shape[1]:
        return exact_marginals(log_odds.T).T
    rows, columns = log_odds.shape
    taken = (np.arange(2**rows)[:, None] >> np.arange(rows)) & 1
    without = [np.flatnonzero(taken[:, row] == 0) for row in range(rows)]
    before = np.full((columns + 1, 2**rows), -np.inf)
    before[0, 0] = 0.0
    for column in range(columns):
        before[column + 1] = _one_more(before[column], log_odds[:, column], without)
    after = np.zeros(2**rows)  # of a state: the log weight of all that can follow
    total = np.logaddexp.reduce(before[columns])
    found = np.zeros(log_odds.shape)
    for column in range(columns - 1, -1, -1):
        earlier = after.copy()
        for row, states in enumerate(without):
            ways = log_odds[row, column] + after[states + (1 << row)]
            share = np.exp(before[column, states] + ways - total)
            found[row, column] = share.sum()
            earlier[states] = np.logaddexp(earlier[states], ways)
        after = earlier
    return found


def _one_more(weights: Exact, log_odds: Exact, without: list[npt.NDArray[np.int64]]) -> Exact:
    """The weights of all states after one more column, which takes one row or none."""
    later = weights.copy()
    for row, states in enumerate(without):
        to = states + (1 << row)
        later[to] = np.logaddexp(later[to], weights[states] + log_odds[row])
    return later


def bethe_marginals(log_odds: Exact) -> Exact:
    """By belief propagation, whose fixed point is the Bethe approximation of the permanent.

    Williams and Lau 2014, "Approximate evaluation of marginal association probabilities with
    belief propagation": it always converges; Vontobel 2013, "The Bethe permanent of a nonnegative
    matrix". Only pairs that are not negligible take part. `docs/matching.md` says how far it is
    from exact.
    """
    rows, columns = np.nonzero(log_odds > math.log(_NEGLIGIBLE / max(1, *log_odds.shape)))
    odds = np.exp(np.clip(log_odds[rows, columns], -_FARTHEST, _FARTHEST))
    free = np.ones(len(odds))  # how free a pair's column is, from what the other rows say
    shares = np.zeros(len(odds))
    for _ in range(min(_MOST_ROUNDS, _MOST_UPDATES // max(1, len(odds)))):
        asked = odds / (1.0 + _sums_of_others(odds * free, rows))
        free = 1.0 / (1.0 + _sums_of_others(asked, columns))
        last, shares = shares, odds * free
        shares /= 1.0 + np.bincount(rows, shares)[rows]
        if np.abs(shares - last).max(initial=0.0) < _SETTLED:
            break
    # No piece is in more than one photo, whether that has settled or not.
    shares /= np.maximum(1.0, np.bincount(columns, shares, minlength=log_odds.shape[1]))[columns]
    found = np.zeros(log_odds.shape)
    found[rows, columns] = shares
    return found


def _sums_of_others(values: Exact, group: npt.NDArray[np.int64]) -> Exact:
    """For each value, the sum of the others in its group: by subtraction, but for the largest.

    Of that, subtraction would leave only rounding.
    """
    most = np.zeros(int(group.max(initial=-1)) + 1)
    np.maximum.at(most, group, values)
    largest = values == most[group]
    # Of equals none is so large beside the others that subtraction would hurt.
    largest &= np.bincount(group[largest], minlength=len(most))[group] == 1
    total = np.bincount(group, values, minlength=len(most))[group]
    rest = np.bincount(group, np.where(largest, 0.0, values), minlength=len(most))[group]
    sums: Exact = np.where(largest, rest, np.maximum(total - values, 0.0))
    return sums
