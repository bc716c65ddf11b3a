"""Realistic variation of training photos: where the camera stood, what was in its way, the light.

The random numbers are drawn with numpy, all of them whatever is switched on, so that a seed decides
them and one variation more or less leaves the others as they are. Pillow changes the photos one by
one: that takes half the processor time of the same with Keras operations, compresses with a real
JPEG encoder, and can be done beside the training step.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from embedder.photos import FILL, Pixels
from embedder.training_options import Augmentation

Floats = npt.NDArray[np.float64]

NewBackground = tuple[Pixels, Image.Image]
"""The mask of an item in its photo, uint8 (source, source), and the RGB picture, of the size of the
result, to put behind it."""

EVERY = slice(None)

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma

_BLURRED = 0.25  # of the photos
_COMPRESSED = 0.25
_COVERED = 0.5  # as Zhong et al.
_BEST_QUALITY = 90  # of those compressed
_NARROWEST = 0.3  # proportions of a cover, as Zhong et al.


class Changes(NamedTuple):
    """What is done to each photo of a batch.

    Attributes:
        geometry: float64 (count, 8), as `PIL.Image.Transform.PERSPECTIVE` takes them.
        cover: int64 (count, 4), the covered rectangle: left, top, right, bottom; may be empty.
        cover_colour: uint8 (count, 3), what it is covered with ...
        cover_photo: int64 (count,), ... unless this is not -1: then pixels of that photo.
        colour: float64 (count, 3, 4): new red, green, blue are `colour @ [red, green, blue, 1]`.
        blur: float64 (count,), standard deviation in pixels; 0 for none.
        quality: int64 (count,), of JPEG compression; 0 for none.
    """

    geometry: Floats
    cover: npt.NDArray[np.int64]
    cover_colour: npt.NDArray[np.uint8]
    cover_photo: npt.NDArray[np.int64]
    colour: Floats
    blur: Floats
    quality: npt.NDArray[np.int64]


def draw_changes(
    rng: np.random.Generator,
    count: int,
    size: int,
    options: Augmentation,
    source: int | None = None,
) -> Changes:
    """Random changes of `count` photos of `source` px, `size` unless given, to some of `size`."""
    geometry = draw_geometry(rng, count, size, options, source)
    blurred, blur = rng.random((2, count))
    compressed, quality = rng.random((2, count))
    highest = max(options.jpeg, _BEST_QUALITY)
    return Changes(
        geometry,
        _draw_covers(rng, count, size, options.cover),
        rng.integers(0, 256, (count, 3), dtype=np.uint8),
        np.where(rng.random(count) < 0.5, -1, rng.integers(0, count, count)),
        draw_colour(rng, count, options),
        np.where(blurred < _BLURRED, blur * options.blur * size, 0.0),
        np.where(
            (compressed < _COMPRESSED) & (options.jpeg > 0),
            np.rint(options.jpeg + (highest - options.jpeg) * quality),
            0,
        ).astype(np.int64),
    )


def draw_geometry(
    rng: np.random.Generator,
    count: int,
    size: int,
    options: Augmentation,
    source: int | None = None,
) -> Floats:
    """Random perspective transforms (count, 8), as `PIL.Image.Transform.PERSPECTIVE` takes them.

    Each maps a place in the result to the place in the photo it is taken from: to the centre for
    the centre, but for the shift. Places are in pixels from the top left corner, in the result of
    those of `size`, in the photo of those of `source`, which is `size` unless given.
    """
    source = source or size
    angle = np.radians(rng.uniform(-options.rotation, options.rotation, count))
    scale = (1 + options.zoom) ** rng.uniform(-1, 1, count) / (1 + options.closer)
    stretch = (1 + options.stretch) ** rng.uniform(-0.5, 0.5, count)
    mirror = np.where(options.flip & (rng.random(count) < 0.5), -1.0, 1.0)
    shift = rng.uniform(-options.shift, options.shift, (count, 2)) * size
    tilt = rng.uniform(-options.perspective, options.perspective, (count, 2)) / (size / 2)
    moved = np.tile(np.eye(3), (count, 1, 1))
    moved[:, 0, 0] = np.cos(angle) * scale * stretch * mirror
    moved[:, 0, 1] = -np.sin(angle) * scale / stretch
    moved[:, 1, 0] = np.sin(angle) * scale * stretch * mirror
    moved[:, 1, 1] = np.cos(angle) * scale / stretch
    moved[:, :2, 2] = shift
    moved[:, 2, :2] = tilt
    from_centre, to_centre = np.eye(3), np.eye(3)
    from_centre[[0, 1], [0, 1]] = source / size
    from_centre[:2, 2], to_centre[:2, 2] = source / 2, -size / 2
    whole = from_centre @ moved @ to_centre
    flat: Floats = (whole / whole[:, 2:, 2:]).reshape(count, 9)[:, :8]
    return flat


def _draw_covers(
    rng: np.random.Generator, count: int, size: int, largest: float
) -> npt.NDArray[np.int64]:
    """Rectangles of "Random Erasing Data Augmentation" (Zhong et al. 2020), (count, 4)."""
    area = rng.uniform(0, largest, count) * size * size
    proportions = np.exp(rng.uniform(np.log(_NARROWEST), -np.log(_NARROWEST), count))
    sides = np.stack([np.sqrt(area * proportions), np.sqrt(area / proportions)], axis=1)
    sides = np.minimum(sides, size) * (rng.random((count, 1)) < _COVERED)
    corner = rng.random((count, 2)) * (size - sides)
    return np.concatenate([corner, corner + sides], axis=1).round().astype(np.int64)


def draw_colour(rng: np.random.Generator, count: int, options: Augmentation) -> Floats:
    """Random colour changes, (count, 3, 4): a 3x3 matrix and an offset for each photo."""
    contrast = 1 + rng.uniform(-options.contrast, options.contrast, (count, 1, 1))
    saturation = 1 + rng.uniform(-options.saturation, options.saturation, (count, 1, 1))
    tint = 1 + rng.uniform(-options.tint, options.tint, (count, 3, 1))
    brightness = 255 * rng.uniform(-options.brightness, options.brightness, (count, 1, 1))
    matrix = (saturation * np.eye(3) + (1 - saturation) * _GREY) * contrast * tint
    offset = (127.5 * (1 - contrast) + brightness) * np.ones((3, 1))
    return np.concatenate([matrix, offset], axis=2)


def change_photos(
    photos: Pixels,
    changes: Changes,
    behind: Sequence[NewBackground | None],
    size: int | None = None,
    rows: slice = EVERY,
) -> Pixels:
    """Apply drawn changes: uint8 (count, source, source, 3) -> (rows, size, size, 3).

    What comes into view from outside a photo has the colour of the padding, `FILL`, or is a part of
    the new background.

    Args:
        photos: as `prepare` makes them.
        changes: of `draw_changes`.
        behind: for each photo of `rows` the mask of its item and what to put behind it, or None.
        size: what the changes were drawn for; that of the photos unless given.
        rows: which of the photos to change; the others only cover parts of them.
    """
    size = size or photos.shape[1]
    wanted = range(len(photos))[rows]
    changed = np.empty((len(wanted), size, size, 3), np.uint8)
    for place, row in enumerate(wanted):
        geometry = changes.geometry[row]
        image = _moved(Image.fromarray(photos[row]), geometry, size, FILL)
        if (new := behind[place]) is not None:
            mask, background = new
            item = _moved(Image.fromarray(mask), geometry, size, 0)
            image = Image.composite(image, background, item)
        left, top, right, bottom = changes.cover[row].tolist()
        if left < right and top < bottom:
            other = int(changes.cover_photo[row])
            colour = tuple(changes.cover_colour[row].tolist())
            cover = colour if other < 0 else Image.fromarray(photos[other, top:bottom, left:right])
            image.paste(cover, (left, top, right, bottom))
        image = image.convert("RGB", changes.colour[row].ravel().tolist())
        if changes.blur[row] > 0:
            image = image.filter(ImageFilter.GaussianBlur(float(changes.blur[row])))
        if changes.quality[row] > 0:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=int(changes.quality[row]))
            image = Image.open(file)
        changed[place] = np.asarray(image)
    return changed


def _moved(
    image: Image.Image, geometry: Floats, size: int, fill: int | tuple[int, ...]
) -> Image.Image:
    # The affine transform is the faster one, where it is enough.
    tilted = geometry[6:].any()
    method = Image.Transform.PERSPECTIVE if tilted else Image.Transform.AFFINE
    numbers = geometry.tolist() if tilted else geometry[:6].tolist()
    bilinear = Image.Resampling.BILINEAR
    return image.transform((size, size), method, numbers, bilinear, fillcolor=fill)
