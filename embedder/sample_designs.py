"""Chooses what the made-up products of the sample catalogue look like.

A design is a pure function of the seed and the item's index, whatever else is in the catalogue.
"""

import colorsys
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

Colour = tuple[int, int, int]
Points = tuple[float, ...]

# Second numbers of the random seeds, so that no two kinds of draw ever share a stream.
_DESIGN_STREAM, _TWIN_STREAM = 1, 2

HOLE, DARK, TRIM, BODY = 0, 85, 170, 255
_NEUTRALS = ((238, 236, 230), (52, 54, 60), (186, 152, 112), (232, 220, 192), (168, 172, 178))
_FIRST = (
    "Al",
    "Bo",
    "Cor",
    "De",
    "El",
    "Gal",
    "Jun",
    "Lu",
    "Mer",
    "Nor",
    "Pal",
    "Ri",
    "Sol",
    "Zel",
)
_LAST = ("ba", "den", "dix", "fo", "ka", "mo", "nu", "pex", "ra", "sto", "ti", "va", "wy", "zo")


def _radial(radii: Points, repeats: int) -> Points:
    """Corner coordinates (x, y, x, y, ...) at equal angles whose radii repeat, from the top."""
    count = len(radii) * repeats
    points: list[float] = []
    for step in range(count):
        angle = 2 * math.pi * step / count - math.pi / 2
        radius = radii[step % len(radii)]
        points += [radius * math.cos(angle), radius * math.sin(angle)]
    return tuple(points)


class Shape(NamedTuple):
    """Parts painted in order as (layer, kind, coordinates), in a square from -1 to 1."""

    parts: tuple[tuple[int, str, Points], ...]
    label: tuple[float, float, float, float]
    is_round: bool = False


_CENTRE = (-0.5, -0.32, 0.5, 0.34)
_GEAR, _HEXAGON, _OCTAGON = _radial((0.9, 0.9, 0.74, 0.74), 9), _radial((1,), 6), _radial((1,), 8)
_BOTTLE = (0.15, -0.62, 0.2, -0.35, 0.44, -0.1, 0.44, 0.85)
_SHIRT = (0, -0.58, 0.16, -0.72, 0.38, -0.7, 0.88, -0.3, 0.66, 0, 0.48, -0.14, 0.48, 0.8)
_HEART = (0, -0.5, 0.2, -0.8, 0.55, -0.78, 0.8, -0.58, 0.88, -0.25, 0.74, 0.12, 0.4, 0.5, 0, 0.9)


def _mirrored(points: Points) -> Points:
    """The outline with the given right half, its left half mirrored."""
    pairs = [(-points[i], points[i + 1]) for i in range(len(points) - 2, -1, -2)]
    return points + tuple(value for pair in pairs for value in pair)


def _scaled(points: Points, factor: float) -> Points:
    return tuple(factor * value for value in points)


