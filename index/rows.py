"""A row of the index: what is kept of an item, and how damage to it is seen."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_NUMBERS = struct.Struct("<qd")


@dataclass(frozen=True)
class Item:
    """A row of the index.

    Attributes:
        item_id: its id.
        centroid: float32 (dim,) of unit norm, the direction of the mean of its photos' vectors.
        photos: how many photos went into it.
        dispersion: mean squared distance of its vectors to their mean; 0 if all are alike, below 1.
        reference: path of one of its photos, to show.
        signature: changes when its photo files do.
    """

    item_id: str
    centroid: npt.NDArray[np.float32]
    photos: int
    dispersion: float
    reference: str
    signature: bytes


class Row(NamedTuple):
    """What is kept of an item's photos, as it is read.

    Attributes:
        item_id: its id.
        centroid: float32 (dim,), little-endian.
        photos: how many there are.
        dispersion: as in `Item`.
        checksum: over the others.
    """

    item_id: str
    centroid: bytes
    photos: int
    dispersion: float
    checksum: int

    def is_whole(self, dim: int) -> bool:
        """Whether it is as it was written, and what an item can be."""
        return _is_row(*self, dim)

    def vector(self) -> npt.NDArray[np.float32]:
        """The centroid as numbers."""
        return np.frombuffer(self.centroid, dtype="<f4")


class Origin(NamedTuple):
    """Where an item comes from, as it is read: nothing that a match looks at.

    Attributes:
        item_id: its id.
        reference: as in `Item`.
        signature: as in `Item`.
        checksum: over the others.
    """

    item_id: str
    reference: str
    signature: bytes
    checksum: int

    def is_whole(self) -> bool:
        """Whether it is as it was written."""
        return _is_origin(*self)


# All of a row, for `whole_item`.
COLUMNS = "id, centroid, photos, dispersion, checksum, reference, signature, origin_checksum"


def columns_of(item: Item) -> tuple[object, ...]:
    """An item as a row of `COLUMNS`."""
    centroid = item.centroid.astype("<f4").tobytes()
    values = (item.item_id, centroid, item.photos, item.dispersion)
    origin = (item.reference, item.signature)
    return (*values, row_checksum(*values), *origin, origin_checksum(item.item_id, *origin))


def is_whole(columns: Sequence[Any], dim: int) -> bool:
    """Whether a row of `COLUMNS` is what `columns_of` gave; it can be of any types."""
    item_id, centroid, photos, dispersion, checksum, *origin = columns
    row = _is_row(item_id, centroid, photos, dispersion, checksum, dim)
    return row and _is_origin(item_id, *origin)


def whole_item(columns: Sequence[Any], dim: int) -> Item | None:
    """The inverse of `columns_of`; None of a row that is damaged, or no item's."""
    if not is_whole(columns, dim):
        return None
    item_id, content, photos, dispersion, _, reference, signature, _ = columns
    centroid = np.frombuffer(content, dtype="<f4")
    if not are_centroids(centroid[None]).all():
        return None
    return Item(item_id, centroid, photos, dispersion, reference, signature)


def are_centroids(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of the vectors (rows, dim) are of unit norm, or zero, as those of items are."""
    with np.errstate(over="ignore"):
        squares: npt.NDArray[np.float32] = np.einsum("ij,ij->i", vectors, vectors)
    usable: npt.NDArray[np.bool_] = (np.abs(squares - 1) < 1e-3) | (squares == 0)
    return usable


def _is_row(
    item_id: Any, centroid: Any, photos: Any, dispersion: Any, checksum: Any, dim: int
) -> bool:
    try:
        found = row_checksum(item_id, centroid, photos, dispersion)
        whole = found == checksum and len(centroid) == 4 * dim
        return bool(whole and photos >= 1 and 0.0 <= dispersion <= 1.001)
    except (TypeError, AttributeError, struct.error):  # a damaged row can hold any type
        return False


def are_whole(texts: Sequence[Any], checksum: Any) -> bool:
    """Whether texts are those of a `text_checksum`; they can be of any types."""
    try:
        return text_checksum(*texts) == int(checksum)
    except (TypeError, ValueError):
        return False


def _is_origin(item_id: Any, reference: Any, signature: Any, checksum: Any) -> bool:
    try:
        return bool(origin_checksum(item_id, reference, signature) == checksum)
    except (TypeError, AttributeError):
        return False


def row_checksum(item_id: str, centroid: bytes, photos: int, dispersion: float) -> int:
    """Of what is kept of an item's photos."""
    return zlib.crc32(centroid + item_id.encode() + _NUMBERS.pack(photos, dispersion))


def origin_checksum(item_id: str, reference: str, signature: bytes) -> int:
    """Of where an item comes from."""
    return zlib.crc32(signature, text_checksum(item_id, reference))


def text_checksum(*texts: str) -> int:
    """Of texts that belong together."""
    return zlib.crc32("\0".join(texts).encode())
