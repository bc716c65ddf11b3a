"""Hard-item mining: which items look alike, by what the network makes of them so far.

Two items that are hard to tell apart seldom meet in a batch drawn from a large catalogue, so most
negatives teach nothing. The centroid of every item is followed while training goes on, from the
vectors of the batches, which costs nothing more; batches are then drawn from neighbours (as Wang et
al. 2017, "How to Train Triplet Networks with 100K Identities?", do with clusters of identities).
"""

from __future__ import annotations

import numpy as np

from embedder.sampling import GROUP, Indices
from embedder.score_space import Floats, unit
from embedder.validation import centroids as mean_vectors

_NEW = 0.5  # weight of an item's latest photos: the network changes fast
_MINED_FROM = 4  # batches that it takes to see every item: with fewer, look-alikes meet by chance


def worth_mining(items: int, items_per_batch: int) -> bool:
    """Whether a catalogue is large enough for look-alikes seldom to meet by chance."""
    return items >= _MINED_FROM * items_per_batch


def follow(centroids: Floats, labels: Indices, vectors: Floats) -> None:
    """Move the centroids of a batch's items towards its vectors, in place.

    Args:
        centroids: (items, dim); zero for an item not seen yet, else of unit norm.
        labels: int64 (batch,), rows of `centroids`.
        vectors: float32 (batch, dim), unit norm.
    """
    items, rows = np.unique(labels, return_inverse=True)
    latest = mean_vectors(vectors, rows, len(items))
    centroids[items] = unit((1 - _NEW) * centroids[items] + _NEW * latest)


def nearest_items(centroids: Floats, items: Indices) -> list[Indices]:
    """For each of some items, itself and the items with the nearest centroids.

    Args:
        centroids: (items, dim), as `follow` keeps them.
        items: int64 (some,), rows of `centroids`.

    Returns:
        For each of them int64 (GROUP,) rows, or fewer where fewer were seen, itself first; an item
        that was not seen itself has no neighbours.
    """
    seen = np.linalg.norm(centroids, axis=1) > 0
    cosines = np.where(seen, centroids[items] @ centroids.T, -np.inf)
    cosines[~seen[items]] = -np.inf
    cosines[np.arange(len(items)), items] = np.inf
    count = min(GROUP, len(centroids))
    groups = []
    for row, near in zip(cosines, np.argpartition(-cosines, count - 1)[:, :count], strict=True):
        near = near[np.argsort(-row[near])]
        groups.append(near[row[near] > -np.inf])
    return groups
