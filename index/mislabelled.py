"""Which photos are likely filed under a wrong item, and how many are.

Scores become probabilities of what a photo shows by a softmax. Its temperature is fitted to the
catalogue's own labels, which may be wrong: with some probability, the same for all photos, a label
is one drawn from the other items (the uniform noise channel, as in Lawrence and Schoelkopf 2001,
"Estimating a kernel Fisher discriminant in the presence of label noise"). Both numbers are fitted
at once by maximum likelihood, and the second says how many labels are wrong. Without it a few wrong
labels would make all probabilities look less sure, and wrong ones no longer stand out.

How many photos of which item show which other one is counted as confident learning does (Northcutt,
Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.sampling import evenly
from index.standings import Standings

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

_MOST_FITTED = 50_000  # photos: more would say the same
_STEEPEST, _FLATTEST = 1000.0, 1.0  # inverse temperatures
_LEAST_WRONG, _MOST_WRONG = 1e-6, 0.5  # shares
_STARTS = ((10.0, 0.02), (50.0, 0.02), (200.0, 0.02))


class Labels(NamedTuple):
    """What the labels of a catalogue are worth.

    Attributes:
        own: float64 (photos,), the probability that a photo shows its own item, as far as its
            pixels say.
        rivals: float64 (photos, n), the same of the other items in `Standings.rivals`.
        wrong: float64 (photos,), the probability that a label is wrong, as labels go here.
        share: of labels that are wrong, as fitted.
        temperature: of the softmax.
    """

    own: Exact
    rivals: Exact
    wrong: Exact
    share: float
    temperature: float


def judge_labels(found: Standings, items: int) -> Labels:
    """Fit how often labels are wrong, and say how likely it is of each.

    Args:
        found: how photos stand to the items.
        items: how many there are; with fewer than two no label can be wrong.
    """
    usable = np.flatnonzero(found.own > -1)  # an item's only photo says nothing about it
    if items < 2 or not len(usable):
        certain = np.ones(len(found.own))
        return Labels(certain, np.zeros(found.scores.shape), 1 - certain, 0.0, 1.0)
    chosen = usable[evenly(len(usable), _MOST_FITTED)]
    slope, share = _fit(found.own[chosen], found.scores[chosen], items)
    own, rivals = _probabilities(found.own, found.scores, slope)
    right, wrong = _odds(own, share, items)
    probability = wrong / np.maximum(right + wrong, 1e-300)
    probability[found.own <= -1] = 0.0
    return Labels(own, rivals, probability, share, 1 / slope)


def _probabilities(own: Floats, rivals: Floats, slope: float) -> tuple[Exact, Exact]:
    logits = slope * np.concatenate([own[:, None], rivals], axis=1).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares[:, 0], shares[:, 1:]


def _odds(own: Exact, share: float, items: int) -> tuple[Exact, Exact]:
    """How likely each label is, being right, and being wrong."""
    return (1 - share) * own, share * (1 - own) / (items - 1)


def _fit(own: Floats, rivals: Floats, items: int) -> tuple[float, float]:
    """Inverse temperature and share of wrong labels with the highest likelihood."""
    from scipy.optimize import minimize

    def loss(parameters: Exact) -> float:
        slope, share = np.exp(parameters)
        right, wrong = _odds(_probabilities(own, rivals, slope)[0], share, items)
        return float(-np.log(np.maximum(right + wrong, 1e-300)).mean())

    bounds = np.log([(_FLATTEST, _STEEPEST), (_LEAST_WRONG, _MOST_WRONG)])
    found = min(
        (minimize(loss, np.log(start), method="Nelder-Mead", bounds=bounds) for start in _STARTS),
        key=lambda result: float(result.fun),
    )
    slope, share = np.exp(found.x)
    return float(slope), float(share)


class LabelCount(NamedTuple):
    """Photos of one item that seem to show another.

    Attributes:
        item: what they are filed under.
        shown: what they seem to show.
        photos: how many there are, as counted.
        estimated: how many there are in all, as estimated from that.
    """

    item: int
    shown: int
    photos: int
    estimated: float


def confident_counts(found: Standings, judged: Labels, labels: Indices) -> list[LabelCount]:
    """The confident joint of confident learning, but for its diagonal.

    A photo counts for the item that is likeliest of those it is confidently of: that have at least
    the probability that photos filed under them have of it on average. Counts are scaled to the
    photos of each item.

    Args:
        found: how photos stand to the items.
        judged: the probabilities.
        labels: int64 (photos,), the item of each.

    Returns:
        Pairs of different items, the largest counts first.
    """
    items = int(labels.max(initial=-1)) + 1
    photos = np.bincount(labels, minlength=items)
    thresholds = np.bincount(labels, judged.own, items) / np.maximum(photos, 1)
    columns = np.concatenate([labels[:, None], found.rivals], axis=1)
    shares = np.concatenate([judged.own[:, None], judged.rivals], axis=1)
    confident = np.where(shares >= thresholds[columns] - 1e-12, shares, -1.0)
    best = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    counted = confident[rows, best] >= 0
    shown = columns[rows, best]
    of_item = np.bincount(labels[counted], minlength=items)
    pairs, counts = np.unique(
        np.stack([labels[counted], shown[counted]], axis=1), axis=0, return_counts=True
    )
    result = [
        LabelCount(int(item), int(other), int(count), float(count * photos[item] / of_item[item]))
        for (item, other), count in zip(pairs, counts, strict=True)
        if item != other
    ]
    return sorted(result, key=lambda one: (-one.photos, one.item, one.shown))
