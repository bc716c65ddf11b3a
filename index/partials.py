"""What one part of a catalogue says of an item, and how such parts become its row.

Each is sums, so parts can be merged in any order, and an item's photos may lie in many of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import reduce
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import PhotoError
from embedder.photos import photo_name
from index.rows import Item
from index.signatures import signature
from index.statistics import RunningItem


class Seen(NamedTuple):
    """A photo that was looked at.

    Attributes:
        name: its path within the catalogue.
        size: of its file, in bytes.
        changed: when the file was changed, in ns; another number where that cannot be relied on.
        shown: what to call it, if it cannot be read.
        reason: why it cannot be read; empty if it can.
    """

    name: str
    size: int
    changed: int
    shown: str = ""
    reason: str = ""


class Vectored(NamedTuple):
    """A photo whose vector is needed by itself.

    Attributes:
        name: its path within the catalogue.
        digest: of its content.
        vector: float32 (dim,).
    """

    name: str
    digest: bytes
    vector: npt.NDArray[np.float32]


@dataclass
class Partial:
    """Some photos of one item.

    Attributes:
        item_id: its id.
        running: the statistics of those that can be read.
        photos: all of them.
        vectors: of those whose vectors are asked for.
    """

    item_id: str
    running: RunningItem
    photos: list[Seen] = field(default_factory=list)
    vectors: list[Vectored] = field(default_factory=list)

    def merge(self, other: Partial) -> Partial:
        """Take in other photos of the same item."""
        self.running.merge(other.running)
        self.photos += other.photos
        self.vectors += other.vectors
        return self

    def row(self) -> Item | None:
        """The item's row, as a build on one machine makes it; None if no photo can be read."""
        self.photos.sort()
        if not self.running.count:
            return None
        first = next(photo.name for photo in self.photos if not photo.reason)
        names = [photo.name for photo in self.photos]
        sign = signature(names, [(photo.size, photo.changed) for photo in self.photos])
        return Item(
            self.item_id,
            self.running.centroid(),
            self.running.count,
            self.running.dispersion(),
            photo_name(first),
            sign,
        )

    def unreadable(self) -> list[PhotoError]:
        """The photos that cannot be read."""
        return [PhotoError(photo.shown, photo.reason) for photo in self.photos if photo.reason]

    def to_bytes(self) -> bytes:
        """A line of JSON, then numbers, little-endian; the id is kept beside it."""
        numbers = self.running.to_array()
        names = [(photo.name, photo.digest.hex()) for photo in self.vectors]
        line = json.dumps([self.photos, names, len(numbers)], separators=(",", ":"))
        vectors = [photo.vector.astype("<f4").tobytes() for photo in self.vectors]
        return b"".join([line.encode(), b"\n", numbers.astype("<f8").tobytes(), *vectors])

    @classmethod
    def from_bytes(cls, item_id: str, content: bytes, dim: int) -> Partial:
        """The inverse of `to_bytes`."""
        line, _, rest = content.partition(b"\n")
        photos, names, count = json.loads(line)
        numbers = np.frombuffer(rest, "<f8", count)
        vectors = np.frombuffer(rest, "<f4", offset=8 * count).reshape(len(names), dim)
        kept = zip(names, vectors, strict=True)
        return cls(
            item_id,
            RunningItem.from_array(numbers, dim),
            [Seen(*photo) for photo in photos],
            [Vectored(name, bytes.fromhex(digest), vector) for (name, digest), vector in kept],
        )


@dataclass(frozen=True)
class Run:
    """What some chunks of a catalogue gave.

    Attributes:
        states: of each chunk, in order, a hash of the states of its files.
        embedded: photos that were embedded, and not known from before.
        partials: one an item, in the order of the ids.
    """

    states: tuple[bytes, ...]
    embedded: int
    partials: list[Partial]


def merged_partials(streams: Iterable[Iterable[Partial]]) -> Iterator[Partial]:
    """One partial an item, of streams that are each in the order of the ids; few are held."""
    by_item = groupby(merge(*streams, key=attrgetter("item_id")), attrgetter("item_id"))
    for _, parts in by_item:
        yield reduce(Partial.merge, map(_own, parts))


def merged_run(runs: Iterable[Run]) -> Run:
    """The runs of chunks that follow each other as one: a node of a tree."""
    runs = tuple(runs)
    states = tuple(state for run in runs for state in run.states)
    partials = list(merged_partials(run.partials for run in runs))
    return Run(states, sum(run.embedded for run in runs), partials)


def _own(partial: Partial) -> Partial:
    """A copy to merge others into: what Dask holds must not change."""
    photos, vectors = list(partial.photos), list(partial.vectors)
    return Partial(partial.item_id, copy(partial.running), photos, vectors)
