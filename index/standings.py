"""How each photo of a catalogue stands to its own item and to the nearest others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.score_space import fit_score_space, projected, unit, within_scatter
from embedder.validation import centroids

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_MOST_SCORES = 2_000_000  # at once
_BLOCK = 100  # items
_NORMAL = 1.4826  # the standard deviation of normal numbers, in median absolute deviations


class Standings(NamedTuple):
    """What photos score.

    Attributes:
        own: float32 (photos,), the cosine to the centroid of the other photos of its item; -1
            where there are none.
        rivals: int64 (photos, n), the n nearest other items, the nearest first.
        scores: float32 (photos, n), the cosines to their centroids.
    """

    own: Floats
    rivals: Indices
    scores: Floats


def standings(vectors: Floats, labels: Indices, counted: Flags, rivals: int) -> Standings:
    """Compare each photo with all items, with its own as if it were not in it.

    Training has pulled all photos to their items, wrong ones too; a photo that is part of its own
    centroid besides is at home there whatever it shows.

    Args:
        vectors: (photos, dim), unit norm.
        labels: (photos,), the item of each, from 0.
        counted: bool (photos,), which photos make up the centroids.
        rivals: how many other items to name of each photo; all if there are fewer.
    """
    items = int(labels.max(initial=-1)) + 1
    sums = np.zeros((items, vectors.shape[1]), np.float64)
    np.add.at(sums, labels[counted], vectors[counted])
    known = unit(sums).astype(np.float32)
    count = min(rivals, items - 1)
    own = np.zeros(len(vectors), np.float32)
    nearest = np.zeros((len(vectors), count), np.int64)
    scores = np.zeros((len(vectors), count), np.float32)
    step = max(1, _MOST_SCORES // max(1, items))
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        asked, label = vectors[part], labels[part]
        rest = sums[label] - asked * counted[part, None]
        # What rounding leaves of nothing has a direction, too.
        alone = np.linalg.norm(rest, axis=1) < 1e-4
        own[part] = np.where(alone, -1.0, np.einsum("pd,pd->p", asked, unit(rest)))
        found = asked @ known.T
        found[np.arange(len(asked)), label] = -np.inf
        if count:
            nearest[part], scores[part] = _highest(found, count)
    return Standings(own, nearest, scores)


def _highest(values: Floats, count: int) -> tuple[Indices, Floats]:
    """The columns of the highest values of each row, the highest first, and these values."""
    rows, columns = values.shape
    width = min(_BLOCK, columns // count)
    # The highest are in as many blocks, those with the highest maxima: a fifth of the time.
    padded = np.full((rows, -(-columns // width) * width), -np.inf, np.float32)
    padded[:, :columns] = values
    blocks = padded.reshape(rows, -1, width)
    some = np.argpartition(blocks.max(axis=2), -count, axis=1)[:, -count:]
    inside = (some[:, :, None] * width + np.arange(width)).reshape(rows, -1)
    candidates = np.take_along_axis(padded, inside, axis=1)
    best = np.argpartition(candidates, -count, axis=1)[:, -count:]
    found = np.take_along_axis(candidates, best, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    chosen = np.take_along_axis(inside, np.take_along_axis(best, order, axis=1), axis=1)
    return chosen, np.take_along_axis(found, order, axis=1)


def usual_scores(found: Standings, labels: Indices) -> tuple[Exact, float]:
    """What photos of each item usually score for it, and how far scores usually are from that.

    Wrong photos move neither much.

    Returns:
        float64 (items,), the medians; and the median absolute deviation of all photos from that of
        their item, as a standard deviation of normal numbers.
    """
    usual = _medians(found.own, labels)
    return usual, _NORMAL * float(np.median(np.abs(found.own - usual[labels])))


def _medians(values: npt.NDArray[np.floating], labels: Indices) -> Exact:
    """The median of the values of each item's photos, 0 for an item without any."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    found = np.zeros(int(labels.max(initial=-1)) + 1)
    parts = np.split(values[order], starts[1:])
    found[labels[order][starts]] = [np.median(part) for part in parts if len(part)]
    return found


def whitened(vectors: Floats, labels: Indices) -> Floats:
    """Vectors in the space in which photos of one item differ equally along all directions.

    As they are where there are too few photos to know how they differ.
    """
    known = centroids(vectors, labels, int(labels.max(initial=-1)) + 1)
    space = fit_score_space(*within_scatter(vectors, labels), known)
    return projected(vectors, space)
