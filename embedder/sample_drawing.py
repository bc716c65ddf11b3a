"""Draws the items of the sample catalogue, and photographs of them.

Each item is drawn once, at twice the size of a photo; a photo is then one warp of that drawing
put on a backdrop, with light, blur, noise and JPEG compression of its own.
"""

import math
from functools import lru_cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from embedder.sample_designs import (
    DARK,
    HOLE,
    ICONS,
    SHAPES,
    TRIM,
    Colour,
    Design,
    Points,
    design_of,
    hsv,
    is_light,
)

_PHOTO_STREAM = 3  # apart from the streams that designs are drawn from
_BACKDROPS = ((226, 226, 224), (212, 214, 218), (228, 222, 213), (200, 203, 204), (218, 225, 230))

Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


class _Pen:
    """Draws on an image in coordinates from -1 to 1, stretched as the design says."""

    def __init__(self, image: Image.Image, stretch: tuple[float, float]) -> None:
        self.half = image.width / 2
        self.draw = ImageDraw.Draw(image)
        self.stretch = stretch

    def pixels(self, points: Points) -> list[float]:
        return [(v * self.stretch[i % 2] + 1) * self.half for i, v in enumerate(points)]

    def shape(self, kind: str, points: Points, fill: int | Colour) -> None:
        xy = self.pixels(points)
        if kind == "poly":
            self.draw.polygon(xy, fill=fill)
        elif kind == "oval":
            self.draw.ellipse(xy, fill=fill)
        else:
            self.draw.rounded_rectangle(xy, 0.12 * self.half if kind == "round" else 0, fill=fill)

    def text(
        self, centre: tuple[float, float], width: float, height: float, word: str, fill: Colour
    ) -> None:
        """Writes a word as large as fits the width and height."""
        probe = _font(64)
        room = width * self.stretch[0] * self.half / probe.getlength(word)
        size = max(8, round(64 * min(room, height * self.stretch[1] * self.half / 64)))
        x, y = self.pixels(centre)
        # The built-in font is thin: a stroke keeps it readable in a small photo.
        self.draw.text((x, y), word, fill, _font(size), anchor="mm", stroke_width=size // 28)


def _draw_pattern(pen: _Pen, design: Design) -> None:
    colour = design.second
    if design.pattern == "band":
        pen.shape("rect", (-1, 0.5, 1, 1), colour)
    elif design.pattern == "halves":
        pen.shape("poly", (-1, 1, 1, 1, 1, -0.6, -1, 0.6), colour)
    elif design.pattern == "upright":
        for step in range(-4, 5):
            pen.shape("rect", (step / 4 - 0.05, -1, step / 4 + 0.05, 1), colour)
    elif design.pattern == "slanted":
        for step in range(-6, 7):
            x = step / 3
            pen.shape("poly", (x - 0.6, 1, x - 0.46, 1, x + 0.6, -1, x + 0.46, -1), colour)
    elif design.pattern == "dots":
        for row in range(-4, 5):
            for column in range(-4, 5):
                x, y = column / 4 + (row % 2) / 8, row / 4.5
                pen.shape("oval", (x - 0.06, y - 0.06, x + 0.06, y + 0.06), colour)


def _draw_label(pen: _Pen, design: Design) -> None:
    left, top, right, bottom = SHAPES[design.shape].label
    middle, width, height = (left + right) / 2, right - left, bottom - top
    plate = design.plate_colour
    if design.plate != "none":
        grow = 0.1 if design.plate == "oval" else 0.0
        box = (left - grow, top - grow, right + grow, bottom + grow)
        pen.shape(design.plate, box, plate)
    light = is_light(plate)
    accent = hsv(design.accent_hue, 0.7, 0.52 if light else 0.95)
    ink = hsv(design.accent_hue, 0, 0.13 if light else 0.96)
    icon_y, word_y = (0.27, 0.7) if design.icon_first else (0.72, 0.28)
    radius = 0.2 * height
    icon = tuple(
        value * radius + (top + icon_y * height if i % 2 else middle)
        for i, value in enumerate(ICONS[design.icon])
    )
    pen.shape("poly", icon, accent)
    word = "".join(design.word)
    pen.text((middle, top + word_y * height), 0.92 * width, 0.5 * height, word, ink)
    if design.stripe:
        edge = bottom if design.icon_first else top
        pen.shape("rect", (left, edge - 0.05, right, edge + 0.05), accent)


@lru_cache(maxsize=4)
def _grid(size: int) -> tuple[Floats, Floats, Floats]:
    """Coordinates x and y from -1 to 1 and their squared distance from 0; they broadcast."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    return x, y, x * x + y * y


def _shade(design: Design, alpha: Image.Image) -> Floats:
    """Light on the item, at most 1, shape (side, side): rounder things fall off to the right."""
    x, y, _ = _grid(alpha.width)
    if SHAPES[design.shape].is_round:
        light = 1 - np.float32(0.7) * (x + np.float32(0.16)) ** 2
    else:
        light = np.float32(0.92) - np.float32(0.05) * x - np.float32(0.03) * y
    # Darker rims give flat outlines some thickness.
    rim = np.asarray(alpha.filter(ImageFilter.BoxBlur(alpha.width / 40)), np.float32)
    return light * (np.float32(0.66) + np.float32(0.34 / 255) * rim)


def draw_item(seed: int, index: int, size: int) -> Image.Image:
    """Draws an item with its shadow on a transparent ground.

    Args:
        seed: The catalogue's seed.
        index: The item's place in the catalogue, from 0.
        size: Side in pixels of the photos that will be taken of it.

    Returns:
        A square image of mode "RGBa" (premultiplied) with sides of 2 * size pixels.
    """
    design = design_of(seed, index)
    side = 4 * size  # reduced by two below, which smooths the edges
    layers, print_ = Image.new("L", (side, side), HOLE), Image.new("RGB", (side, side), design.body)
    pen = _Pen(layers, design.stretch)
    for layer, kind, points in SHAPES[design.shape].parts:
        pen.shape(kind, points, layer)
    pen = _Pen(print_, design.stretch)
    _draw_pattern(pen, design)
    shadowed = (6 * design.body[0] // 10, 6 * design.body[1] // 10, 6 * design.body[2] // 10)
    for layer, colour in ((TRIM, design.trim), (DARK, shadowed)):
        print_.paste(colour, mask=layers.point([255 * (v == layer) for v in range(256)], "1"))
    _draw_label(pen, design)
    alpha = layers.point([255 * (v != HOLE) for v in range(256)]).reduce(2)
    cover = np.asarray(alpha, np.float32)
    fallen = Image.new("L", alpha.size)
    fallen.paste(alpha, (size // 16, size // 12))
    shadow = np.asarray(fallen.filter(ImageFilter.GaussianBlur(size / 14)), np.float32)
    planes = np.empty((4, 2 * size, 2 * size), np.float32)
    planes[:3] = np.asarray(print_.reduce(2)).transpose(2, 0, 1)
    planes[:3] *= _shade(design, alpha) * cover / 255
    planes[3] = cover + np.float32(0.42 / 255) * shadow * (255 - cover)
    return Image.frombytes("RGBa", alpha.size, _interleaved(planes))


def _interleaved(planes: Floats) -> bytes:
    """The bytes of an image given as planes of shape (channels, height, width), 0 to 255."""
    return planes.astype(np.uint8).transpose(1, 2, 0).tobytes()


def _warp(rng: np.random.Generator, size: int) -> Points:
    """A random pose: the 8 numbers that take a photo's pixels to those of the drawing."""
    angle = math.radians(rng.uniform(-25, 25))
    zoom_x = 1 / rng.uniform(0.8, 1.0)
    zoom_y = zoom_x * rng.uniform(0.95, 1.05)
    shear = rng.uniform(-0.1, 0.1)
    tilt_x, tilt_y = rng.uniform(-0.12, 0.12, 2).tolist()
    step = 2 / size
    left, top = (-1 + rng.uniform(-0.09, 0.09, 2)).tolist()
    cos, sin = math.cos(angle), math.sin(angle)
    rows = (
        (zoom_x * cos, zoom_x * (shear * cos - sin)),
        (zoom_y * sin, zoom_y * (shear * sin + cos)),
    )
    # Rows of the projective map from photo pixels to (-1..1) times w, and w itself.
    depth = (tilt_x * step, tilt_y * step, 1 + tilt_x * left + tilt_y * top)
    numbers: list[float] = []
    for a, b in rows:
        row = (a * step, b * step, a * left + b * top)
        numbers += [size * (u + w) / depth[2] for u, w in zip(row, depth, strict=True)]
    return (*numbers, depth[0] / depth[2], depth[1] / depth[2])


def photograph(drawing: Image.Image, seed: int, index: int, photo: int) -> bytes:
    """Takes one photo of an item: another pose, light, backdrop, blur, noise and quality.

    Args:
        drawing: What draw_item returned for this item.
        seed: The catalogue's seed.
        index: The item's place in the catalogue, from 0.
        photo: The photo's number among those of the item, from 0.

    Returns:
        A JPEG file of half the drawing's width and height.
    """
    size = drawing.width // 2
    rng = np.random.default_rng([seed, _PHOTO_STREAM, index, photo])
    warp = _warp(rng, size)
    item = drawing.transform(
        (size, size), Image.Transform.PERSPECTIVE, warp, Image.Resampling.BILINEAR
    ).filter(ImageFilter.BoxBlur(rng.uniform(0, 0.5) * size / 96))
    # Planes of one channel each, because numpy is slow along an axis of length 3.
    layers = np.asarray(item).transpose(2, 0, 1).astype(np.float32, order="C")
    x, y, far = _grid(size)
    ground = np.array(_BACKDROPS[rng.integers(len(_BACKDROPS))], np.float32) / 255
    slope, corner, across, down = rng.uniform(
        (-0.07, 0.03, -0.12, -0.12), (0.07, 0.1, 0.12, 0.12)
    ).astype(np.float32)
    backdrop = (255 - layers[3]) * (1 + slope * y - corner * far)
    pixels = layers[:3] + ground[:, None, None] * backdrop
    warmth, bright = rng.uniform(-0.07, 0.07), rng.uniform(0.78, 1.12)
    tint = np.array((bright * (1 + warmth), bright, bright * (1 - warmth)), np.float32)
    pixels *= tint[:, None, None]
    pixels *= 1 + across * x + down * y
    # Grey grain: JPEG would drop most of what differs between the colours.
    grain = np.float32(rng.uniform(1, 4))
    pixels += grain * rng.standard_normal((size, size), np.float32)
    file = BytesIO()
    image = Image.frombytes("RGB", (size, size), _interleaved(np.clip(pixels, 0, 255)))
    image.save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()
