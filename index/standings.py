"""How each photo of a catalogue stands to its own item and to the nearest others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.score_space import fit_score_space, unit, within_scatter

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_MOST_SCORES = 2_000_000  # at once
_BLOCK = 100  # items


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
    centroids = unit(sums).astype(np.float32)
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
        found = asked @ centroids.T
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


def whitened(vectors: Floats, labels: Indices) -> Floats:
    """Vectors in the space in which photos of one item differ equally along all directions.

    As they are where there are too few photos to know how they differ.
    """
    items = int(labels.max(initial=-1)) + 1
    sums = np.zeros((items, vectors.shape[1]), np.float64)
    np.add.at(sums, labels, vectors)
    space = fit_score_space(*within_scatter(vectors, labels), unit(sums).astype(np.float32))
    return vectors if space is None else space.project(vectors)
