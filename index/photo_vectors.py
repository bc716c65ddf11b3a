"""The vectors of all photos of a catalogue, to measure and to look for mistakes with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue
from embedder.errors import PhotoError
from embedder.inference import Embedder
from index.database import refuse_other_model
from index.embedding import look_up_photos
from index.kept_photos import DamagedKeptError, KeptPhoto, KeptPhotos, kept_beside
from index.stores import AnyStore


class PhotoVectors(NamedTuple):
    """The readable photos of a catalogue.

    Attributes:
        items: the item of each photo, item by item.
        photos: the path of each.
        vectors: float32 (photos, dim), of unit norm.
        indexed: bool (photos,), whether it is one of those that the index was built from, as that
            item.
        unreadable: the others, and why.
        told: whether that is known, and not only taken from where the photos are.
    """

    items: tuple[str, ...]
    photos: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    indexed: npt.NDArray[np.bool_]
    unreadable: tuple[PhotoError, ...]
    told: bool = True


def photo_vectors(
    catalogue: Catalogue,
    embedder: Embedder,
    store: AnyStore,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PhotoVectors:
    """Embed the photos of a catalogue, but for those that a build kept beside the index.

    Changes nothing. Without what a build keeps, the photos of an index are those that are in its
    catalogue, by name.

    Args:
        catalogue: items and photos; of the index, or others.
        embedder: the model of the index.
        store: the index.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos in all).

    Raises:
        ModelError: the model is not that of the index, or cannot be run.
        IndexBusyError: another program holds what is kept beside the index.
    """
    refuse_other_model(store.path, store.info, embedder.info.fingerprint)
    built = _is_source(catalogue, store)
    total = sum(map(len, catalogue.items.values()))
    vectors = np.zeros((total, store.info.dim), np.float32)
    indexed = np.zeros(total, np.bool_)
    items: list[str] = []
    readable: list[str] = []
    unreadable: list[PhotoError] = []
    kept = KeptPhotos.look_up(kept_beside(store.path), store.info.fingerprint, store.info.dim)
    with kept or nullcontext():
        found = look_up_photos(catalogue, _known(kept), embedder, jobs, moved=not built)
        for done, (photo, path) in enumerate(zip(found, catalogue.paths(), strict=True), start=1):
            on_progress(done, total)
            if isinstance(photo.result, PhotoError):
                unreadable.append(photo.result)
                continue
            indexed[len(items)] = built if kept is None else not photo.new
            vectors[len(items)] = photo.result
            items.append(photo.item_id)
            readable.append(path)
    count = len(items)
    return PhotoVectors(
        tuple(items),
        tuple(readable),
        vectors[:count],
        indexed[:count],
        tuple(unreadable),
        kept is not None or built,
    )


def _is_source(catalogue: Catalogue, store: AnyStore) -> bool:
    """Whether an index was built from this catalogue, by where it is."""
    return catalogue.source.resolve() == Path(store.info.catalogue).resolve()


def _known(kept: KeptPhotos | None) -> Callable[[str], dict[bytes, KeptPhoto]]:
    def of_item(item_id: str) -> dict[bytes, KeptPhoto]:
        try:
            return {} if kept is None else kept.of_item(item_id)
        except DamagedKeptError:  # it is embedded again
            return {}

    return of_item
