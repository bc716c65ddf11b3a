"""An index that is there, calibrated anew with photos that somebody took and sorted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embedder.catalogue import Catalogue
from embedder.errors import CatalogueError, PhotoError
from embedder.inference import Embedder
from embedder.labelled_vectors import LabelledVectors
from index.calibrating import FEWEST_PHOTOS, background, calibrate
from index.calibration import write_calibration
from index.database import refuse_other_model
from index.places import Where, place_of
from index.stores import AnyWritableStore, change_store


@dataclass(frozen=True)
class CalibrationReport:
    """What a calibration was fitted to.

    Attributes:
        photos: that it was fitted to.
        items: of those photos.
        unreadable: photos that could not be read.
        not_in_index: items that the index does not have; their photos are left out.
    """

    photos: int
    items: int
    unreadable: tuple[PhotoError, ...]
    not_in_index: tuple[str, ...]


def calibrate_index(
    path: Where,
    embedder: Embedder,
    photos: Catalogue,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationReport:
    """Fit the confidences of an index to photos whose items are known, and keep that in it.

    Args:
        path: of the index: a file, or the URL of a database.
        embedder: the model of the index.
        photos: by item; other photos than those of the catalogue.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos to embed).

    Raises:
        CatalogueError: fewer than 20 readable photos are of items of the index, or the index has
            fewer than three items.
        ModelError: the model is not that of the index.
        IndexFileError: the index is damaged, cannot be written, or is being written.
    """

    def change(store: AnyWritableStore) -> CalibrationReport:
        refuse_other_model(store.path, store.info, embedder.info.fingerprint)
        return _calibrate(store, embedder, photos, jobs, on_progress)

    return change_store(place_of(path), change, "a build")


def _calibrate(
    store: AnyWritableStore,
    embedder: Embedder,
    photos: Catalogue,
    jobs: int | None,
    on_progress: Callable[[int, int], None],
) -> CalibrationReport:
    indexed = store.statistics(photos.items)
    known = {item: found for item, found in photos.items.items() if item in indexed}
    items = [item for item, found in known.items() for _ in found]
    results = embedder.embed((path for found in known.values() for path in found), jobs)
    vectors, owners, bad = [], [], []
    for done, (item, result) in enumerate(zip(items, results, strict=True), start=1):
        on_progress(done, len(items))
        if isinstance(result, PhotoError):
            bad.append(result)
        else:
            vectors.append(result)
            owners.append(item)
    rows = np.array(vectors, np.float32).reshape(-1, store.info.dim)
    others = background(store)
    fitted = calibrate(store, LabelledVectors(rows, tuple(owners)), others, given=True)
    if fitted is None:
        raise CatalogueError(
            f"{photos.source}: expected {FEWEST_PHOTOS} or more readable photos of items of an "
            f"index of 3 items or more, found {len(owners)} photos and {len(store)} items: "
            "give more, by the ids of the index"
        )
    write_calibration(store, fitted, others)
    store.commit()
    missing = tuple(sorted(set(photos.items) - set(known)))
    return CalibrationReport(len(owners), len(set(owners)), tuple(bad), missing)
