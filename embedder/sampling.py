"""P x K batches: P items with K photos each, so that every anchor has positives and negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

GROUP = 8  # items of a batch that look alike


def pk_batches(
    labels: Indices,
    items_per_batch: int,
    photos_per_item: int,
    numbers: range,
    seed: list[int],
    look_alikes: Callable[[Indices], list[Indices]] | None = None,
) -> Iterator[Indices]:
    """Batches of photo positions, the same for the same arguments.

    Items come in rounds: each is used once before any is used again, but for those that fill up
    the last batch of a round. A round goes on over calls with consecutive numbers, so every item is
    reached however few batches one call draws. Within a call, every photo of an item is used before
    one of its photos is used again. An item with fewer than K photos repeats them.

    Args:
        labels: int64 (photos,), the item of each photo.
        items_per_batch: P; fewer where the catalogue has fewer items.
        photos_per_item: K.
        numbers: of the batches to draw, in one training.
        seed: numbers that decide the order.
        look_alikes: takes items, and gives for each one the items that look most like it, at most
            `GROUP` with itself. If given, every other batch consists of such groups.

    Yields:
        int64 (P * K,), positions into `labels`, grouped by item.
    """
    rng = np.random.default_rng([*seed, 0, numbers.start])
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order[0]] - 1))
    items, photos = labels[order[starts]], np.split(order, starts[1:])
    size = min(items_per_batch, len(photos))
    queues: list[list[int]] = [[] for _ in photos]
    first = numbers.start if look_alikes is None else -(-numbers.start // 2)
    whole = _rounds(len(photos), size, [*seed, 1], first)
    leaders = _rounds(len(photos), -(-size // GROUP), [*seed, 2], numbers.start // 2)
    for number in numbers:
        if look_alikes is not None and number % 2:
            groups = look_alikes(items[next(leaders)])
            likely = np.searchsorted(items, np.concatenate(groups))
            likely = np.concatenate([likely, rng.permutation(len(photos))])
            _, places = np.unique(likely, return_index=True)
            chosen = likely[np.sort(places)[:size]]
        else:
            chosen = next(whole)
        batch = [_draw(queues[item], photos[item], photos_per_item, rng) for item in chosen]
        yield np.concatenate(batch)


def _rounds(items: int, size: int, seed: list[int], first: int) -> Iterator[Indices]:
    """Random permutations of the items, cut into batches of `size`, from batch `first` on."""
    in_round = -(-items // size)
    number, place = divmod(first, in_round)
    while True:
        order = np.random.default_rng([*seed, number]).permutation(items)
        # Its first ones fill up the last batch, which they cannot be in already.
        order = np.concatenate([order, order[: in_round * size - items]])
        for start in range(place * size, len(order), size):
            yield order[start : start + size]
        number, place = number + 1, 0


def _draw(queue: list[int], photos: Indices, count: int, rng: np.random.Generator) -> Indices:
    while len(queue) < count:
        again = rng.permutation(photos).tolist()
        # Those still waiting go last, so that a batch holds no photo twice unless it must.
        queue += sorted(again, key=set(queue).__contains__)
    drawn = queue[:count]
    del queue[:count]
    return np.array(drawn, dtype=np.int64)


def evenly(count: int, most: int) -> Indices:
    """At most so many of the positions 0...count-1, evenly spread: int64 (at most `most`,)."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
