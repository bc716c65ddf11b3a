"""What is likely wrong with the photos of a catalogue, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue, photo_states
from embedder.errors import PhotoError
from embedder.inference import Embedder
from index.look_alikes import look_alikes
from index.mislabelled import Labels, confident_counts, judge_labels
from index.near_duplicates import Copies, near_duplicates, same_file
from index.outliers import oddness
from index.photo_vectors import PhotoVectors, photo_vectors
from index.standings import Standings, standings, whitened
from index.store import Store

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

FEWEST_PHOTOS = 20  # of an item; README.md
# What chose these, and what they find: benchmarks/audit.py, RESULTS.md.
LIKELY_WRONG = 0.5
MOST_ODD = 6.0  # robust standard deviations
LEAST_CONFUSION = 0.01
_RIVALS = 10
_NEAR = 2  # other items that a photo may be a copy of a photo of


@dataclass(frozen=True)
class Mislabelled:
    """A photo that likely shows another item.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        shown: the item it seems to show.
        probability: that it does not show its item.
        shown_photo: a typical photo of the item it seems to show.
    """

    photo: str
    item_id: str
    shown: str
    probability: float
    shown_photo: str


@dataclass(frozen=True)
class Duplicate:
    """A photo that is there already.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        of: the photo to keep.
        of_item: what that is filed under.
        likeness: of their pixels, up to 1; 1 for the same file.
        same_file: whether they have the same bytes.
    """

    photo: str
    item_id: str
    of: str
    of_item: str
    likeness: float
    same_file: bool


@dataclass(frozen=True)
class LookAlikes:
    """Two items that will be taken for each other.

    Attributes:
        item_id: the one that is taken for the other more often.
        other: that other one.
        confusion: the probability that a photo of the first is taken for the other, if these two
            are the candidates.
        reverse: the same the other way round.
        photo: the photo of the first that is most like the other.
        other_photo: a typical photo of the other.
        photos: how many the first has.
        other_photos: how many the other has.
    """

    item_id: str
    other: str
    confusion: float
    reverse: float
    photo: str
    other_photo: str
    photos: int
    other_photos: int


@dataclass(frozen=True)
class Outlier:
    """A photo that is like no item.

    Attributes:
        photo: its path.
        item_id: what it is filed under.
        oddness: how far it is from all items, in robust standard deviations.
        typical_photo: a typical photo of its item.
    """

    photo: str
    item_id: str
    oddness: float
    typical_photo: str


@dataclass(frozen=True)
class FewPhotos:
    """An item with too few photos.

    Attributes:
        item_id: its id.
        photos: how many can be read and are there once.
    """

    item_id: str
    photos: int


@dataclass(frozen=True)
class WrongLabels:
    """How many photos of one item show another, by confident learning.

    Attributes:
        item_id: what they are filed under.
        shown: what they seem to show.
        photos: that were counted.
        estimated: how many there are in all.
    """

    item_id: str
    shown: str
    photos: int
    estimated: float


@dataclass(frozen=True)
class Audit:
    """What an audit found; the worst of each kind first.

    Attributes:
        items: in the catalogue.
        photos: that were looked at.
        wrong_share: of labels that are wrong, as estimated for the catalogue as a whole.
        mislabelled: photos that likely show another item.
        duplicates: photos that are there already.
        look_alikes: pairs of items that will be taken for each other.
        outliers: photos that are like no item.
        few_photos: items with too few.
        unreadable: photos that could not be read, and why.
        wrong_labels: counts of photos that seem to show another item, by items.
    """

    items: int
    photos: int
    wrong_share: float
    mislabelled: tuple[Mislabelled, ...]
    duplicates: tuple[Duplicate, ...]
    look_alikes: tuple[LookAlikes, ...]
    outliers: tuple[Outlier, ...]
    few_photos: tuple[FewPhotos, ...]
    unreadable: tuple[PhotoError, ...]
    wrong_labels: tuple[WrongLabels, ...]


def audit(
    catalogue: Catalogue,
    embedder: Embedder,
    store: Store,
    *,
    jobs: int | None = None,
    on_embedded: Callable[[int, int], None] = lambda done, total: None,
    on_compared: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Look for what is likely wrong with the photos of a catalogue.

    Nothing is changed. The same photos give the same findings.

    Args:
        catalogue: items and photos.
        embedder: the model of the index.
        store: its index; photos that it was built from are not embedded again.
        jobs: threads; all cores unless given.
        on_embedded: called with (photos done, photos in all).
        on_compared: called with (photos done, photos in all) while pixels are compared.

    Raises:
        IndexBusyError: another program holds what is kept beside the index.
        ModelError: the model is not that of the index, or cannot be run.
    """
    found = photo_vectors(catalogue, embedder, store, jobs=jobs, on_progress=on_embedded)
    return audit_photos(found, tuple(catalogue.items), jobs=jobs, on_compared=on_compared)


