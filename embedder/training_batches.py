"""The batches that training learns from: drawn in order, varied on threads ahead of the step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.augmentation import EVERY, Changes, NewBackground, change_photos, draw_changes
from embedder.backgrounds import MOST_PICTURES, draw_background
from embedder.parallel import ordered_map
from embedder.photo_cache import PhotoCache
from embedder.photos import Pixels
from embedder.sampling import Indices, evenly, pk_batches
from embedder.training_options import TrainingOptions

_AHEAD = 2  # batches waiting for each thread: enough never to keep the step waiting


LookAlikes = Callable[[Indices], list[Indices]]


class Draw(NamedTuple):
    """Photos, and how each is varied."""

    rows: Indices
    changes: Changes
    backgrounds: npt.NDArray[np.int64]  # a seed for each photo; -1 to leave its background


def batches(
    options: TrainingOptions,
    cache: PhotoCache,
    usable: Indices,
    steps: int,
    epoch: int,
    look_alikes: LookAlikes | None = None,
    share: Callable[[int], slice] = lambda batch: EVERY,
) -> Generator[tuple[Pixels, Indices], None, None]:
    """The batches of one epoch, the same for the same seed, epoch and look-alikes.

    Everything random is decided here, in order; the work is done on other threads meanwhile.

    Args:
        options: P, K, seed and augmentation.
        cache: the photos.
        usable: int64, positions of the photos to train on.
        steps: how many batches.
        epoch: from 0.
        look_alikes: see `pk_batches`.
        share: which of a batch of so many photos are wanted here; all unless given.

    Yields:
        varied photos uint8 (share, side, side, 3) of the side trained at, and labels int64
        (batch,) of the whole batch; what `training_step` takes.
    """
    pictures = pictures_behind(options, cache, usable)

    def vary(draw: Draw) -> tuple[Pixels, Indices]:
        return vary_photos(options, cache, pictures, draw, share(len(draw.rows)))

    return ordered_map(
        vary, _draws(options, cache, usable, steps, epoch, look_alikes), ahead=_AHEAD
    )


def _draws(
    options: TrainingOptions,
    cache: PhotoCache,
    usable: Indices,
    steps: int,
    epoch: int,
    look_alikes: LookAlikes | None,
) -> Iterator[Draw]:
    rng = np.random.default_rng([options.seed, epoch, 1])
    # Apart from the others, for backgrounds to leave them as they are.
    generator = np.random.default_rng([options.seed, epoch, 3])
    for rows in batch_rows(options, cache, usable, steps, epoch, look_alikes):
        yield draw_variation(options, cache, rows, rng, generator)


def batch_rows(
    options: TrainingOptions,
    cache: PhotoCache,
    usable: Indices,
    steps: int,
    epoch: int,
    look_alikes: LookAlikes | None = None,
) -> Iterator[Indices]:
    """Which photos the batches of one epoch are of; takes what `batches` takes."""
    chosen = pk_batches(
        cache.labels[usable],
        options.items_per_batch,
        options.photos_per_item,
        range(epoch * steps, (epoch + 1) * steps),
        [options.seed],
        look_alikes,
    )
    return (usable[positions] for positions in chosen)


def draw_variation(
    options: TrainingOptions,
    cache: PhotoCache,
    rows: Indices,
    rng: np.random.Generator,
    generator: np.random.Generator,
) -> Draw:
    """How photos are to vary: all but their backgrounds from `rng`, those from `generator`."""
    size, source = options.side_trained_at, options.architecture.size
    changes = draw_changes(rng, len(rows), size, options.augmentation, source)
    replaced = generator.random(len(rows)) < options.augmentation.background
    replaced &= cache.mask_rows[rows] >= 0
    seeds = np.where(replaced, generator.integers(2**62, size=len(rows)), -1)
    return Draw(rows, changes, seeds)


def vary_photos(
    options: TrainingOptions,
    cache: PhotoCache,
    pictures: Pixels,
    draw: Draw,
    rows: slice = EVERY,
) -> tuple[Pixels, Indices]:
    """Photos of a draw, uint8 (rows, side, side, 3) of the side trained at, and the labels of all.

    Args:
        options: sides.
        cache: the photos.
        pictures: of `pictures_behind`.
        draw: of `draw_variation`.
        rows: which of its photos; all unless given.
    """
    size, masks = options.side_trained_at, cache.masks
    behind: list[NewBackground | None] = []
    masked = cache.mask_rows[draw.rows[rows]]
    for row, seed in zip(masked, draw.backgrounds[rows], strict=True):
        if seed < 0:
            behind.append(None)
        else:
            background = draw_background(np.random.default_rng(seed), size, pictures)
            behind.append((masks[row], background))
    photos = change_photos(cache.pixels[draw.rows], draw.changes, behind, size, rows)
    return photos, cache.labels[draw.rows]


def pictures_behind(options: TrainingOptions, cache: PhotoCache, usable: Indices) -> Pixels:
    """What to put behind items: those given, or photos of the catalogue that show more than one."""
    if len(cache.pictures) or not options.augmentation.background:
        return cache.pictures
    natural = usable[cache.mask_rows[usable] < 0]
    return cache.pixels[natural[evenly(len(natural), MOST_PICTURES)]]
