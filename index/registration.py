"""Whether two small pictures are the same but for light, a thin crop, and compression.

One is shifted and stretched, a little, until it lies on the other as well as it can: image
registration by Gauss-Newton on the squared difference (Lucas and Kanade 1981, "An iterative image
registration technique with an application to stereo vision"), with a shift and a scale an axis, and
gain and offset for the light. What is left is told by a correlation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Pictures = npt.NDArray[np.uint8]

MOST_WARP = 0.03  # of the side: how much may have been cut off
MOST_GAIN = 1.3  # or its inverse: how much lighter or darker, in contrast
_ROUNDS = 3
_EDGE = 2  # pixels that are not compared: there is nothing to lay on them
_WHITE = 245.0  # what is lighter may have been cut off at white
_FEWEST_COMPARED = 0.25  # of the pixels; where more are white, those are compared too
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def likeness(first: Pictures, second: Pictures) -> Floats:
    """How alike pairs of pictures are, at best.

    Args:
        first: uint8 (pairs, side, side, 3), each whole photo squeezed into a square.
        second: the same.

    Returns:
        float32 (pairs,): the correlation of their colours over all pixels, 1 for the same picture;
        0 where they differ more in contrast than `MOST_GAIN` or are of one colour only.
    """
    one, two = first.astype(np.float32), second.astype(np.float32)
    side = one.shape[1]
    warp: Floats = np.zeros((len(one), 4), np.float32)
    best = _correlation(one, two)
    for _ in range(_ROUNDS):
        warp = _step(_warped(one @ _GREY, warp / 2), _warped(two @ _GREY, -warp / 2), warp)
        np.clip(warp, -MOST_WARP * side, MOST_WARP * side, out=warp)
        best = np.maximum(best, _correlation(_warped(one, warp / 2), _warped(two, -warp / 2)))
    return best


def _axis(side: int) -> Floats:
    """Where pixels are, from -1 to 1."""
    return np.linspace(-1, 1, side, dtype=np.float32)


def _warped(pictures: Floats, warp: Floats) -> Floats:
    """Pictures (pairs, side, side, ...) shifted and stretched: linear interpolation."""
    side = pictures.shape[1]
    rows = np.arange(side, dtype=np.float32) + warp[:, 2:3] + warp[:, 3:4] * _axis(side)
    columns = np.arange(side, dtype=np.float32) + warp[:, :1] + warp[:, 1:2] * _axis(side)
    return _between(_between(pictures, rows).swapaxes(1, 2), columns).swapaxes(1, 2)


def _between(pictures: Floats, places: Floats) -> Floats:
    """The rows of pictures (pairs, side, ...) at places (pairs, side) between them."""
    last = pictures.shape[1] - 1
    places = np.clip(places, 0, last).astype(np.float32)
    low = np.minimum(places.astype(np.int64), last - 1)
    share = (places - low).reshape(*places.shape, *[1] * (pictures.ndim - 2))
    pair = np.arange(len(pictures))[:, None]
    found: Floats = pictures[pair, low] * (1 - share) + pictures[pair, low + 1] * share
    return found


def _step(one: Floats, two: Floats, warp: Floats) -> Floats:
    """A better warp of grey pictures (pairs, side, side), as far as their slopes say."""
    axis = _axis(one.shape[1])
    down, across = np.gradient((one + two) / 2, axis=(1, 2))
    slopes = (-across, -across * axis, -down, -down * axis[:, None])
    causes = np.stack([np.ones_like(one), two, *slopes], axis=-1)
    weights = _compared(np.maximum(one, two))[..., None]
    pairs = len(one)
    known = (_inside(causes) * weights).reshape(pairs, -1, 6)
    wanted = (_inside(one)[..., None] * weights).reshape(pairs, -1)
    products = known.swapaxes(1, 2) @ known
    # A picture without slopes says nothing about the warp, which then stays as it is.
    products += 1e-3 * np.eye(6, dtype=np.float32)
    moved = np.linalg.solve(products, known.swapaxes(1, 2) @ wanted[..., None])
    better: Floats = warp + moved[:, 2:, 0]
    return better


def _inside(pictures: Floats) -> Floats:
    return pictures[:, _EDGE:-_EDGE, _EDGE:-_EDGE]


def _compared(lightest: Floats) -> Floats:
    """1 for the pixels to compare and 0 for those that are white, without the edge."""
    compared = _inside(lightest) < _WHITE
    few = compared.mean(axis=(1, 2)) < _FEWEST_COMPARED
    weights: Floats = (compared | few[:, None, None]).astype(np.float32)
    return weights


def _correlation(one: Floats, two: Floats) -> Floats:
    """Of the colours of pictures (pairs, side, side, 3) as they lie on each other."""
    weights = _compared(np.maximum(one, two).max(axis=-1))[..., None]
    count = 3 * weights.sum(axis=(1, 2, 3))
    parts = []
    for pictures in (one, two):
        weighted = _inside(pictures) * weights
        mean = weighted.sum(axis=(1, 2, 3)) / count
        parts.append(((weighted - mean[:, None, None, None]) * weights).reshape(len(one), -1))
    squares = [np.einsum("pi,pi->p", part, part) for part in parts]
    products = np.einsum("pi,pi->p", *parts)
    lengths = np.sqrt(np.maximum(squares[0] * squares[1], 1e-6))
    gain = np.sqrt(np.maximum(squares[0], 1e-6) / np.maximum(squares[1], 1e-6))
    alike = (gain < MOST_GAIN) & (gain > 1 / MOST_GAIN)
    found: Floats = np.where(alike, products / lengths, 0.0).astype(np.float32)
    return found
