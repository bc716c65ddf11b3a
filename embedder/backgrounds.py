"""What lies behind an item: finding it out, and drawing something else to put there.

A stock picture shows an item on white, a query shows it in a shop. Where a photo has transparent
pixels or a plain background, training can put other pictures behind the item, and an item that has
nothing but such a picture can be indexed by the mean of several views of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from scipy import ndimage

from embedder.errors import PhotoError, TrainingError
from embedder.parallel import ordered_map
from embedder.photo_names import list_photos
from embedder.photos import FILL, Photo, Pixels, flat, opened, pad, scaled
from embedder.sampling import evenly

Mask = npt.NDArray[np.uint8]

# Of 255, in any channel. The first at which the border is plain: white cartons differ by 8 from the
# white behind them, and the paper below an item photographed at home is not of one colour.
_TOLERANCES = (6, 16)
_PLAIN_BORDER = 0.75  # of the border; in natural photos it was never above 0.63
_LEAST, _MOST = 0.02, 0.98  # of the area: what covers less or more is no item on a background
_SOFTENING = 0.7  # pixels

MOST_PICTURES = 300  # to draw backgrounds from, held in memory
_LARGER = 1.5  # given pictures are kept larger than photos, for a part of one to be sharp
_GIVEN_SHARE = 0.75  # of backgrounds are parts of pictures, the others are generated

_NO_PICTURES: Pixels = np.zeros((0, 1, 1, 3), np.uint8)
_MOST_COPIES = 40  # of an item in a heap
_OVERLAP = 1.5  # times the area of the photo is pasted: copies lie on each other


def prepare_masked(photo: Photo, size: int) -> tuple[Pixels, Mask | None]:
    """A photo as `prepare` makes it, and its item's mask, uint8 (size, size), if one is found.

    Raises:
        PhotoError: as `prepare`.
    """
    with opened(photo, size) as image:
        small = scaled(flat(image), size)
        mask = foreground_mask(small if image.mode == "RGB" else scaled(image, size))
        pixels = np.asarray(pad(small, size, FILL))
    return pixels, None if mask is None else np.asarray(pad(Image.fromarray(mask), size, 0))


def foreground_mask(image: Image.Image) -> Mask | None:
    """Where the item is: uint8 (height, width), 0 for the background to 255, soft at the edge.

    The alpha channel of an RGBA image where it hides anything; else, all that a flood fill from the
    border does not reach through pixels of the border's colour. None where the border is not of one
    colour, or nearly nothing or nearly everything would be left.

    Args:
        image: RGB or RGBA, best not much larger than the network sees it.
    """
    if image.mode == "RGBA":
        alpha = np.asarray(image.getchannel("A"))
        if (alpha < 128).mean() >= _LEAST:
            return alpha if (alpha >= 128).mean() >= _LEAST else None
    pixels = np.asarray(flat(image)).astype(np.int16)
    distance = np.abs(pixels - np.median(_border(pixels), axis=0)).max(axis=2)
    for tolerance in _TOLERANCES:
        plain = distance <= tolerance
        if _border(plain).mean() >= _PLAIN_BORDER:
            break
    else:
        return None
    regions, _ = ndimage.label(plain)
    touching = np.unique(_border(regions))
    item = ~np.isin(regions, touching[touching > 0])
    if not _LEAST <= item.mean() <= _MOST:
        return None
    # Softened inwards only, or a rim of the old background would go along with the item.
    soft = ndimage.gaussian_filter(item.astype(np.float32), _SOFTENING, mode="nearest")
    mask: Mask = np.rint(255 * np.clip(2 * soft - 1, 0, 1)).astype(np.uint8)
    return mask


def _border(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])


def load_pictures(folder: Path, size: int) -> Pixels:
    """The photos directly in a folder as backgrounds, uint8 (pictures, side, side, 3).

    At most `MOST_PICTURES`, evenly chosen by name; those that cannot be read are left out.

    Raises:
        TrainingError: there is no such folder, or no readable photo in it.
    """
    side = round(size * _LARGER)

    def load(path: Path) -> Pixels | PhotoError:
        try:
            with opened(path, side) as image:
                return np.asarray(ImageOps.fit(flat(image), (side, side)))
        except PhotoError as error:
            return error

    paths = list_photos(folder) if folder.is_dir() else []
    loaded = list(ordered_map(load, (paths[at] for at in evenly(len(paths), MOST_PICTURES))))
    pictures = [picture for picture in loaded if not isinstance(picture, PhotoError)]
    if not pictures:
        raise TrainingError(
            f"{folder}: expected a folder of photos for backgrounds, found none: name another"
        )
    return np.stack(pictures)


def draw_background(rng: np.random.Generator, size: int, pictures: Pixels) -> Image.Image:
    """A random RGB background of `size`: mostly a part of one of the pictures, or a generated one.

    Args:
        rng: decides everything.
        size: side in pixels.
        pictures: uint8 (pictures, side, side, 3); may be empty.
    """
    generated = rng.random() >= _GIVEN_SHARE
    if len(pictures) and not generated:
        return _part(rng, size, Image.fromarray(pictures[rng.integers(len(pictures))]))
    make = (_gradient, _clouds, _shelves)[rng.integers(3)]
    return make(rng, size)


def item_views(rng: np.random.Generator, pixels: Pixels, mask: Mask | None, count: int) -> Pixels:
    """How an item could look in other places: uint8 (count, size, size, 3).

    In turn: where it is, smaller and elsewhere, and many copies of it, as fruit lies in a shop; on
    generated backgrounds. The mean of the vectors of such views is nearer to that of photos
    than the picture's own vector, even for a network that never saw a replaced background
    (benchmarks/stock_to_real.py).

    Args:
        rng: decides everything.
        pixels: uint8 (size, size, 3), of `prepare_masked`.
        mask: likewise; where it is None there is nothing to cut out, and all views are `pixels`.
        count: how many; best a multiple of three.
    """
    if mask is None or not (mask > 127).any():
        return np.repeat(pixels[None], count, axis=0)
    size = len(pixels)
    whole = Image.fromarray(np.dstack([pixels, mask]))
    item = whole.crop(_box(mask))
    views = np.empty((count, *pixels.shape), np.uint8)
    for number in range(count):
        view = draw_background(rng, size, _NO_PICTURES)
        if number % 3 == 0:
            view.paste(whole, mask=whole)
        elif number % 3 == 1:
            copy = _resized(item, size * rng.uniform(0.4, 0.9))
            left, top = rng.integers(0, size - np.array(copy.size) + 1).tolist()
            view.paste(copy, (left, top), copy)
        else:
            _heap(rng, view, item)
        views[number] = np.asarray(view)
    return views


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask > 127)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _resized(image: Image.Image, longest: float) -> Image.Image:
    scale = longest / max(image.size)
    width, height = (max(2, round(side * scale)) for side in image.size)
    return image.resize((width, height))


def _heap(rng: np.random.Generator, onto: Image.Image, item: Image.Image) -> None:
    """Paste copies of an RGBA item of about one size, each turned and shaded in its own way."""
    size = onto.width
    longest = rng.uniform(0.2, 0.6) * size
    area = item.width * item.height * (longest / max(item.size)) ** 2
    # Cartons stand in a row, fruit lies as it fell.
    turn = rng.uniform(0, 180) if rng.random() < 0.6 else 5.0
    for _ in range(min(_MOST_COPIES, int(_OVERLAP * size * size / area))):
        copy = _resized(item, longest * rng.uniform(0.85, 1.15))
        copy = copy.rotate(rng.uniform(-turn, turn), Image.Resampling.BILINEAR, expand=True)
        shade = rng.uniform(0.6, 1.1)
        shaded = copy.convert("RGB").point([min(255, round(v * shade)) for v in range(256)] * 3)
        left, top = (rng.uniform(-0.3, 1, 2) * size).astype(int).tolist()
        onto.paste(shaded, (left, top), copy.getchannel("A"))


def _part(rng: np.random.Generator, size: int, picture: Image.Image) -> Image.Image:
    # Of the middle: photos of 4:3 have padding above and below, or at the sides.
    middle = 0.75 * picture.width
    side = middle * rng.uniform(0.5, 1)
    left, top = (picture.width - middle) / 2 + rng.uniform(0, middle - side, 2)
    box = (left, top, left + side, top + side)
    part = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return ImageOps.mirror(part) if rng.random() < 0.5 else part


def _grow(colours: npt.NDArray[np.float64], size: int) -> Image.Image:
    coarse = Image.fromarray(np.clip(np.rint(colours), 0, 255).astype(np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def _gradient(rng: np.random.Generator, size: int) -> Image.Image:
    return _grow(rng.uniform(0, 255, (2, 2, 1)) * _tint(rng), size)


def _clouds(rng: np.random.Generator, size: int) -> Image.Image:
    cells = int(rng.integers(4, 13))
    around = rng.uniform(40, 215) + rng.normal(0, 40, (cells, cells, 1))
    return _grow(around * _tint(rng) + rng.normal(0, 10, (cells, cells, 3)), size)


def _tint(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.uniform(0.6, 1.2, 3)


def _shelves(rng: np.random.Generator, size: int) -> Image.Image:
    shelves = np.empty((size, size, 3), np.uint8)
    top = 0
    while top < size:
        height = max(2, int(size * rng.uniform(0.15, 0.5)))
        left = 0
        while left < size:
            width = max(2, int(size * rng.uniform(0.08, 0.3)))
            shelves[top : top + height, left : left + width] = rng.integers(0, 256, 3)
            left += width
        edge = max(1, height // 8)
        shelves[top : top + edge] = rng.integers(0, 256)
        top += height
    return Image.fromarray(shelves)
