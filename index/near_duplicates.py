"""Photos that are there twice: as copies, or made smaller, lighter, darker or a little narrower.

Embeddings do not tell these: those of one item may all be alike. So the pixels are compared, of
photos that could belong to the same item: all pairs of these by small grey pictures, and those that
are alike then by `index.registration`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.parallel import ordered_map
from index.looks import Pictures, squeezed
from index.registration import likeness

Indices = npt.NDArray[np.int64]
Rough = npt.NDArray[np.float16]

# Chosen on generated photos and on half of the grocery photos (benchmarks/audit.py, RESULTS.md):
# copies came out at .994 and above, other photos of the same items below .993.
LIKENESS = 0.993
_FINE_SIDE = 32  # pixels
# Of the small grey pictures: without 2 % of its sides a copy has .96 and more.
_ROUGH_LIKENESS = 0.94
_PHOTOS_AT_ONCE = 2048  # of a group: all its pairs are compared
_PAIRS_AT_ONCE = 256
_MOST_DRAWN = 8192  # pictures kept, of 3 kB each


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
    rough: Rough,
    groups: Indices,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Copies]:
    """Find photos that are there twice.

    Args:
        photos: their paths.
        rough: float16 (photos, n), small grey pictures of them, from `look_at`.
        groups: int64 (photos, n), n different groups that each photo is in; photos that share none
            are not compared.
        jobs: threads; all cores unless given.
        on_progress: called with (pairs looked at closely, pairs in all).

    Returns:
        All pairs, by their numbers. A photo that cannot be read is like no other.
    """
    found = []
    pairs = _alike(rough, groups)
    # A photo of a series may be in hundreds of pairs.
    drawn = lru_cache(_MOST_DRAWN)(partial(squeezed, side=_FINE_SIDE))
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        found += _confirmed(photos, pairs[start : start + _PAIRS_AT_ONCE], drawn, jobs)
        on_progress(min(start + _PAIRS_AT_ONCE, len(pairs)), len(pairs))
    return found


def _alike(rough: Rough, groups: Indices) -> Indices:
    """Pairs (pairs, 2) of photos of one group whose small pictures are alike, in order."""
    members = groups.ravel()
    order = np.argsort(members, kind="stable")
    starts = np.flatnonzero(np.diff(members[order], prepend=-1))
    found = [np.zeros((0, 2), np.int64)]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end] // groups.shape[1]
        found += _alike_within(rough, rows)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _alike_within(rough: Rough, rows: Indices) -> Iterator[Indices]:
    for start in range(0, len(rows), _PHOTOS_AT_ONCE):
        part = rows[start : start + _PHOTOS_AT_ONCE]
        small = rough[part].astype(np.float32)
        for other in range(start, len(rows), _PHOTOS_AT_ONCE):
            others = rows[other : other + _PHOTOS_AT_ONCE]
            one, two = np.nonzero(small @ rough[others].astype(np.float32).T > _ROUGH_LIKENESS)
            pairs = np.stack([part[one], others[two]], axis=1)
            yield pairs[pairs[:, 0] != pairs[:, 1]]


def _confirmed(
    photos: Sequence[str],
    pairs: Indices,
    draw: Callable[[str], Pictures | None],
    jobs: int | None,
) -> list[Copies]:
    """Those of some pairs that are alike in detail, too."""
    used = np.unique(pairs).tolist()
    drawn = ordered_map(draw, (photos[at] for at in used), jobs)
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


def what_is_same(first: str, second: str) -> Literal["file", "bytes", "look"]:
    """What is the same of two photos that look the same: see `findings.Duplicate`."""
    one, two = Path(first), Path(second)
    try:
        if one.samefile(two):
            return "file"
        same = one.stat().st_size == two.stat().st_size and one.read_bytes() == two.read_bytes()
    except OSError:
        return "look"
    return "bytes" if same else "look"
