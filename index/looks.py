"""Photos made tiny: to compare all of a catalogue, and to see which show nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.errors import PhotoError
from embedder.parallel import ordered_map
from embedder.photos import flat, opened

Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]

_SIDE, _ROUGH_SIDE = 64, 16  # pixels
_FEWEST_GREYS = 1.0  # standard deviation, of 255: a photo of one colour is like all others


class Looks(NamedTuple):
    """What photos look like from afar.

    Attributes:
        rough: float16 (photos, 256), half a kilobyte each: grey pictures of 16 x 16 with
            a mean of 0 and unit norm; all 0 of one that is of one colour or cannot be read.
        contrast: float32 (photos,), standard deviation of the greys, of 255; NaN of a photo that
            cannot be read.
        sharpness: float32 (photos,), how much pixels differ from their neighbours (the mean
            absolute Laplacian at 64 x 64), as a share of the contrast; likewise.
    """

    rough: npt.NDArray[np.float16]
    contrast: Floats
    sharpness: Floats


def look_at(
    photos: Sequence[str],
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Looks:
    """Look at photos, each once.

    Args:
        photos: their paths.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos in all).
    """
    count = len(photos)
    rough = np.zeros((count, _ROUGH_SIDE**2), np.float16)
    contrast, sharpness = (np.full(count, np.nan, np.float32) for _ in range(2))
    for at, picture in enumerate(ordered_map(partial(squeezed, side=_SIDE), photos, jobs)):
        if picture is not None:
            greys = picture.astype(np.float32).mean(axis=-1)
            contrast[at] = greys.std()
            sharpness[at] = np.abs(_laplacian(greys)).mean() / max(_FEWEST_GREYS, contrast[at])
            rough[at] = _standardised(greys)
        on_progress(at + 1, count)
    return Looks(rough, contrast, sharpness)


def squeezed(photo: str, side: int) -> Pictures | None:
    """A whole photo squeezed into a square, uint8 (side, side, 3); None if it cannot be read."""
    try:
        # JPEGs are decoded at four times that size or more, or what is left would be blocks.
        with opened(photo, 4 * side) as image:
            small = flat(image).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
            return np.asarray(small)
    except PhotoError:
        return None


def _laplacian(greys: Floats) -> Floats:
    around = greys[:-2, 1:-1] + greys[2:, 1:-1] + greys[1:-1, :-2] + greys[1:-1, 2:]
    found: Floats = 4 * greys[1:-1, 1:-1] - around
    return found


def _standardised(greys: Floats) -> Floats:
    step = _SIDE // _ROUGH_SIDE
    rough = greys.reshape(_ROUGH_SIDE, step, _ROUGH_SIDE, step).mean(axis=(1, 3)).ravel()
    rough -= rough.mean()
    length = float(np.linalg.norm(rough))
    alike = length < _FEWEST_GREYS * _ROUGH_SIDE
    return np.zeros_like(rough) if alike else rough / length
