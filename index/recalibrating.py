"""An index that is there, calibrated anew with photos that somebody took and sorted."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedder.catalogue import Catalogue
from embedder.errors import CatalogueError, IndexBusyError, PhotoError
from embedder.inference import Embedder
from embedder.labelled_vectors import LabelledVectors
from embedder.locking import only_process
from index.calibrating import FEWEST_PHOTOS, background, calibrate
from index.calibration import write_calibration
from index.store import Store


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
    path: str | os.PathLike[str],
    embedder: Embedder,
    photos: Catalogue,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> CalibrationReport:
    """Fit the confidences of an index to photos whose items are known, and keep that in it.

    Args:
        path: the index file.
        embedder: the model of the index.
        photos: by item; other photos than those of the catalogue.
        jobs: threads; all cores unless given.
        on_progress: called with photos done.

    Raises:
        CatalogueError: fewer than 20 readable photos are of items of the index, or the index has
            fewer than three items.
        IndexFileError: the index is damaged, cannot be written, or is being written.
    """
    path = Path(path)
    with only_process(path.with_name(f".{path.name}.lock")) as alone:
        if not alone:
            raise IndexBusyError(f"{path}: a build is writing it: wait for it to end")
        with Store.open(path, writable=True) as store:
            known = {item for item in photos.items if store.statistics(item) is not None}
            items = [item for item, of_item in photos.items.items() for _ in of_item]
            wanted = [at for at, item in enumerate(items) if item in known]
            paths = list(photos.paths())
            vectors, owners, bad = [], [], []
            results = embedder.embed((paths[at] for at in wanted), jobs)
            for done, (at, result) in enumerate(zip(wanted, results, strict=True), start=1):
                on_progress(done)
                if isinstance(result, PhotoError):
                    bad.append(result)
                else:
                    vectors.append(result)
                    owners.append(items[at])
            given = LabelledVectors(
                np.array(vectors, np.float32).reshape(-1, store.info.dim), tuple(owners)
            )
            others = background(store)
            fitted = calibrate(store, given, others, given=True)
            if fitted is None:
                raise CatalogueError(
                    f"{photos.source}: expected {FEWEST_PHOTOS} or more readable photos of items "
                    f"of an index of 3 items or more, found {len(owners)} photos and {len(store)} "
                    "items"
                )
            write_calibration(store, fitted, others)
            store.commit()
    missing = tuple(sorted(set(photos.items) - known))
    return CalibrationReport(len(owners), len(set(owners)), tuple(bad), missing)
