"""Reading a catalogue with the states of its photo files, a large folder in several processes.

A million photos take a million calls of a microsecond each, and Python as long again: threads wait
for each other then. The folders are handed out in parts, to whoever is through with the last one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from embedder.catalogue import (
    Catalogue,
    catalogue_of,
    item_folders,
    photos_in,
    read_catalogue,
    same_form,
)
from embedder.children import start_apart
from embedder.parallel import default_jobs
from index.folder_reading import (
    Folders,
    Found,
    LostReaderError,
    end_reader,
    read_by,
    read_folders,
)
from index.signatures import signatures_of

PHOTOS_A_PROCESS = 50_000  # at least: the start of one takes as long as 15,000
_PHOTOS_IN_A_PART = 2_000, 100_000  # at least and at most, about
_LOOKED_INTO = 50  # folders, to see how many photos there are
_MOST_PROCESSES = 8


class Scanned(NamedTuple):
    """A catalogue, and what its photo files were like when it was read.

    Attributes:
        catalogue: items and photos.
        signatures: of each item, what changes when its photo files do: 16 bytes.
    """

    catalogue: Catalogue
    signatures: dict[str, bytes]


def scan_catalogue(source: str | os.PathLike[str], jobs: int | None = None) -> Scanned:
    """`read_catalogue`, and what tells `build_index` which items have changed.

    A large folder is read faster, by several processes.

    Args:
        source: a folder or a manifest.
        jobs: processes that read a large folder; one a core unless given.

    Raises:
        CatalogueError, MissingExtraError: as `read_catalogue`.
    """
    with begun_scan(source, jobs) as finish:
        return finish()


@contextmanager
def begun_scan(
    source: str | os.PathLike[str], jobs: int | None = None
) -> Iterator[Callable[[], Scanned]]:
    """Begin `scan_catalogue`: other processes read while the block does something else.

    Takes and raises what `scan_catalogue` does.

    Yields:
        what reads the rest, and gives all of it; to be called within the block.
    """
    source = Path(source)
    folders = item_folders(source) if source.is_dir() else {}
    if not folders:  # a manifest, or what `read_catalogue` refuses
        catalogue = read_catalogue(source)
        scanned = Scanned(catalogue, signatures_of(catalogue))
        yield lambda: scanned
        return
    photos = _photos(folders)
    count = min(jobs or default_jobs(), _MOST_PROCESSES, photos // PHOTOS_A_PROCESS)
    reading = _Reading(source, deque(_parts(folders, photos, max(1, count))))
    with ThreadPoolExecutor(_MOST_PROCESSES) as pool:
        try:
            with suppress(RuntimeError):  # there is no room for another thread
                for _ in range(count - 1):
                    reading.others.append(pool.submit(_read_apart, reading))
            yield lambda: _finish(reading)
        finally:
            reading.given_up = True
            for process in reading.processes:
                process.kill()  # one that has come to its end is left in peace


@dataclass
class _Reading:
    """What all who read share.

    Attributes:
        root: the catalogue.
        waiting: what nobody has read yet.
        found: what they have.
        others: who reads beside this process.
        processes: that were started for them.
        given_up: whether nobody asks for it any more.
    """

    root: Path
    waiting: deque[Folders]
    found: Found = field(default_factory=dict)
    others: list[Future[None]] = field(default_factory=list)
    processes: list[Popen[bytes]] = field(default_factory=list)
    given_up: bool = False

    def taken(self) -> Iterator[Folders]:
        """Parts, as long as there are any that nobody else has taken."""
        with suppress(IndexError):
            while not self.given_up:
                yield self.waiting.popleft()


def _photos(folders: Folders) -> int:
    """How many photos there are, about."""
    some = dict(islice(folders.items(), _LOOKED_INTO))
    return sum(map(len, photos_in(some).values())) * len(folders) // len(some)


def _parts(folders: Folders, photos: int, count: int) -> Iterator[Folders]:
    """Smaller and smaller ones, so that all are through at about the same time."""
    least, most = (max(1, some * len(folders) // max(1, photos)) for some in _PHOTOS_IN_A_PART)
    left, rest = len(folders), iter(folders.items())
    while left > 0:
        size = min(most, max(least, left // (3 * count)))
        yield dict(islice(rest, size))
        left -= size


def _read_apart(reading: _Reading) -> None:
    """Have parts read by a process of its own, until there are none or it is lost."""
    try:
        process = start_apart("index.folder_reading", [str(reading.root)])
    except OSError:  # there is no room for another process
        return
    reading.processes.append(process)
    try:
        for part in reading.taken():
            try:
                reading.found.update(read_by(process, part))
            except LostReaderError:
                reading.waiting.append(part)
                return
    finally:
        end_reader(process)


def _finish(reading: _Reading) -> Scanned:
    # Twice: a process that is lost gives back what it was to read, for this one to read it, or to
    # say what is wrong with a folder.
    for _ in range(2):
        for part in reading.taken():
            reading.found.update(read_folders(reading.root, part))
        for other in reading.others:
            other.result()
    if reading.waiting:
        raise RuntimeError("expected to be called within the block")
    listed = {name: photos for name, (photos, _) in reading.found.items()}
    catalogue = catalogue_of(reading.root, listed)
    signs = {same_form(name): sign for name, (_, sign) in reading.found.items()}
    # In the order of the catalogue: that of the rows in an index.
    return Scanned(catalogue, {item: signs[item] for item in catalogue.items})
