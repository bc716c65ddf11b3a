"""A catalogue in chunks, read as a stream: it may be larger than memory.

It is read twice: once for what has to be known before the first photo is embedded, once to cut it
into chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from embedder.catalogue import catalogue_rows, checked_id
from embedder.errors import CatalogueError
from index import whitening

Row = tuple[str, str]  # an item's id and a photo's path, as it is in the catalogue

Thing = TypeVar("Thing")

LOCAL = "local"  # in place of the address of a scheduler
ROWS = 1024  # of a chunk: a few seconds of work
CHUNKS = 16  # of a group

_FIRST_KEPT = 8 * whitening.MOST_ITEMS  # so many ids are held while a catalogue is looked through


class Chunk(NamedTuple):
    """A task's part of a catalogue.

    Attributes:
        rows: its photos, in the order of the catalogue.
        key: a hash of them.
    """

    rows: tuple[Row, ...]
    key: bytes


class Group(NamedTuple):
    """Chunks that follow each other; what they give is kept together.

    Attributes:
        chunks: of it.
        key: a hash of them, and of where in the catalogue they are.
    """

    chunks: tuple[Chunk, ...]
    key: bytes


class Overview(NamedTuple):
    """What has to be known of a catalogue beforehand.

    Attributes:
        photos: how many there are.
        bare: items without a photo.
        counts: photos of some items, at least of those that `whitening.sample` takes of all; of all
            items where these are few.
    """

    photos: int
    bare: tuple[str, ...]
    counts: dict[str, range]


def rows_of(source: Path) -> Iterator[tuple[str, str | None]]:
    """`embedder.catalogue.catalogue_rows` with ids that are checked.

    Ids that differ in their Unicode form only are one item here.
    """
    given = item = ""
    for name, photo in catalogue_rows(source):
        if name != given:
            given, item = name, checked_id(name, str(source))
        yield item, photo


def look_through(source: Path) -> Overview:
    """Read a catalogue once, holding some thousands of ids.

    Raises:
        CatalogueError: it has no photo, or something in it is not as expected.
    """
    most = _FIRST_KEPT
    while True:
        found, all_of_them = _look_through(rows_of(source), most)
        several = sum(len(count) > 1 for count in found.counts.values())
        # Ids that were left out may be needed where most items have one photo only.
        if all_of_them or several >= whitening.MOST_ITEMS:
            break
        most *= 8
    if not found.photos and not found.bare:
        raise CatalogueError(f"{source}: expected items with photos; found none")
    return found


def groups_of(source: Path, rows: int = ROWS) -> Iterator[Group]:
    """A catalogue in groups of chunks of so many rows; few are held at a time."""
    photos = ((item, photo) for item, photo in rows_of(source) if photo is not None)
    chunks = (Chunk(part, _hash(part)) for part in in_parts(photos, rows))
    for number, group in enumerate(in_parts(chunks, CHUNKS)):
        yield Group(group, _hash((number, [chunk.key for chunk in group])))


def _look_through(rows: Iterable[tuple[str, str | None]], most: int) -> tuple[Overview, bool]:
    """An overview with the counts of `most` items or more, those of the smallest hashes."""
    photos, bare = 0, list[str]()
    counts: dict[str, int] = {}
    ranks: dict[str, bytes] = {}
    bound = b""  # of the hashes that count; none yet
    for item, some in groupby(rows, itemgetter(0)):
        count = sum(photo is not None for _, photo in some)
        photos += count
        if not count:
            bare.append(item)
            continue
        if item not in counts:
            rank = whitening.rank(item)
            if bound and rank > bound:
                continue
            counts[item], ranks[item] = 0, rank
        counts[item] += count
        if len(counts) > 2 * most:
            kept = sorted(ranks, key=ranks.__getitem__)[:most]
            counts = {item: counts[item] for item in kept}
            ranks = {item: ranks[item] for item in kept}
            bound = ranks[kept[-1]]
    seen = {item: range(count) for item, count in counts.items()}
    return Overview(photos, tuple(bare), seen), not bound


def _hash(value: object) -> bytes:
    return blake2b(repr(value).encode(), digest_size=16).digest()


def in_parts(things: Iterable[Thing], size: int) -> Iterator[tuple[Thing, ...]]:
    """A stream in tuples of so many; the last may be shorter."""
    remaining = iter(things)
    while part := tuple(islice(remaining, size)):
        yield part
