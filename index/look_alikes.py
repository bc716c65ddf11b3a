"""Which items will be taken for each other when both can be in a photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.standings import Standings

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


class Pair(NamedTuple):
    """Two items that look alike.

    Attributes:
        first: the one that is taken for the other more often.
        second: that other one.
        confusion: the probability that a photo of the first is taken for the second, if these two
            are the candidates.
        reverse: the same of a photo of the second; at most as high.
        photo: the photo of the first that is most like the second.
    """

    first: int
    second: int
    confusion: float
    reverse: float
    photo: int


def look_alikes(
    found: Standings,
    labels: Indices,
    counted: Flags,
    likelihood: Callable[[Floats], Exact],
    least: float,
) -> list[Pair]:
    """Estimate how often photos of each item are taken for its nearest others.

    Of two candidates the second has the probability that the index would give it, which is the
    logistic function of the difference of the log likelihoods; its mean over the photos of an item
    is the share that is expected to be taken for the other. Items that are not among the rivals of
    a photo count as 0.

    Args:
        found: how photos stand to the items, in the score space of the index.
        labels: int64 (photos,), the item of each.
        counted: bool (photos,), which photos say something: not those that seem mislabelled.
        likelihood: log likelihoods of scores, but for a constant.
        least: the lowest `confusion` of a pair that is returned.

    Returns:
        Pairs, the highest confusion first.
    """
    items = int(labels.max(initial=-1)) + 1
    usable = np.flatnonzero(counted & (found.own > -1))
    if not len(usable) or not found.rivals.shape[1]:
        return []
    own, scores = (part[usable].astype(np.float64) for part in (found.own, found.scores))
    lead = likelihood(own)[:, None] - likelihood(scores)
    taken = 1 / (1 + np.exp(np.clip(lead, -500, 500)))
    key = labels[usable, None] * items + found.rivals[usable]
    keys, place = np.unique(key, return_inverse=True)
    place = place.reshape(key.shape)
    photos = np.bincount(labels[usable], minlength=items)
    shares = np.bincount(place.ravel(), taken.ravel(), len(keys)) / photos[keys // items]
    share_of = dict(zip(keys.tolist(), shares.tolist(), strict=True))
    # The worst photo of each pair: the last one where they are sorted by how likely it is.
    order = np.argsort(taken.ravel(), kind="stable")
    worst = np.zeros(len(keys), np.int64)
    worst[place.ravel()[order]] = np.repeat(usable, key.shape[1])[order]
    pairs = []
    for at in np.flatnonzero(shares >= least):
        first, second = divmod(int(keys[at]), items)
        there, back = float(shares[at]), share_of.get(second * items + first, 0.0)
        if back < there or (back == there and first < second):
            pairs.append(Pair(first, second, there, back, int(worst[at])))
    return sorted(pairs, key=lambda pair: (-pair.confusion, pair.first, pair.second))
