"""Photos that are like no item: those of one colour, blurred ones, and those of something else.

Training puts black and blurred photos with their items if they are among its photos, so the first
two are told by their pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.looks import Looks
from index.standings import Standings, usual_scores

Exact = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

# On generated and grocery photos the least contrast was 17 and the least sharpness 0.13; of photos
# made black 2, of photos blurred by a twelfth of their side 0.06 at most.
LEAST_CONTRAST = 6.0
LEAST_SHARPNESS = 0.09

_NARROWEST = 0.005  # cosine: differences below it say nothing


def shows_nothing(looks: Looks) -> Flags:
    """Which photos are of one colour: bool (photos,)."""
    return looks.contrast < LEAST_CONTRAST


def is_blurred(looks: Looks) -> Flags:
    """Which photos are blurred so much that it is seen at 64 x 64: bool (photos,)."""
    return (looks.sharpness < LEAST_SHARPNESS) & ~shows_nothing(looks)


def oddness(found: Standings, labels: Indices) -> Exact:
    """How far each photo is from all items, in robust standard deviations.

    The cosine to the item that a photo is most like, whichever that is, against those that the
    photos of that item usually have: the distance from their median, in median absolute deviations
    of all photos of the catalogue from the median of their item. Wrong photos move neither much.
    But where training has put the photos of an item into one spot, a few are always far from it by
    that measure. So a photo is odd only if its cosine is also nearer to those that photos have to
    items they do not show than to those that they have to their own.

    Args:
        found: how photos stand to the items.
        labels: int64 (photos,), the item of each.

    Returns:
        float64 (photos,); 0 for a photo that is not odd, and for the only one of its item.
    """
    usual, spread = usual_scores(found, labels)
    nearest, score, halfway = labels, found.own, 1.0
    if found.rivals.shape[1]:
        rival = found.scores[:, 0]
        nearest = np.where(rival > found.own, found.rivals[:, 0], labels)
        score = np.maximum(found.own, rival)
        stranger = float(np.median(np.minimum(found.own, rival)))
        halfway = (stranger + float(np.median(found.own))) / 2
    odd: Exact = np.maximum(usual[nearest] - score, 0.0) / max(_NARROWEST, spread)
    odd[(score >= halfway) | (found.own <= -1)] = 0.0
    return odd