# fmt: off
SHAPES = (
    # box
    Shape(((BODY, "rect", (-0.62, -0.5, 0.48, 0.78)),
          (DARK, "poly", (0.48, -0.5, 0.68, -0.66, 0.68, 0.6, 0.48, 0.78)),
          (TRIM, "poly", (-0.62, -0.5, -0.4, -0.66, 0.68, -0.66, 0.48, -0.5))),
          (-0.54, -0.2, 0.4, 0.46)),
    # gable carton
    Shape(((BODY, "rect", (-0.46, -0.38, 0.46, 0.86)),
          (TRIM, "poly", (-0.46, -0.36, -0.3, -0.74, 0.3, -0.74, 0.46, -0.36)),
          (DARK, "rect", (-0.31, -0.88, 0.31, -0.74))), (-0.43, -0.14, 0.43, 0.54)),
    # bottle
    Shape(((BODY, "poly", _mirrored(_BOTTLE)), (TRIM, "round", (-0.19, -0.92, 0.19, -0.58))),
          (-0.44, 0, 0.44, 0.64), True),
    # can
    Shape(((BODY, "oval", (-0.5, 0.44, 0.5, 0.84)), (BODY, "rect", (-0.5, -0.64, 0.5, 0.64)),
          (DARK, "oval", (-0.5, -0.84, 0.5, -0.44)), (TRIM, "oval", (-0.44, -0.8, 0.44, -0.5))),
          (-0.5, -0.24, 0.5, 0.48), True),
    # jar
    Shape(((BODY, "round", (-0.6, -0.54, 0.6, 0.8)), (DARK, "rect", (-0.46, -0.6, 0.46, -0.5)),
          (TRIM, "round", (-0.52, -0.82, 0.52, -0.55))), (-0.52, -0.22, 0.52, 0.46), True),
    # tube
    Shape(((BODY, "poly", (-0.52, -0.88, 0.52, -0.88, 0.4, 0.58, -0.4, 0.58)),
          (TRIM, "round", (-0.34, 0.54, 0.34, 0.88))), (-0.44, -0.5, 0.44, 0.2), True),
    # pouch
    Shape(((BODY, "poly", (-0.52, -0.72, 0.52, -0.72, 0.64, 0.8, -0.64, 0.8)),
          (TRIM, "rect", (-0.54, -0.86, 0.54, -0.68))), (-0.48, -0.34, 0.48, 0.4)),
    # shopping bag
    Shape(((TRIM, "oval", (-0.36, -0.88, 0.36, 0.2)), (HOLE, "oval", (-0.25, -0.76, 0.25, 0.1)),
          (BODY, "poly", (-0.6, -0.34, 0.6, -0.34, 0.68, 0.82, -0.68, 0.82))),
          (-0.5, -0.12, 0.5, 0.58)),
    # mug
    Shape(((TRIM, "oval", (0.1, -0.42, 0.86, 0.48)), (HOLE, "oval", (0.3, -0.22, 0.68, 0.28)),
          (BODY, "round", (-0.68, -0.66, 0.44, 0.72)), (DARK, "oval", (-0.66, -0.72, 0.42, -0.5))),
          (-0.62, -0.32, 0.38, 0.38), True),
    # roll or ring
    Shape(((TRIM, "oval", (-0.88, -0.88, 0.88, 0.88)), (BODY, "oval", (-0.8, -0.8, 0.8, 0.8)),
          (HOLE, "oval", (-0.32, -0.7, 0.32, -0.06))), (-0.52, 0, 0.52, 0.56)),
    # soap
    Shape(((TRIM, "oval", (-0.9, -0.66, 0.9, 0.66)), (BODY, "oval", (-0.78, -0.55, 0.78, 0.55))),
          (-0.52, -0.34, 0.52, 0.34)),
    # book
    Shape(((BODY, "rect", (-0.6, -0.84, 0.62, 0.84)), (TRIM, "rect", (-0.6, -0.84, -0.4, 0.84))),
          (-0.32, -0.5, 0.54, 0.18)),
    # shirt
    Shape(((BODY, "poly", _mirrored(_SHIRT)),
          (TRIM, "poly", (0, -0.44, 0.22, -0.72, 0.12, -0.7, 0, -0.58, -0.12, -0.7, -0.22, -0.72))),
          (-0.42, -0.3, 0.42, 0.34)),
    # light bulb
    Shape(((TRIM, "round", (-0.26, 0.3, 0.26, 0.88)), (DARK, "rect", (-0.27, 0.62, 0.27, 0.7)),
          (BODY, "oval", (-0.66, -0.88, 0.66, 0.5))), (-0.5, -0.52, 0.5, 0.14), True),
    # six-sided tin
    Shape(((TRIM, "poly", _scaled(_HEXAGON, 0.9)), (BODY, "poly", _scaled(_HEXAGON, 0.77))),
          _CENTRE),
    # eight-sided tin
    Shape(((DARK, "poly", _scaled(_OCTAGON, 0.88)), (BODY, "poly", _scaled(_OCTAGON, 0.8))),
          _CENTRE),
    # star
    Shape(((BODY, "poly", _radial((0.98, 0.6), 5)),), (-0.42, -0.3, 0.42, 0.3)),
    # gear
    Shape(((DARK, "poly", _GEAR), (BODY, "oval", (-0.64, -0.64, 0.64, 0.64))), _CENTRE),
    # scalloped badge
    Shape(((BODY, "poly", _radial((0.9, 0.8), 16)),), _CENTRE),
    # heart
    Shape(((BODY, "poly", _mirrored(_HEART)),), (-0.5, -0.44, 0.5, 0.2)),
)
# fmt: on

