"""Which photos are likely filed under a wrong item, and how many of which.

A network that was trained with wrong labels has learned some of them: it puts such a photo nearer
to its wrong item than it would put a new one. Two kinds of evidence are left. The photo lies
farther from the centroid of the others of its item than from that of the item it shows; and its
nearest photos are of that item. Both have to say so.

Shares of the nearest photos are probabilities that a photo had no part in, and so what confident
learning counts (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in
dataset labels"), with nearest neighbours as the classifier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.standings import Standings, usual_scores

Exact = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

NEIGHBOURS = 10
# Chosen on generated photos of seed 0 and grocery photos of seed 0 (benchmarks/RESULTS.md).
LEAST_LEAD = 0.5
_HALF_A_VOTE = 0.5 / NEIGHBOURS


class Votes(NamedTuple):
    """What the nearest photos of each photo say it shows.

    Attributes:
        own: float64 (photos,), the share of them that are of its own item.
        shown: int64 (photos,), the other item that most of them are of; the nearest of several;
            its own where all are of that.
        share: float64 (photos,), the share that are of it.
    """

    own: Exact
    shown: Indices
    share: Exact


def votes(neighbours: Indices, labels: Indices) -> Votes:
    """Count the nearest photos by their items.

    An item with few photos would be outvoted: of a photo of it only as many of the nearest count as
    there are others of its item, but three at least.

    Args:
        neighbours: int64 (photos, n), the nearest photos of each, the nearest first; -1 for none.
        labels: int64 (photos,), the item of each photo.
    """
    others = np.bincount(labels)[labels] - 1
    place = np.arange(neighbours.shape[1])
    counted = (neighbours >= 0) & (place < np.maximum(others, 3)[:, None])
    item = np.where(counted, labels[neighbours], -1)
    total = np.maximum(counted.sum(axis=1), 1)
    mine = item == labels[:, None]
    # How many of the nearest are of the same item as each of them.
    same = (item[:, :, None] == item[:, None, :]).sum(axis=2)
    strangers = np.where(counted & ~mine, same, 0)
    best = strangers.argmax(axis=1)
    rows = np.arange(len(labels))
    count = strangers[rows, best]
    shown = np.where(count > 0, item[rows, best], labels)
    return Votes(mine.sum(axis=1) / total, shown, count / total)


def farther(found: Standings, labels: Indices) -> Flags:
    """Which photos are clearly nearer to another item than to the others of their own.

    Near is what is near for a photo of that item: the photos of one item are more alike than those
    of another, so the score for each is taken less what is usual for it. Clearly is by more than
    scores usually differ from that.
    """
    if not found.rivals.shape[1]:
        return np.zeros(len(labels), np.bool_)
    usual, spread = usual_scores(found, labels)
    own = found.own - usual[labels]
    other = found.scores[:, 0] - usual[found.rivals[:, 0]]
    clearly: Flags = (found.own > -1) & (other - own > spread)
    return clearly


def mislabelled(clearly: Flags, counted: Votes) -> Flags:
    """Which photos seem to be under a wrong item: bool (photos,).

    Args:
        clearly: bool (photos,), from `farther`.
        counted: from `votes`.
    """
    wrong: Flags = clearly & (counted.share - counted.own > LEAST_LEAD - _HALF_A_VOTE)
    return wrong


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


def confident_counts(counted: Votes, clearly: Flags, labels: Indices) -> list[LabelCount]:
    """The confident joint of confident learning, but for its diagonal.

    A photo counts for the likelier of those items of which it confidently is: that have at least
    the probability that photos filed under them have of it on average. Counts are scaled to the
    photos of each item. Other than in the paper a photo counts for another item only if it is
    clearly nearer to it: photos of look-alikes would be counted as well.

    Args:
        counted: the probabilities.
        clearly: bool (photos,), from `farther`.
        labels: int64 (photos,), the item of each.

    Returns:
        Pairs of different items, the largest counts first.
    """
    items = int(labels.max(initial=-1)) + 1
    photos = np.bincount(labels, minlength=items)
    thresholds = np.bincount(labels, counted.own, items) / np.maximum(photos, 1) - 1e-12
    own = counted.own >= thresholds[labels]
    other = (counted.share >= thresholds[counted.shown]) & (counted.share > 0) & clearly
    moved = other & (~own | (counted.share > counted.own))
    of_item = np.bincount(labels[own | moved], minlength=items)
    pairs, counts = np.unique(
        np.stack([labels[moved], counted.shown[moved]], axis=1), axis=0, return_counts=True
    )
    result = [
        LabelCount(int(item), int(shown), int(count), float(count * photos[item] / of_item[item]))
        for (item, shown), count in zip(pairs, counts, strict=True)
        if item != shown
    ]
    return sorted(result, key=lambda one: (-one.photos, one.item, one.shown))
