"""P x K batches: P items with K photos each, so that every anchor has positives and negatives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def pk_batches(
    labels: Indices, items_per_batch: int, photos_per_item: int, steps: int, seed: list[int]
) -> Iterator[Indices]:
    """Batches of photo positions, the same for the same seed.

    Every item is used once before any is used again, and every photo of an item before one of its
    photos is used again, so few-photo items are reached as often as others. An item with fewer
    than K photos repeats them.

    Args:
        labels: int64 (photos,), the item of each photo as 0...items-1.
        items_per_batch: P; fewer where the catalogue has fewer items.
        photos_per_item: K.
        steps: how many batches.
        seed: numbers that decide the order, for instance [seed, epoch].

    Yields:
        int64 (P * K,), positions into `labels`, grouped by item.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    photos = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    per_batch = min(items_per_batch, len(photos))
    queues: list[list[int]] = [[] for _ in photos]
    waiting: list[int] = []
    for _ in range(steps):
        chosen, waiting = waiting[:per_batch], waiting[per_batch:]
        if len(chosen) < per_batch:
            again = rng.permutation(len(photos)).tolist()
            missing = per_batch - len(chosen)
            fill = [item for item in again if item not in chosen][:missing]
            waiting = [item for item in again if item not in fill]
            chosen += fill
        batch = [_draw(queues[item], photos[item], photos_per_item, rng) for item in chosen]
        yield np.concatenate(batch)


def _draw(queue: list[int], photos: Indices, count: int, rng: np.random.Generator) -> Indices:
    while len(queue) < count:
        again = rng.permutation(photos).tolist()
        # Those still waiting go last, so that a batch holds no photo twice unless it must.
        queue += sorted(again, key=set(queue).__contains__)
    drawn = queue[:count]
    del queue[:count]
    return np.array(drawn, dtype=np.int64)
