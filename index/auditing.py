"""What is likely wrong with the photos of a catalogue, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue, photo_states
from embedder.errors import CatalogueError, PhotoError
from embedder.inference import Embedder
from embedder.photos import photo_name
from embedder.score_space import ScoreSpace
from index.calibration import Calibration, bent, read_calibration, uncalibrated
from index.findings import (
    Audit,
    Duplicate,
    FewPhotos,
    LookAlikes,
    Mislabelled,
    Outlier,
    Unreadable,
    WrongLabels,
)
from index.look_alikes import look_alikes
from index.looks import Looks, look_at
from index.mislabelled import (
    NEIGHBOURS,
    Votes,
    confident_counts,
    farther,
    mislabelled,
    votes,
)
from index.near_duplicates import Copies, near_duplicates, what_is_same
from index.neighbours import neighbours
from index.outliers import is_blurred, oddness, shows_nothing
from index.photo_vectors import PhotoVectors, photo_vectors
from index.standings import Standings, standings, whitened
from index.store import Store
from index.whitening import read_score_space

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

FEWEST_PHOTOS = 20  # of an item; README.md
# What chose these, and what they find: benchmarks/audit.py, RESULTS.md.
MOST_ODD = 6.0  # robust standard deviations
TOO_ODD = 9.0  # to show any item, whatever the nearest photos are of
LEAST_CONFUSION = 0.02
_LIKE_NONE = "like no item"
_RIVALS = 10
_NEAR = 5  # items that the nearest photos of a photo are looked for in
_COPIED = 2  # other items that a photo may be a copy of a photo of


def audit(
    catalogue: Catalogue,
    embedder: Embedder,
    store: Store,
    *,
    jobs: int | None = None,
    on_embedded: Callable[[int, int], None] = lambda done, total: None,
    on_compared: Callable[[int, int], None] = lambda done, total: None,
    on_confirmed: Callable[[int, int], None] = lambda done, total: None,
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
        on_confirmed: called with (pairs done, pairs in all) of photos that may be the same.

    Raises:
        CatalogueError: no photo can be read.
        IndexBusyError: another program holds what is kept beside the index.
        IndexFileError: the index is damaged.
        ModelError: the model is not that of the index, or cannot be run.
    """
    found = photo_vectors(catalogue, embedder, store, jobs=jobs, on_progress=on_embedded)
    return audit_photos(
        found,
        catalogue,
        Scoring.of(store),
        jobs=jobs,
        on_compared=on_compared,
        on_confirmed=on_confirmed,
    )


class Scoring(NamedTuple):
    """How an index scores.

    Attributes:
        space: the space of its scores; None for plain cosines.
        calibration: what its scores say.
    """

    space: ScoreSpace | None
    calibration: Calibration

    @classmethod
    def of(cls, store: Store) -> Scoring:
        """That of an index.

        Raises:
            IndexFileError: it is damaged.
        """
        found = read_calibration(store) or uncalibrated(store.info.temperature)
        return cls(read_score_space(store), found)

    def likelihood(self, scores: npt.NDArray[np.floating]) -> Exact:
        """Log likelihoods where there are two candidates, but for a constant."""
        return bent(scores, 1 / self.calibration.temperatures[0], self.calibration.bends[0])


