"""Several photos of one physical object, matched as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder import Photo, PhotoError
from embedder.photos import photo_name

Vector = npt.NDArray[np.float32]
Embed = Callable[[Iterable[Photo], int | None], Iterator[Vector | PhotoError]]

_MOST_NAMED = 3


@dataclass(frozen=True)
class Views:
    """Photos that show the same object.

    Attributes:
        name: what to call the object.
        photos: of it, one or more.
    """

    name: str
    photos: tuple[Photo, ...]


def as_views(objects: Iterable[Photo | Views], before: int = 0) -> list[Views]:
    """Single photos as objects with one view, named `photo 1`, `photo 2` ... if without a path.

    Args:
        objects: photos, or several of one object.
        before: how many there were earlier, to go on numbering.

    Raises:
        ValueError: an object has no photo.
    """
    found = []
    for position, given in enumerate(objects):
        views = given
        if not isinstance(views, Views):
            views = Views(photo_name(views, before + position), (views,))
        if not views.photos:
            raise ValueError(f"expected one photo or more of '{views.name}', got none")
        found.append(views)
    return found


class Embedded(NamedTuple):
    """What the photos of some objects gave.

    Attributes:
        vectors: float32 (dim,), of each readable photo.
        owners: the object of each.
        bad: of each object, what is wrong with its photos that cannot be read.
    """

    vectors: list[Vector]
    owners: list[int]
    bad: list[list[str]]


def embed_views(
    objects: Sequence[Views],
    embed: Embed,
    jobs: int | None,
    on_progress: Callable[[int, int], None],
) -> Embedded:
    """Embed all photos of some objects; `on_progress` is told (photos done, photos)."""
    owners = [at for at, views in enumerate(objects) for _ in views.photos]
    found = Embedded([], [], [[] for _ in objects])
    results = embed((photo for views in objects for photo in views.photos), jobs)
    for done, (owner, result) in enumerate(zip(owners, results, strict=True), start=1):
        if isinstance(result, PhotoError):
            alone = len(objects[owner].photos) == 1
            found.bad[owner].append(result.reason if alone else str(result))
        else:
            found.owners.append(owner)
            found.vectors.append(result)
        on_progress(done, len(owners))
    return found


def pooled(
    vectors: npt.NDArray[np.float32], owners: npt.NDArray[np.int64], objects: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mean vectors of each object, and how many photos it has.

    The scores of a mean vector are the means of the scores.

    Args:
        vectors: (photos, dim).
        owners: int64 (photos,), the object of each, 0 to objects - 1.
        objects: how many there are.

    Returns:
        (objects, dim), zeros where there is no photo, and int64 (objects,).
    """
    sums = np.zeros((objects, vectors.shape[1]))
    np.add.at(sums, owners, vectors)
    counts = np.bincount(owners, minlength=objects)
    return sums / np.maximum(counts, 1)[:, None], counts


def unreadable_views(reasons: list[str]) -> str | None:
    """One line about the views of an object that could not be read."""
    if not reasons:
        return None
    more = f" and {len(reasons) - _MOST_NAMED} more" if len(reasons) > _MOST_NAMED else ""
    return "; ".join(reasons[:_MOST_NAMED]) + more
