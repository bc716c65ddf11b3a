"""Adding and removing single items, in place: what that costs does not grow with the index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedder.catalogue import checked_id
from embedder.errors import CatalogueError, PhotoError
from embedder.inference import Embedder, Vector
from embedder.photos import Photo, photo_name
from index.candidates import unknown_ids_error
from index.database import refuse_folder, refuse_other_model
from index.places import Where, place_of
from index.statistics import gather
from index.stores import AnyStore, AnyWritableStore, change_store, open_store


@dataclass(frozen=True)
class AddReport:
    """What was added.

    Attributes:
        photos: that went into the item.
        unreadable: photos that could not be read, and why.
        replaced: whether the index had the item before.
    """

    photos: int
    unreadable: tuple[PhotoError, ...]
    replaced: bool


def add_item(
    path: Where,
    embedder: Embedder,
    item_id: str,
    photos: Sequence[Photo],
    *,
    replace: bool = False,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AddReport:
    """Add one item to an index, for the next match to find.

    It stays when the index is built again, unless the catalogue has an item of that id. The score
    space and the confidences stay as they are.

    Args:
        path: of the index: a file, or the URL of a database.
        embedder: the model of the index.
        item_id: its id.
        photos: of it, in any of the forms of `Photo`.
        replace: whether an item of that id may be there already.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos to embed).

    Raises:
        CatalogueError: the index has the item, the id could not be a candidate, or no photo can be
            read; the index is left as it was.
        ModelError: the model is not that of the index.
        IndexFileError: the index is damaged, cannot be written, or is being written.
    """
    path = place_of(path)
    item_id = checked_id(item_id, str(path))
    if isinstance(path, Path):
        refuse_folder(path)
    with open_store(path) as store:
        refuse_known(store, embedder.info.fingerprint, item_id, replace)
    # Before the index is locked: others need not wait for photos to be embedded.
    names = (_place(photo, at) for at, photo in enumerate(photos))
    vectors = _counted(embedder.embed(photos, jobs), len(photos), on_progress)
    named = zip(names, vectors, strict=True)
    item, _, unreadable = gather(item_id, named, embedder.info.architecture.dim)
    if item is None:
        why = f": {unreadable[0]}" if unreadable else ""
        raise CatalogueError(f"item '{item_id}': expected a readable photo, found none{why}")

    def put(store: AnyWritableStore) -> bool:
        replaced = refuse_known(store, embedder.info.fingerprint, item_id, replace)
        store.remove([item_id])
        store.put(item)  # without a signature: added by hand
        store.put_unreadable(item_id, unreadable)
        store.commit()
        return replaced

    return AddReport(item.photos, tuple(unreadable), change_store(path, put))


def _counted(
    vectors: Iterable[Vector | PhotoError], total: int, on_progress: Callable[[int, int], None]
) -> Iterator[Vector | PhotoError]:
    for done, vector in enumerate(vectors, start=1):
        on_progress(done, total)
        yield vector


def _place(photo: Photo, position: int) -> str:
    """Where a photo is, wherever it is looked for later; a name for one that is in no file."""
    if isinstance(photo, str | os.PathLike):
        photo = Path(photo).absolute()
    return photo_name(photo, position)


def refuse_known(store: AnyStore, fingerprint: str, item_id: str, replace: bool) -> bool:
    """Refuse a model that is not the index's, and an item that is there; says if it is.

    Raises:
        CatalogueError: the item is there, and is not to be replaced.
        ModelError: the index is of another model.
    """
    refuse_other_model(store.path, store.info, fingerprint)
    there = store.has(item_id)
    if there and not replace:
        raise CatalogueError(
            f"{store.path}: has an item '{item_id}' already: replace it with --replace, or choose "
            "another id"
        )
    return there


def remove_items(path: Where, ids: Iterable[str]) -> int:
    """Remove items from an index: all of them, or none if one is unknown.

    An item of the catalogue comes back when the index is built again.

    Returns:
        How many were removed.

    Raises:
        CandidateError: the index does not have one of them.
        CatalogueError: one could not be the id of an item.
        IndexFileError: the index is damaged, cannot be written, or is being written.
    """
    path = place_of(path)
    given = [ids] if isinstance(ids, str) else ids
    wanted = list(dict.fromkeys(checked_id(item_id, str(path)) for item_id in given))

    def take_out(store: AnyWritableStore) -> int:
        unknown = [item_id for item_id in wanted if not store.has(item_id)]
        if unknown:
            raise unknown_ids_error(unknown, store)
        store.remove(wanted)
        store.commit()
        return len(wanted)

    return change_store(path, take_out)
