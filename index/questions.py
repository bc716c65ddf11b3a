"""What an evaluation asks: photos that say how well others will be matched, and what they face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embedder.errors import CatalogueError
from embedder.labelled_vectors import LabelledVectors
from embedder.sampling import evenly
from index.calibrating import sample_ids, without
from index.calibration import read_background
from index.photo_vectors import PhotoVectors
from index.rows import Row
from index.stores import AnyStore
from index.whitening import read_score_space

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

T = TypeVar("T")

MOST_ASKED = 10_000  # more would say the same
_MOST_OTHERS = 1000
_SAME = 0.9999  # cosine: what training and LiteRT make of one photo differs by no more


class Kinds(NamedTuple):
    """What photos an evaluation found, and which of them it asks.

    Attributes:
        new: photos that the index was not built from.
        held_out: photos of the index that training did not see; of a network that did not learn
            from the catalogue all of them.
        trained: photos of the index that training saw, or may have seen.
        other_items: photos of items that the index does not have.
        by_hand: photos of items that were added by hand: nobody knows whether the index has them.
        asked: how many are asked; all new and held-out ones, if those are not too many.
        flattered: whether there are no such, and the trained ones are asked.
    """

    new: int
    held_out: int
    trained: int
    other_items: int
    by_hand: int
    asked: int
    flattered: bool


@dataclass(frozen=True)
class Questions:
    """Photos whose item is known, and items to compare them with.

    Attributes:
        ids: of the items: those of the photos first, then a sample of all.
        centroids: float32 (items, dim), in the score space of the index.
        behind: bool (items,), whether it is in the background of the index.
        photos: paths.
        vectors: float32 (photos, dim), in the score space.
        given: float32 (photos, dim), as the model gave them.
        item: int64 (photos,), the item of each.
        own: float32 (photos,), the score for it, as if the photo were not in the index.
        indexed: bool (photos,), whether it is.
    """

    ids: tuple[str, ...]
    centroids: Floats
    behind: Flags
    photos: tuple[str, ...]
    vectors: Floats
    given: Floats
    item: Indices
    own: Floats
    indexed: Flags

    def of(self, photos: Indices) -> Questions:
        """Some of the photos, facing the same items."""
        return replace(
            self,
            photos=tuple(self.photos[at] for at in photos),
            vectors=self.vectors[photos],
            given=self.given[photos],
            item=self.item[photos],
            own=self.own[photos],
            indexed=self.indexed[photos],
        )

    @cached_property
    def photos_of(self) -> dict[int, list[int]]:
        """The photos of each item that has any."""
        return _places(self.item.tolist())

    def labelled(self) -> LabelledVectors:
        """The photos as a calibration takes them."""
        return LabelledVectors(self.given, tuple(self.ids[at] for at in self.item))


def questions(
    found: PhotoVectors, store: AnyStore, held_out: LabelledVectors | None, unseen: bool = False
) -> tuple[Questions, Kinds]:
    """Choose the photos that tell the truth, and fetch what they are compared with.

    A photo of the index is taken out of its item's centroid, and is asked only if training did not
    see it: the others are matched better than any new photo will be.

    Args:
        found: the photos of a catalogue.
        store: the index.
        held_out: the photos that training held out, if the model has any.
        unseen: whether training saw none of them, being over before.

    Raises:
        CatalogueError: no photo can be asked.
        IndexFileError: a row or the score space of the index is damaged.
    """
    rows = store.statistics(dict.fromkeys(found.items))
    known = np.array([item in rows for item in found.items], np.bool_)
    added = store.added(rows)
    by_hand = np.array([item in added for item in found.items], np.bool_)
    held = _held_out(found, held_out)
    if not found.told and held.any():  # the catalogue of the index after all, elsewhere
        found = found._replace(indexed=np.ones(len(known), np.bool_))
    # Without its only photo an item is nothing.
    alone = np.array([item in rows and rows[item].photos < 2 for item in found.items], np.bool_)
    indexed = found.indexed & known & ~alone & ~by_hand
    held = indexed if unseen else held & indexed
    new = known & ~found.indexed & ~by_hand
    flattered = not (held | new).any()
    usable = np.flatnonzero(indexed if flattered else held | new)
    if not len(usable):
        raise CatalogueError(
            "expected photos of items of the index, new ones or two or more of each item: "
            f"found {len(found.items):,} photos, {int(known.sum()):,} of them of such items"
        )
    chosen = usable[evenly(len(usable), MOST_ASKED)]
    kinds = Kinds(
        int(new.sum()),
        int(held.sum()),
        int((indexed & ~held).sum()),
        int((~known).sum()),
        int(by_hand.sum()),
        len(chosen),
        flattered,
    )
    return _facing(found, chosen, store, rows), kinds


def _held_out(found: PhotoVectors, held_out: LabelledVectors | None) -> Flags:
    """Which photos are those that training held out, by their vectors."""
    flags = np.zeros(len(found.items), np.bool_)
    if held_out is None:
        return flags
    rows_of, held_of = _places(found.items), _places(held_out.items)
    for item in rows_of.keys() & held_of.keys():
        rows = np.array(rows_of[item])
        alike = held_out.vectors[held_of[item]] @ found.vectors[rows].T
        nearest = alike.argmax(axis=1)
        flags[rows[nearest[alike.max(axis=1) >= _SAME]]] = True
    return flags


def _places(items: Sequence[T]) -> dict[T, list[int]]:
    """Where each item is."""
    found: dict[T, list[int]] = {}
    for at, item in enumerate(items):
        found.setdefault(item, []).append(at)
    return found


def _facing(
    found: PhotoVectors, chosen: Indices, store: AnyStore, rows: dict[str, Row]
) -> Questions:
    items = list(dict.fromkeys(found.items[at] for at in chosen))
    others = read_background(store).items
    wanted = dict.fromkeys([*items, *others, *sample_ids(store, _MOST_OTHERS)])
    centroids, gone = store.centroids(wanted)  # one of the background may have been removed since
    ids = tuple(item for item in wanted if item not in gone)  # `gone` is short
    space = read_score_space(store)
    columns = {item: at for at, item in enumerate(ids)}
    given, indexed = found.vectors[chosen], found.indexed[chosen]
    item = np.array([columns[found.items[at]] for at in chosen], np.int64)
    own = centroids[item]
    for at in np.flatnonzero(indexed):
        own[at] = without(given[at], rows[ids[item[at]]])
    vectors = given
    if space is not None:
        vectors, centroids, own = map(space.project, (given, centroids, own))
    behind = np.isin(np.arange(len(ids)), [columns[one] for one in others if one in columns])
    photos = tuple(found.photos[at] for at in chosen)
    scores = (vectors * own).sum(axis=1)
    return Questions(ids, centroids, behind, photos, vectors, given, item, scores, indexed)
