"""Photos that are like no item: black or blurred ones, and those that show something else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.standings import Standings

Exact = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_NORMAL = 1.4826  # the standard deviation of normal numbers, in median absolute deviations
_NARROWEST = 0.005  # cosine: differences below it say nothing


def oddness(found: Standings, labels: Indices) -> Exact:
    """How far each photo is from all items, in robust standard deviations.

    The cosine to the item that a photo is most like, whichever that is, against those that the
    photos of that item usually have: the distance from their median, in median absolute deviations
    of all photos of the catalogue from the median of their item. Wrong photos move neither much.
    But where training has put the photos of an item into one spot, a few are always far from it by
    that measure. So a photo is odd only if it is also less like any item than photos usually are
    like the nearest item that they do not show.

    Args:
        found: how photos stand to the items, by the cosines of the model itself: whitening makes
            small what all photos have in common, and so whether a photo has it.
        labels: int64 (photos,), the item of each.

    Returns:
        float64 (photos,); 0 for a photo that is not odd, and for the only one of its item.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    parts = np.split(found.own[order], starts[1:])
    usual = np.zeros(int(labels.max(initial=-1)) + 1)
    usual[labels[order][starts]] = [np.median(part) for part in parts]
    spread = max(_NARROWEST, _NORMAL * float(np.median(np.abs(found.own - usual[labels]))))
    nearest, score, stranger = labels, found.own, 1.0
    if found.rivals.shape[1]:
        rival = found.scores[:, 0]
        nearest = np.where(rival > found.own, found.rivals[:, 0], labels)
        score = np.maximum(found.own, rival)
        stranger = float(np.median(np.minimum(found.own, rival)))
    odd: Exact = np.maximum(usual[nearest] - score, 0.0).astype(np.float64) / spread
    odd[(score >= stranger) | (found.own <= -1)] = 0.0
    return odd
