"""From vectors that were made elsewhere to an index file: with any network, without a model folder.

Such an index answers `Matcher.match_vectors` and `Matcher.nearest`; photos it cannot embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.catalogue import checked_id
from embedder.errors import CatalogueError
from embedder.labelled_vectors import LabelledVectors
from embedder.validation import DEFAULT_TEMPERATURE
from index.building import refuse_other_file, replacing
from index.database import only_writer, refuse_folder
from index.editing import refuse_known
from index.finishing import finish_ready_made
from index.matching import unit_rows
from index.places import DatabaseUrl, Place, Where, place_of
from index.rows import Item
from index.schema import ELSEWHERE, MOST_DIM, IndexInfo
from index.statistics import gather
from index.store_writing import WritableStore
from index.stores import AnyWritableStore, change_store

Floats = npt.NDArray[np.floating]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VectorsReport:
    """What was built.

    Attributes:
        items: in the index.
        photos: that they are of.
        whitened: whether scores are cosines of whitened vectors (`embedder.score_space`).
        calibrated: photos that the confidences are fitted to; 0 where there were too few.
    """

    items: int
    photos: int
    whitened: bool
    calibrated: int


def build_from_vectors(
    vectors: Floats,
    items: Sequence[str],
    path: Where = "items.index",
    *,
    held_out: tuple[Floats, Sequence[str]] | None = None,
) -> VectorsReport:
    """Build an index from vectors of photos; an index that is there is replaced in one step.

    Scores are whitened where that is better on photos that were held out for it: those given, or a
    tenth of each item's. Confidences are fitted to the photos given; without them to those of the
    index, each taken out of its item before it is compared with it. Where the network that made the
    vectors has learned from these very photos, they are nearer to each other than new ones will be,
    and confidences promise too much: give photos that it has not seen.

    Args:
        vectors: float (photos, dim), of any length but zero; scaled to unit norm here.
        items: the id of each photo's item, in any order.
        path: of the index: a file, or the URL of a database.
        held_out: vectors (photos, dim) and item ids of photos like those to be matched, which do
            not go into the index; 20 or more of at least three items of it.

    Raises:
        CatalogueError: there is no vector, or an id could not be a candidate.
        IndexFileError: the file cannot be written, or is being written.
        ValueError: the vectors are not (photos, dim), finite and other than zero, or not as many as
            the ids.
    """
    path = place_of(path)
    known = _labelled(vectors, items, None, path)
    if not known.items:
        raise CatalogueError(f"{path}: expected vectors of at least one item, found none")
    dim = known.vectors.shape[1]
    given = None if held_out is None else _labelled(*held_out, dim, path)
    if isinstance(path, DatabaseUrl):
        from index.publishing import build_shared

        return build_shared(path, lambda local: _replace(known, given, local))
    return _replace(known, given, path)


def _replace(known: LabelledVectors, given: LabelledVectors | None, path: Path) -> VectorsReport:
    refuse_folder(path)
    refuse_other_file(path)
    with only_writer(path, "another build"), replacing(path) as unfinished:
        return _build(known, given, unfinished)


def add_vectors(path: Where, item_id: str, vectors: Floats, *, replace: bool = False) -> int:
    """Add one item to an index of vectors, in place, as `index.editing.add_item` adds photos.

    Args:
        path: of the index: a file, or the URL of a database.
        item_id: of the item.
        vectors: float (photos, dim), made as those of the index were.
        replace: whether an item of that id may be there already.

    Returns:
        how many photos went into the item.

    Raises:
        CatalogueError: the index has the item, the id could not be a candidate, or there is no
            vector; the index is left as it was.
        IndexFileError: the index is damaged, cannot be written, or is being written.
        ModelError: the index is of photos, embedded with a model.
        ValueError: the vectors are not (photos, dim), finite and other than zero.
    """
    path = place_of(path)
    item_id = checked_id(item_id, str(path))

    def put(store: AnyWritableStore) -> int:
        refuse_known(store, ELSEWHERE, item_id, replace)
        found = _gathered(item_id, unit_rows(vectors, store.info.dim))
        if found is None:
            raise CatalogueError(f"item '{item_id}': expected a vector, found none")
        store.remove([item_id])
        store.put(found)
        store.commit()
        return found.photos

    return change_store(path, put)


def _labelled(
    vectors: Floats, items: Sequence[str], dim: int | None, path: Place
) -> LabelledVectors:
    """Checked, and in the order of the items."""
    array = np.asarray(vectors)
    shape = array.shape
    if len(shape) != 2 or len(items) != shape[0] or not 1 <= shape[1] <= MOST_DIM:
        raise ValueError(
            f"expected vectors (photos, dim) with an item id each, and dim from 1 to {MOST_DIM}, "
            f"got {shape} and {len(items)} ids"
        )
    if not all(isinstance(item, str) for item in items):
        raise ValueError("expected item ids as texts, got others: str(id) makes them")
    unit = unit_rows(array, dim or shape[1])
    forms = {item: checked_id(item, str(path)) for item in dict.fromkeys(items)}
    ids = [forms[item] for item in items]
    order = sorted(range(len(ids)), key=ids.__getitem__)  # photos of an item as they came
    return LabelledVectors(unit[order], tuple(ids[at] for at in order))


def _build(known: LabelledVectors, given: LabelledVectors | None, path: Path) -> VectorsReport:
    ids, starts = np.unique(np.array(known.items, dtype=object), return_index=True)
    parts = np.split(known.vectors, starts[1:])
    info = IndexInfo(ELSEWHERE, known.vectors.shape[1], DEFAULT_TEMPERATURE, "")
    with WritableStore.create(path, info) as store:
        for item, vectors in zip(ids.tolist(), parts, strict=True):
            found = _gathered(item, vectors)
            if found is not None:
                store.put(found)
        calibration = finish_ready_made(store, known, given=given)
        fitted = 0 if calibration is None else calibration.photos
        return VectorsReport(len(ids), len(known.items), store.info.whitened, fitted)


def _gathered(item: str, vectors: Vectors) -> Item | None:
    return gather(item, (("", vector) for vector in vectors), vectors.shape[1]).item
