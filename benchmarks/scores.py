"""What scores say: right answers of each photo by itself, and of photos matched one to one."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from embedder.sampling import Indices
from embedder.score_space import Floats

DRAWS, CANDIDATES = 1000, 10


def right_of(scores: Floats) -> tuple[int, int]:
    """How many rows find their own column, by themselves and one to one: square scores."""
    own = np.arange(len(scores))
    found = linear_sum_assignment(scores, maximize=True)[1]
    return int((scores.argmax(axis=1) == own).sum()), int((found == own).sum())


def among_items(truth: Indices, scores: Floats) -> list[float]:
    """Top-1, then right of 10 candidates with a photo each: each by itself, and one to one.

    Args:
        truth: (photos,), the right column of each photo.
        scores: (photos, items).
    """
    rng = np.random.default_rng(0)
    items = np.unique(truth)
    of_item = {item: np.flatnonzero(truth == item) for item in items.tolist()}
    alone = together = 0
    for _ in range(DRAWS):
        chosen = rng.choice(items, CANDIDATES, replace=False)
        photos = [rng.choice(of_item[item]) for item in chosen.tolist()]
        right = right_of(scores[np.ix_(photos, chosen)])
        alone, together = alone + right[0], together + right[1]
    total = DRAWS * CANDIDATES
    return [float((scores.argmax(axis=1) == truth).mean()), alone / total, together / total]