def audit_photos(
    found: PhotoVectors,
    item_ids: Sequence[str],
    *,
    jobs: int | None = None,
    on_compared: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """`audit` of photos whose vectors are known.

    Args:
        found: the photos.
        item_ids: all items, also those without a photo that can be read.
        jobs: threads; all cores unless given.
        on_compared: called with (photos done, photos in all) while pixels are compared.
    """
    few = _few_photos
    if not found.items:
        return Audit(
            len(item_ids), 0, 0.0, (), (), (), (), few(item_ids, ()), found.unreadable, ()
        )
    ids, labels = np.unique(np.array(found.items, dtype=object), return_inverse=True)
    photos = _Photos(tuple(ids.tolist()), labels.astype(np.int64), found.photos)
    plain, white = _compare(found.vectors, photos.labels)
    judged = judge_labels(white, len(ids))
    odd = oddness(plain, photos.labels)
    wrong = (judged.wrong >= LIKELY_WRONG) & (odd < MOST_ODD)
    typical = _typical(white, photos.labels, ~wrong & (odd < MOST_ODD))
    groups = np.concatenate([photos.labels[:, None], white.rivals[:, :_NEAR]], axis=1)
    copies = near_duplicates(photos.paths, groups, jobs=jobs, on_progress=on_compared)
    duplicates = _duplicates(copies, photos, judged.wrong)
    gone = {one.photo for one in duplicates}
    left = [
        item
        for item, photo, bad in zip(found.items, found.photos, wrong | (odd >= MOST_ODD), strict=True)
        if photo not in gone and not bad
    ]
    return Audit(
        items=len(item_ids),
        photos=len(found.photos),
        wrong_share=judged.share,
        mislabelled=_mislabelled(white, judged, wrong, photos, typical),
        duplicates=duplicates,
        look_alikes=_look_alikes(white, judged, ~wrong & (odd < MOST_ODD), photos, typical),
        outliers=_outliers(odd, photos, typical),
        few_photos=few(item_ids, left),
        unreadable=found.unreadable,
        wrong_labels=tuple(
            WrongLabels(photos.ids[one.item], photos.ids[one.shown], one.photos, one.estimated)
            for one in confident_counts(white, judged, photos.labels)
        ),
    )


class _Photos(NamedTuple):
    ids: tuple[str, ...]
    labels: Indices
    paths: tuple[str, ...]

    def item(self, photo: int) -> str:
        return self.ids[self.labels[photo]]


def _compare(vectors: Floats, labels: Indices) -> tuple[Standings, Standings]:
    """How photos stand to the items, by plain cosines and by whitened ones."""
    everything = np.ones(len(vectors), np.bool_)
    plain = standings(vectors, labels, everything, 1)
    return plain, standings(whitened(vectors, labels), labels, everything, _RIVALS)


def _typical(found: Standings, labels: Indices, good: Flags) -> Indices:
    """The photo of each item that is most like the others of it."""
    # Sorted by item, then by how typical: the last of each item wins.
    order = np.lexsort((found.own, good, labels))
    best = np.zeros(int(labels.max()) + 1, np.int64)
    best[labels[order]] = order
    return best


def _mislabelled(
    found: Standings, judged: Labels, wrong: Flags, photos: _Photos, typical: Indices
) -> tuple[Mislabelled, ...]:
    rows = np.flatnonzero(wrong)
    shown = found.rivals[rows, 0]
    listed = [
        Mislabelled(
            photos.paths[row],
            photos.item(row),
            photos.ids[other],
            float(judged.wrong[row]),
            photos.paths[typical[other]],
        )
        for row, other in zip(rows.tolist(), shown.tolist(), strict=True)
    ]
    lead = dict(zip(rows.tolist(), (found.scores[rows, 0] - found.own[rows]).tolist(), strict=True))
    order = sorted(range(len(rows)), key=lambda at: (-lead[int(rows[at])], listed[at].photo))
    return tuple(listed[at] for at in order)


def _outliers(odd: Exact, photos: _Photos, typical: Indices) -> tuple[Outlier, ...]:
    rows = np.flatnonzero(odd >= MOST_ODD)
    return tuple(
        Outlier(
            photos.paths[row],
            photos.item(row),
            float(odd[row]),
            photos.paths[typical[photos.labels[row]]],
        )
        for row in sorted(rows.tolist(), key=lambda row: (-odd[row], photos.paths[row]))
    )


def _look_alikes(
    found: Standings, judged: Labels, counted: Flags, photos: _Photos, typical: Indices
) -> tuple[LookAlikes, ...]:
    counts = np.bincount(photos.labels)
    pairs = look_alikes(found, photos.labels, counted, judged.temperature, LEAST_CONFUSION)
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


def _duplicates(copies: Sequence[Copies], photos: _Photos, wrong: Exact) -> tuple[Duplicate, ...]:
    """Of photos that are the same, directly or by way of others, one is kept.

    One whose item is not in doubt, if there is such; of these the largest file.
    """
    alike: dict[int, dict[int, float]] = {}
    for one, two, value in copies:
        alike.setdefault(one, {})[two] = value
        alike.setdefault(two, {})[one] = value
    found = []
    for group in _groups(alike):
        sizes = dict(zip(group, photo_states([photos.paths[at] for at in group]), strict=True))
        keep, *others = sorted(
            group, key=lambda at: (wrong[at] >= LIKELY_WRONG, -sizes[at][0], photos.paths[at])
        )
        for other in others:
            of = keep if keep in alike[other] else min(alike[other])
            found.append(
                Duplicate(
                    photos.paths[other],
                    photos.item(other),
                    photos.paths[of],
                    photos.item(of),
                    alike[other][of],
                    same_file(photos.paths[other], photos.paths[of]),
                )
            )
    # Those of different items first: one of the two is wrong.
    found.sort(key=lambda one: (one.item_id == one.of_item, -one.likeness, one.photo))
    return tuple(found)


def _groups(alike: dict[int, dict[int, float]]) -> list[list[int]]:
    """What hangs together."""
    seen: set[int] = set()
    groups = []
    for start in sorted(alike):
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            group.append(waiting.pop())
            new = alike[group[-1]].keys() - seen
            seen |= new
            waiting += new
        groups.append(sorted(group))
    return groups


def _few_photos(item_ids: Sequence[str], of_photos: Sequence[str]) -> tuple[FewPhotos, ...]:
    counts = dict.fromkeys(item_ids, 0)
    for item in of_photos:
        counts[item] += 1
    few = [FewPhotos(item, count) for item, count in counts.items() if count < FEWEST_PHOTOS]
    return tuple(sorted(few, key=lambda one: (one.photos, one.item_id)))
