"""What is expected before photos are looked at: how many show no candidate, and which piece."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Exact = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

EXPECTED_UNKNOWN = 0.1  # the share of photos that show none, before they are looked at

_WORTH = 5.0  # photos: how much that is trusted beside those that are looked at
_ROUNDS = 50


def log_prior(pieces: Indices, objects: int, independent: bool) -> float:
    """Log of how likely an object that shows a candidate is to show a certain one, before a look.

    By itself it is as likely one candidate as another. One to one, the n objects are one of
    N! / (N - n)! ways of giving them N pieces, all as likely; each object bears its share of that.

    Args:
        pieces: int64 (candidates,), how many there are of each.
        objects: how many are matched together.
        independent: each by itself.
    """
    if independent:
        return -float(np.log(len(pieces)))
    total = int(pieces.sum())
    placed = max(1, min(objects, total))
    return -float(np.log(total - np.arange(placed)).sum()) / placed


def unknown_share(log_ratios: Exact, pieces: Indices | None) -> float:
    """The likeliest share of objects that show no candidate, from the objects themselves.

    Expectation maximisation of a prior (Saerens, Latinne and Decaestecker 2002, "Adjusting the
    outputs of a classifier to new a priori probabilities"), held near a tenth by as much as five
    objects say.

    Args:
        log_ratios: (objects, candidates), from `Calibration.log_ratios`.
        pieces: int64 (candidates,), if no piece is in two objects: with more objects than pieces
            so many show none, whatever they look like.

    Returns:
        from 0 to 1, both excluded.
    """
    objects, candidates = log_ratios.shape
    evidence = np.logaddexp.reduce(log_ratios, axis=1) - np.log(candidates)
    share = EXPECTED_UNKNOWN
    for _ in range(_ROUNDS):
        none = 1 / (1 + np.exp(np.clip(evidence + known_log_odds(share), -700, 700)))
        share = (float(none.sum()) + EXPECTED_UNKNOWN * _WORTH) / (objects + _WORTH)
    least = 0.0 if pieces is None else 1 - int(pieces.sum()) / max(1, objects)
    return min(max(share, least), 1 - 1e-9)


def known_log_odds(share: float) -> float:
    """Log odds that an object shows a candidate, given the share that does not."""
    return float(np.log1p(-share) - np.log(share))