_PLUS = (-0.3, -1, 0.3, -1, 0.3, -0.3, 1, -0.3, 1, 0.3, 0.3, 0.3)
ICONS = (
    _radial((0.9,), 24),
    _radial((1.1,), 3),
    _radial((1.1,), 4),
    _radial((1.15, 0.48), 5),
    _PLUS + _scaled(_PLUS, -1),
    (-1.3, -0.5, 1.3, -0.5, 1.3, 0.5, -1.3, 0.5),
)
_PATTERNS = ("plain", "plain", "band", "upright", "slanted", "dots", "halves")
_PLATES = ("rect", "round", "oval", "none")
_DETAILS = ("accent", "icon", "stripe", "trim")


@dataclass(frozen=True)
class Design:
    """All that sets one item apart from the others."""

    shape: int
    stretch: tuple[float, float]
    body: Colour
    second: Colour
    trim: Colour
    plate: str
    plate_colour: Colour
    accent_hue: float
    pattern: str
    icon: int
    icon_first: bool
    stripe: bool
    word: tuple[str, str]


def look_alike_of(index: int) -> int | None:
    """The item that the item with this index (from 0) was made to resemble.

    Every fifth item is a near twin of the item before it: the same shape and main colours, but
    another word on the label and one other small detail.

    Args:
        index: An item's place in the catalogue, from 0.

    Returns:
        The index of the earlier twin, or None for an item with a design of its own.
    """
    return index - 1 if index % 5 == 4 else None


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (1 is once round), saturation and value (0 to 1), as 0 to 255 each."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def is_light(colour: Colour) -> bool:
    """Whether dark print reads better on a colour than light print."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 135


def _main_colour(rng: np.random.Generator, hue: float) -> Colour:
    if rng.random() < 0.25:
        return _NEUTRALS[rng.integers(len(_NEUTRALS))]
    return hsv(hue, rng.uniform(0.25, 0.66), rng.uniform(0.42, 0.85))


def design_of(seed: int, index: int) -> Design:
    """Chooses how an item looks; a twin starts from the design of the item before it.

    Args:
        seed: The catalogue's seed.
        index: The item's place in the catalogue, from 0.

    Returns:
        The item's design, whatever else is in the catalogue.
    """
    twin_of = look_alike_of(index)
    if twin_of is not None:
        return _altered(
            design_of(seed, twin_of), np.random.default_rng([seed, _TWIN_STREAM, index])
        )
    rng = np.random.default_rng([seed, _DESIGN_STREAM, index])
    hue = rng.random()
    body = _main_colour(rng, hue)
    second = _main_colour(rng, hue + rng.choice((0.06, 0.12, 0.45, 0.58)))
    plate = _PLATES[rng.integers(len(_PLATES))]
    bright, dim = hsv(hue + 0.1, 0.06, 0.95), hsv(hue + 0.5, 0.35, 0.27)
    return Design(
        shape=int(rng.integers(len(SHAPES))),
        stretch=(rng.uniform(0.86, 1.04), rng.uniform(0.88, 1.03)),
        body=body,
        second=second,
        trim=_main_colour(rng, hue + 0.5) if rng.random() < 0.5 else second,
        plate=plate,
        plate_colour=body if plate == "none" else bright if rng.random() < 0.7 else dim,
        accent_hue=rng.random(),
        # A word printed straight onto a pattern could not be read.
        pattern="plain" if plate == "none" else _PATTERNS[rng.integers(len(_PATTERNS))],
        icon=int(rng.integers(len(ICONS))),
        icon_first=bool(rng.random() < 0.5),
        stripe=bool(rng.random() < 0.4),
        word=(_FIRST[rng.integers(len(_FIRST))], _LAST[rng.integers(len(_LAST))]),
    )


def _altered(design: Design, rng: np.random.Generator) -> Design:
    """A near twin: the word ends differently and one visible detail changes."""
    endings = [ending for ending in _LAST if ending != design.word[1]]
    twin = replace(design, word=(design.word[0], endings[rng.integers(len(endings))]))
    has_trim = any(layer == TRIM for layer, _, _ in SHAPES[design.shape].parts)
    detail = _DETAILS[rng.integers(len(_DETAILS) if has_trim else len(_DETAILS) - 1)]
    if detail == "accent":
        return replace(twin, accent_hue=design.accent_hue + rng.uniform(0.33, 0.67))
    if detail == "icon":
        return replace(twin, icon=(design.icon + int(rng.integers(1, len(ICONS)))) % len(ICONS))
    if detail == "stripe":
        return replace(twin, stripe=not design.stripe)
    level = 0.35 if is_light(design.trim) else 0.9
    return replace(twin, trim=hsv(rng.random(), 0.4, level))
