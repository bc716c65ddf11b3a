"""The photos that each photo is most like, without comparing all with all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from embedder.score_space import cosines

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_MOST_ROWS = 512  # photos of an item at once
_MOST_OTHERS = 100_000  # photos that these are compared with


def neighbours(vectors: Floats, labels: Indices, rivals: Indices, count: int) -> Indices:
    """The nearest photos of each photo, of its own item and of those that look most like it.

    The photos of an item are compared with one another and with those of all items that are among
    the rivals of any of them.

    Args:
        vectors: (photos, dim), unit norm.
        labels: (photos,), the item of each, from 0.
        rivals: (photos, n), other items that each is like.
        count: how many to name.

    Returns:
        int64 (photos, count), the nearest first; -1 where there are no more.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(int(labels.max(initial=-1)) + 2))
    rows_of = [order[start:end] for start, end in pairwise(starts.tolist())]
    found = np.full((len(vectors), count), -1, np.int64)
    for item, rows in enumerate(rows_of):
        for start in range(0, len(rows), _MOST_ROWS):
            part = rows[start : start + _MOST_ROWS]
            items = [item, *np.unique(rivals[part]).tolist()]
            others = np.concatenate([rows_of[other] for other in items])[:_MOST_OTHERS]
            scores = cosines(vectors[part], vectors[others])
            scores[part[:, None] == others] = -np.inf  # itself
            nearest = np.argsort(-scores, axis=1, kind="stable")[:, :count]
            usable = np.isfinite(np.take_along_axis(scores, nearest, axis=1))
            found[part, : nearest.shape[1]] = np.where(usable, others[nearest], -1)
    return found
