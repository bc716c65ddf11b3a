"""From decisions to what people read: status, runner-up, and why something is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.deciding import Decision
from index.results import Alternative, Match, Status

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

MAX_ERROR = 0.05  # the probability of being wrong that a match may have
_ALTERNATIVES = 5


@dataclass(frozen=True)
class CandidateSet:
    """The items that can be in the photos.

    Attributes:
        ids: their ids.
        pieces: int64 (candidates,), how many there are of each.
        centroids: float32 (candidates, dim), unit norm, in the score space of the index.
        background: float32 (items, dim), the same for some items that are no candidates.
    """

    ids: tuple[str, ...]
    pieces: npt.NDArray[np.int64]
    centroids: Floats
    background: Floats

    def missing(self, matches: Sequence[Match]) -> dict[str, int]:
        """What no match was given: item ids, and how many pieces of each."""
        left = dict(zip(self.ids, self.pieces.tolist(), strict=True))
        for match in matches:
            if match.item_id is not None:
                left[match.item_id] -= 1
        return {item_id: count for item_id, count in left.items() if count > 0}


def describe(
    decision: Decision,
    scores: Exact,
    candidates: CandidateSet,
    max_error: float,
) -> list[Match]:
    """A match for each object, without a name yet.

    Args:
        decision: on the objects.
        scores: (objects, candidates).
        candidates: that the decision is about.
        max_error: the highest probability of being wrong that "matched" and "unknown" may have.
    """
    return [
        _describe(int(chosen), shares, row, candidates, max_error)
        for chosen, shares, row in zip(decision.chosen, decision.shares, scores, strict=True)
    ]


def _describe(
    chosen: int,
    shares: Exact,
    scores: Exact,
    candidates: CandidateSet,
    max_error: float,
) -> Match:
    order = np.lexsort((-scores, -shares))[:_ALTERNATIVES].tolist()
    if chosen >= 0 and chosen not in order:
        order[-1] = chosen
    others = [at for at in order if at != chosen]
    second = others[0] if others else None
    none = float(max(0.0, 1.0 - shares.sum()))
    confidence = none if chosen < 0 else float(shares[chosen])
    sure: Status = "unknown" if chosen < 0 else "matched"
    status: Status = sure if confidence >= 1 - max_error else "unsure"
    score = None if chosen < 0 else float(scores[chosen])
    runner_up_score = None if second is None else float(scores[second])
    doubtful = status == "unsure"
    return Match(
        photo="",
        item_id=None if chosen < 0 else candidates.ids[chosen],
        status=status,
        confidence=confidence,
        score=score,
        runner_up=None if second is None else candidates.ids[second],
        runner_up_score=runner_up_score,
        margin=None if score is None or runner_up_score is None else score - runner_up_score,
        none=none,
        reason=_doubt(chosen, second, shares, scores, candidates) if doubtful else None,
        alternatives=tuple(
            Alternative(candidates.ids[at], float(shares[at]), float(scores[at])) for at in order
        ),
    )


def _doubt(
    chosen: int, second: int | None, shares: Exact, scores: Exact, candidates: CandidateSet
) -> str:
    """Why a decision is doubtful, in a few words."""
    if chosen < 0:
        return f"may show {candidates.ids[int(shares.argmax())]}"
    if second is None or 1.0 - shares.sum() > shares[second]:
        return "far from every candidate"
    if shares[second] > shares[chosen]:
        return f"{candidates.ids[second]} is likelier by itself"
    alike = float(candidates.centroids[chosen] @ candidates.centroids[second])
    if alike > scores[chosen] / 2:
        return f"{candidates.ids[second]} is a look-alike item"
    return f"the margin to {candidates.ids[second]} is small"
