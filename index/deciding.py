"""From scores to a decision on each object: the item, how likely it is, and what speaks against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.assignment import best_assignment
from index.calibration import Calibration, Scores
from index.marginals import marginals
from index.priors import known_log_odds, log_prior, unknown_share

Exact = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_CERTAIN = 40.0  # nats
_FEWEST_OTHERS = 10


@dataclass(frozen=True)
class Decision:
    """On all objects together.

    Attributes:
        chosen: int64 (objects,), the candidate of each, -1 for none.
        shares: float64 (objects, candidates), the probability of each; what a row lacks to 1 is
            the probability of none of them.
    """

    chosen: Indices
    shares: Exact


def decide(
    scores: Scores,
    background: Scores,
    counts: Indices,
    pieces: Indices,
    calibration: Calibration,
    independent: bool = False,
    unknown: float | None = None,
) -> Decision:
    """Choose an item for each object, or none.

    One to one, the choice is the likeliest of all ways to give objects pieces, each piece to one
    object at most, and a probability is the share of those ways, by likelihood, in which the
    object has that item. By itself, each object has the likeliest item.

    Args:
        scores: (objects, candidates), mean cosines.
        background: (objects, items), mean cosines to items that are no candidates.
        counts: int64 (objects,), photos behind each row.
        pieces: int64 (candidates,), how many there are of each, 1 or more; more than there are
            objects make an item no likelier.
        calibration: of the index.
        independent: each object by itself.
        unknown: share of objects expected to show none of the candidates; 0 if each shows one;
            estimated from the scores unless given.
    """
    objects, candidates = scores.shape
    if objects == 0:
        return Decision(np.zeros(0, np.int64), np.zeros((0, candidates)))
    pieces = np.minimum(pieces, objects)  # there may be a million
    log_odds = calibration.log_ratios(scores, _others(scores, background), counts)
    if unknown == 0:
        # So high that an object has none only where no piece is left.
        log_odds += _CERTAIN - log_odds.min()
    else:
        if unknown is None:
            unknown = unknown_share(log_odds, None if independent else pieces)
        log_odds += known_log_odds(min(unknown, 1 - 1e-9))
        log_odds += log_prior(pieces, objects, independent)
    if independent:
        return _each_by_itself(log_odds)
    columns = np.repeat(np.arange(candidates), pieces)
    spread = log_odds[:, columns]
    # A pair that is less likely than none gains nothing: what is left with such a pair has none.
    gains = np.maximum(spread, 0.0)
    assigned = best_assignment(gains)
    taken = (assigned >= 0) & (gains[np.arange(objects), assigned] > 0)
    chosen = np.where(taken, columns[assigned], -1)
    shares = np.zeros((objects, candidates))
    np.add.at(shares.T, columns, marginals(spread).T)
    return Decision(chosen, np.clip(shares, 0.0, 1.0))


def _others(scores: Scores, background: Scores) -> Scores:
    """What to hold photos against: the background, and where that is too small, candidates too.

    If all items of a small catalogue are candidates, all but the nearest one of each photo.
    """
    if background.shape[1] >= _FEWEST_OTHERS:
        return background
    return np.concatenate([background, np.sort(scores, axis=1)[:, :-1]], axis=1)


def _each_by_itself(log_odds: Exact) -> Decision:
    total = np.logaddexp(np.logaddexp.reduce(log_odds, axis=1), 0.0)
    shares = np.exp(log_odds - total[:, None])
    likeliest = shares.argmax(axis=1)
    best = shares[np.arange(len(shares)), likeliest]
    return Decision(np.where(best >= 1 - shares.sum(axis=1), likeliest, -1), shares)
