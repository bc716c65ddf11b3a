"""From what was computed about photos to findings: what is wrong with which photo of which item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue, photo_states
from embedder.errors import PhotoError
from embedder.photos import photo_name
from index.findings import Duplicate, FewPhotos, LookAlikes, Mislabelled, Outlier, Unreadable
from index.look_alikes import Pair
from index.mislabelled import Votes
from index.near_duplicates import Copies, what_is_same
from index.standings import Standings

Exact = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

FEWEST_PHOTOS = 20  # of an item; README.md
LIKE_NONE = "like no item"


class Photos(NamedTuple):
    """The photos that are looked at.

    Attributes:
        ids: of the items.
        labels: int64 (photos,), the item of each.
        paths: of each.
    """

    ids: tuple[str, ...]
    labels: Indices
    paths: tuple[str, ...]

    def item(self, photo: int) -> str:
        """The id of the item of a photo."""
        return self.ids[int(self.labels[photo])]


def typical_photos(found: Standings, labels: Indices, good: Flags) -> Indices:
    """The photo of each item that is most like the others of it."""
    # Sorted by item, then by how typical: the last of each item wins.
    order = np.lexsort((found.own, good, labels))
    best = np.zeros(int(labels.max()) + 1, np.int64)
    best[labels[order]] = order
    return best


def list_mislabelled(
    found: Standings, counted: Votes, wrong: Flags, photos: Photos, typical: Indices
) -> tuple[Mislabelled, ...]:
    """Photos that are called wrong, the clearest first."""
    lead = found.scores.max(axis=1, initial=-1.0) - found.own
    rows = sorted(np.flatnonzero(wrong).tolist(), key=lambda row: (-lead[row], photos.paths[row]))
    listed = []
    for row in rows:
        shown = int(counted.shown[row])
        listed.append(
            Mislabelled(
                photos.paths[row],
                photos.item(row),
                photos.ids[shown],
                float(counted.share[row]),
                float(counted.own[row]),
                photos.paths[typical[shown]],
            )
        )
    return tuple(listed)


def list_outliers(
    reasons: npt.NDArray[np.str_], oddness: Exact, photos: Photos, typical: Indices
) -> tuple[Outlier, ...]:
    """Photos that there is a reason against, those that show nothing first, then the oddest."""
    rows = np.flatnonzero(reasons != "").tolist()
    found = [
        Outlier(
            photos.paths[row],
            photos.item(row),
            str(reasons[row]),
            float(oddness[row]) if reasons[row] == LIKE_NONE else None,
            photos.paths[typical[photos.labels[row]]],
        )
        for row in rows
    ]
    found.sort(key=lambda one: (one.reason == LIKE_NONE, -(one.oddness or 0.0), one.photo))
    return tuple(found)


def list_look_alikes(
    pairs: Sequence[Pair], photos: Photos, typical: Indices
) -> tuple[LookAlikes, ...]:
    """Pairs of items, in their order."""
    counts = np.bincount(photos.labels)
    return tuple(
        LookAlikes(
            photos.ids[pair.first],
            photos.ids[pair.second],
            pair.confusion,
            pair.reverse,
            photos.paths[pair.photo],
            photos.paths[typical[pair.second]],
            int(counts[pair.first]),
            int(counts[pair.second]),
        )
        for pair in pairs
    )


def list_duplicates(
    copies: Sequence[Copies], photos: Photos, wrong: Flags
) -> tuple[Duplicate, ...]:
    """Copies of photos that are kept: each is one of the very photo that it names.

    Kept is one whose item is not in doubt, if there is such, and of these the largest file; a link
    is never kept in place of what it leads to.
    """
    alike: dict[int, dict[int, float]] = {}
    for one, two, value in copies:
        alike.setdefault(one, {})[two] = value
        alike.setdefault(two, {})[one] = value
    paths = photos.paths

    def worth(at: int) -> tuple[bool, bool, int, str]:
        size = photo_states([paths[at]])[0][0]
        return Path(paths[at]).is_symlink(), bool(wrong[at]), -size, paths[at]

    left = set(alike)
    found = []
    for keep in sorted(alike, key=worth):
        if keep not in left:
            continue
        left.discard(keep)
        for other in sorted(alike[keep].keys() & left):
            left.discard(other)
            found.append(
                Duplicate(
                    paths[other],
                    photos.item(other),
                    paths[keep],
                    photos.item(keep),
                    alike[keep][other],
                    what_is_same(paths[other], paths[keep]),
                )
            )
    # Those of different items first: one of the two is wrong.
    found.sort(key=lambda one: (one.item_id == one.of_item, -one.likeness, one.photo))
    return tuple(found)


def list_few_photos(
    catalogue: Catalogue, photos: Photos, good: Flags, duplicates: Sequence[Duplicate]
) -> tuple[FewPhotos, ...]:
    """Items with fewer photos of use than are good, those with the fewest first."""
    counts = dict.fromkeys(catalogue.items, 0)
    # Of two under different items nobody knows yet which one goes.
    gone = {(one.photo, one.item_id) for one in duplicates if one.item_id == one.of_item}
    for at in np.flatnonzero(good).tolist():
        counts[photos.item(at)] += (photos.paths[at], photos.item(at)) not in gone
    few = [FewPhotos(item, count) for item, count in counts.items() if count < FEWEST_PHOTOS]
    return tuple(sorted(few, key=lambda one: (one.photos, one.item_id)))


def list_unreadable(catalogue: Catalogue, errors: Sequence[PhotoError]) -> tuple[Unreadable, ...]:
    """Photos that cannot be read, with their items."""
    reasons = {error.photo: error.reason for error in errors}
    if not reasons:
        return ()
    return tuple(
        Unreadable(photo, item, reasons[name])
        for item, paths in catalogue.items.items()
        for photo, name in zip(paths, map(photo_name, paths), strict=True)
        if name in reasons
    )