def audit_photos(
    found: PhotoVectors,
    catalogue: Catalogue,
    scoring: Scoring,
    *,
    jobs: int | None = None,
    on_compared: Callable[[int, int], None] = lambda done, total: None,
    on_confirmed: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """`audit` of photos whose vectors are known.

    Args:
        found: the photos.
        catalogue: where they are from.
        scoring: of the index.
        jobs: threads; all cores unless given.
        on_compared: called with (photos done, photos in all) while pixels are compared.
        on_confirmed: called with (pairs done, pairs in all) of photos that may be the same.

    Raises:
        CatalogueError: no photo can be read.
    """
    if not found.items:
        why = f", such as {found.unreadable[0]}" if found.unreadable else ""
        raise CatalogueError(
            f"{catalogue.source}: expected photos that can be read, found none{why}"
        )
    ids = tuple(dict.fromkeys(found.items))
    number = {item: at for at, item in enumerate(ids)}
    photos = _Photos(ids, np.array([number[item] for item in found.items]), found.photos)
    labels = photos.labels
    looks = look_at(found.photos, jobs=jobs, on_progress=on_compared)
    everything = np.ones(len(labels), np.bool_)
    vectors = whitened(found.vectors, labels)
    standing = standings(vectors, labels, everything, _RIVALS)
    near = neighbours(vectors, labels, standing.rivals[:, :_NEAR], NEIGHBOURS)
    counted = votes(near, labels)
    odd = _oddness(standing, labels, looks)
    wrong = mislabelled(standing, counted, labels) & odd.may_show
    odd.reasons[wrong] = ""
    good = ~wrong & (odd.reasons == "")
    typical = _typical(standing, labels, good)
    groups = np.concatenate([labels[:, None], standing.rivals[:, :_COPIED]], axis=1)
    copies = near_duplicates(photos.paths, looks.rough, groups, jobs, on_confirmed)
    duplicates = _duplicates(copies, photos, wrong)
    return Audit(
        items=len(catalogue.items),
        photos=len(found.photos),
        mislabelled=_mislabelled(standing, counted, wrong, photos, typical),
        duplicates=duplicates,
        look_alikes=_look_alikes(found.vectors, scoring, good, photos, typical),
        outliers=_outliers(odd, photos, typical),
        few_photos=_few_photos(catalogue, photos, good, duplicates),
        unreadable=_unreadable(catalogue, found.unreadable),
        wrong_labels=tuple(
            WrongLabels(ids[one.item], ids[one.shown], one.photos, one.estimated)
            for one in confident_counts(counted, farther(standing, labels), labels)
        ),
    )


class _Photos(NamedTuple):
    ids: tuple[str, ...]
    labels: Indices
    paths: tuple[str, ...]

    def item(self, photo: int) -> str:
        return self.ids[int(self.labels[photo])]


class _Odd(NamedTuple):
    oddness: Exact
    reasons: npt.NDArray[np.str_]  # "" of a photo that is not odd
    may_show: Flags  # another item: not so odd that there is none that it shows


def _oddness(found: Standings, labels: Indices, looks: Looks) -> _Odd:
    odd, useless = oddness(found, labels), shows_nothing(looks) | is_blurred(looks)
    conditions = [shows_nothing(looks), is_blurred(looks), odd >= MOST_ODD]
    reasons = np.select(conditions, ["of one colour", "blurred", _LIKE_NONE], "")
    return _Odd(odd, reasons, ~useless & (odd < TOO_ODD))


def _typical(found: Standings, labels: Indices, good: Flags) -> Indices:
    """The photo of each item that is most like the others of it."""
    # Sorted by item, then by how typical: the last of each item wins.
    order = np.lexsort((found.own, good, labels))
    best = np.zeros(int(labels.max()) + 1, np.int64)
    best[labels[order]] = order
    return best


def _mislabelled(
    found: Standings, counted: Votes, wrong: Flags, photos: _Photos, typical: Indices
) -> tuple[Mislabelled, ...]:
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


def _outliers(odd: _Odd, photos: _Photos, typical: Indices) -> tuple[Outlier, ...]:
    rows = np.flatnonzero(odd.reasons != "").tolist()
    found = [
        Outlier(
            photos.paths[row],
            photos.item(row),
            str(odd.reasons[row]),
            float(odd.oddness[row]) if odd.reasons[row] == _LIKE_NONE else None,
            photos.paths[typical[photos.labels[row]]],
        )
        for row in rows
    ]
    found.sort(key=lambda one: (one.reason == _LIKE_NONE, -(one.oddness or 0.0), one.photo))
    return tuple(found)


def _look_alikes(
    vectors: Floats, scoring: Scoring, counted: Flags, photos: _Photos, typical: Indices
) -> tuple[LookAlikes, ...]:
    counts = np.bincount(photos.labels)
    known = vectors if scoring.space is None else scoring.space.project(vectors)
    found = standings(known, photos.labels, counted, _RIVALS)
    pairs = look_alikes(found, photos.labels, counted, scoring.likelihood, LEAST_CONFUSION)
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


def _duplicates(copies: Sequence[Copies], photos: _Photos, wrong: Flags) -> tuple[Duplicate, ...]:
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


def _few_photos(
    catalogue: Catalogue, photos: _Photos, good: Flags, duplicates: Sequence[Duplicate]
) -> tuple[FewPhotos, ...]:
    counts = dict.fromkeys(catalogue.items, 0)
    # Of two under different items nobody knows yet which one goes.
    gone = {(one.photo, one.item_id) for one in duplicates if one.item_id == one.of_item}
    for at in np.flatnonzero(good).tolist():
        counts[photos.item(at)] += (photos.paths[at], photos.item(at)) not in gone
    few = [FewPhotos(item, count) for item, count in counts.items() if count < FEWEST_PHOTOS]
    return tuple(sorted(few, key=lambda one: (one.photos, one.item_id)))


def _unreadable(catalogue: Catalogue, errors: Sequence[PhotoError]) -> tuple[Unreadable, ...]:
    reasons = {error.photo: error.reason for error in errors}
    if not reasons:
        return ()
    return tuple(
        Unreadable(photo, item, reasons[name])
        for item, paths in catalogue.items.items()
        for photo, name in zip(paths, map(photo_name, paths), strict=True)
        if name in reasons
    )
