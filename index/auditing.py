"""What is likely wrong with the photos of a catalogue, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue
from embedder.errors import CatalogueError
from embedder.inference import Embedder
from embedder.score_space import ScoreSpace, projected
from index.calibration import Calibration, bent, read_calibration, uncalibrated
from index.findings import Audit, WrongLabels
from index.listing import (
    LIKE_NONE,
    Photos,
    list_duplicates,
    list_few_photos,
    list_look_alikes,
    list_mislabelled,
    list_outliers,
    list_unreadable,
    typical_photos,
)
from index.look_alikes import Pair, look_alikes
from index.looks import Looks, look_at
from index.mislabelled import NEIGHBOURS, confident_counts, farther, mislabelled, votes
from index.near_duplicates import near_duplicates
from index.neighbours import neighbours
from index.outliers import is_blurred, oddness, shows_nothing
from index.photo_vectors import PhotoVectors, photo_vectors
from index.standings import Standings, standings, whitened
from index.stores import AnyStore
from index.whitening import read_score_space

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

# What chose these, and what they find: benchmarks/audit.py, RESULTS.md.
MOST_ODD = 6.0  # robust standard deviations
TOO_ODD = 9.0  # to show any item, whatever the nearest photos are of
LEAST_CONFUSION = 0.02
_RIVALS = 10
_NEAR = 5  # items that the nearest photos of a photo are looked for in
_COPIED = 2  # other items that a photo may be a copy of a photo of


def audit(
    catalogue: Catalogue,
    embedder: Embedder,
    store: AnyStore,
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
    def of(cls, store: AnyStore) -> Scoring:
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
    labels = np.array([number[item] for item in found.items])
    photos = Photos(ids, labels, found.photos)
    looks = look_at(found.photos, jobs=jobs, on_progress=on_compared)
    everything = np.ones(len(labels), np.bool_)
    vectors = whitened(found.vectors, labels)
    standing = standings(vectors, labels, everything, _RIVALS)
    near = neighbours(vectors, labels, standing.rivals[:, :_NEAR], NEIGHBOURS)
    counted, clearly = votes(near, labels), farther(standing, labels)
    odd = _oddness(standing, labels, looks)
    wrong = mislabelled(clearly, counted) & odd.may_show
    reasons = np.where(wrong, "", odd.reasons)
    good = ~wrong & (reasons == "")
    typical = typical_photos(standing, labels, good)
    groups = np.concatenate([labels[:, None], standing.rivals[:, :_COPIED]], axis=1)
    copies = near_duplicates(photos.paths, looks.rough, groups, jobs, on_confirmed)
    duplicates = list_duplicates(copies, photos, wrong)
    return Audit(
        items=len(catalogue.items),
        photos=len(found.photos),
        mislabelled=list_mislabelled(standing, counted, wrong, photos, typical),
        duplicates=duplicates,
        look_alikes=list_look_alikes(_pairs(found.vectors, labels, good, scoring), photos, typical),
        outliers=list_outliers(reasons, odd.oddness, photos, typical),
        few_photos=list_few_photos(catalogue, photos, good, duplicates),
        unreadable=list_unreadable(catalogue, found.unreadable),
        wrong_labels=tuple(
            WrongLabels(ids[one.item], ids[one.shown], one.photos, one.estimated)
            for one in confident_counts(counted, clearly, labels)
        ),
    )


def _pairs(vectors: Floats, labels: Indices, counted: Flags, scoring: Scoring) -> list[Pair]:
    """Items that look alike, as the index scores and not as an audit does."""
    found = standings(projected(vectors, scoring.space), labels, counted, _RIVALS)
    return look_alikes(found, labels, counted, scoring.likelihood, LEAST_CONFUSION)


class _Odd(NamedTuple):
    oddness: Exact
    reasons: npt.NDArray[np.str_]  # "" of a photo that is not odd
    may_show: Flags  # another item: not so odd that there is none that it shows


def _oddness(found: Standings, labels: Indices, looks: Looks) -> _Odd:
    odd, blank, blurred = oddness(found, labels), shows_nothing(looks), is_blurred(looks)
    conditions = [blank, blurred, odd >= MOST_ODD]
    reasons = np.select(conditions, ["of one colour", "blurred", LIKE_NONE], "")
    return _Odd(odd, reasons, ~blank & ~blurred & (odd < TOO_ODD))
