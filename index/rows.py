"""A row of the index: what is kept of an item, and how damage to it is seen."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

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
        """Whether it is as it was written."""
        item_id, centroid, photos, dispersion, checksum = self
        try:
            found = row_checksum(item_id, centroid, photos, dispersion)
            return found == checksum and len(centroid) == 4 * dim
        except (TypeError, AttributeError, struct.error):  # a damaged row can hold any type
            return False

    def vector(self) -> npt.NDArray[np.float32]:
        """The centroid as numbers."""
        return np.frombuffer(self.centroid, dtype="<f4")


def row_checksum(item_id: str, centroid: bytes, photos: int, dispersion: float) -> int:
    """Of an item's row."""
    return zlib.crc32(centroid + item_id.encode() + _NUMBERS.pack(photos, dispersion))
