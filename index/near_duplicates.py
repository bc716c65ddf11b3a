"""Photos that are there twice: as copies, or made smaller, lighter, darker or a little narrower.

Embeddings do not tell these: those of one item may all be alike. So the pixels are compared, of
photos that could belong to the same item: all pairs of these by small grey pictures, and those that
are alike then by `index.registration`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.errors import PhotoError
from embedder.parallel import ordered_map
from embedder.photos import flat, opened
from index.registration import likeness

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]

# Chosen on generated photos and on half of the grocery photos (benchmarks/audit.py, RESULTS.md):
# copies came out at .994 and above, other photos of the same items below .993.
LIKENESS = 0.993
_ROUGH_SIDE, _FINE_SIDE = 16, 32  # pixels
# Of the small grey pictures: without 2 % of its sides a copy has .96 and more.
_ROUGH_LIKENESS = 0.94
_PHOTOS_AT_ONCE = 2048  # of a group: all its pairs are compared
_PAIRS_AT_ONCE = 256
_FEWEST_GREYS = 1.0  # standard deviation, of 255: a photo of one colour is like all others


class Copies(NamedTuple):
    """Two photos that are the same.

    Attributes:
        first: the number of one of them.
        second: that of the other, higher.
        likeness: of their pixels, up to 1.
    """

    first: int
    second: int
    likeness: float


def near_duplicates(
    photos: Sequence[str],
    groups: Indices,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Copies]:
    """Find photos that are there twice.

    Args:
        photos: their paths.
        groups: int64 (photos, n), n different groups that each photo is in; photos that share none
            are not compared.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos in all).

    Returns:
        All pairs, by their numbers. A photo that cannot be read is like no other.
    """
    rough = np.zeros((len(photos), _ROUGH_SIDE**2), np.float32)
    drawn = ordered_map(partial(_small, side=_ROUGH_SIDE), photos, jobs)
    for at, picture in enumerate(drawn):
        if picture is not None:
            rough[at] = _standardised(picture)
        on_progress(at + 1, len(photos))
    found = []
    pairs = _alike(rough, groups)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        found += _confirmed(photos, pairs[start : start + _PAIRS_AT_ONCE], jobs)
    return found


def _small(photo: str, side: int) -> Pictures | None:
    """A whole photo squeezed into a square: uint8 (side, side, 3)."""
    try:
        # JPEGs are decoded at twice that size or more, or what is left would be blocks.
        with opened(photo, 4 * side) as image:
            small = flat(image).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
            return np.asarray(small)
    except PhotoError:
        return None


def _standardised(picture: Pictures) -> Floats:
    """Its greys (side * side,) with a mean of 0 and unit norm; all 0 if they are all the same."""
    greys = picture.astype(np.float32).mean(axis=-1).ravel()
    greys -= greys.mean()
    length = float(np.linalg.norm(greys))
    alike = length < _FEWEST_GREYS * _ROUGH_SIDE
    return np.zeros_like(greys) if alike else greys / length


def _alike(rough: Floats, groups: Indices) -> Indices:
    """Pairs (pairs, 2) of photos of one group whose small pictures are alike, in order."""
    members = groups.ravel()
    order = np.argsort(members, kind="stable")
    starts = np.flatnonzero(np.diff(members[order], prepend=-1))
    found = [np.zeros((0, 2), np.int64)]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end] // groups.shape[1]
        found += _alike_within(rough, rows)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _alike_within(rough: Floats, rows: Indices) -> Iterator[Indices]:
    for start in range(0, len(rows), _PHOTOS_AT_ONCE):
        part = rows[start : start + _PHOTOS_AT_ONCE]
        for other in range(start, len(rows), _PHOTOS_AT_ONCE):
            others = rows[other : other + _PHOTOS_AT_ONCE]
            one, two = np.nonzero(rough[part] @ rough[others].T > _ROUGH_LIKENESS)
            pairs = np.stack([part[one], others[two]], axis=1)
            yield pairs[pairs[:, 0] != pairs[:, 1]]


def _confirmed(photos: Sequence[str], pairs: Indices, jobs: int | None) -> list[Copies]:
    """Those of some pairs that are alike in detail, too."""
    used = np.unique(pairs).tolist()
    drawn = ordered_map(partial(_small, side=_FINE_SIDE), (photos[at] for at in used), jobs)
    pictures = dict(zip(used, drawn, strict=True))
    there = [
        (one, two)
        for one, two in pairs.tolist()
        if pictures[one] is not None and pictures[two] is not None
    ]
    if not there:
        return []
    first, second = (np.stack([pictures[pair[side]] for pair in there]) for side in (0, 1))
    alike = likeness(first, second)
    return [
        Copies(one, two, float(value))
        for (one, two), value in zip(there, alike, strict=True)
        if value >= LIKENESS
    ]


def same_file(first: str, second: str) -> bool:
    """Whether two files have the same bytes."""
    one, two = Path(first), Path(second)
    try:
        return one.stat().st_size == two.stat().st_size and one.read_bytes() == two.read_bytes()
    except OSError:
        return False
