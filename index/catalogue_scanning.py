"""Reading a catalogue with the states of its photo files, a large folder in several processes.

A million photos take a million calls of a microsecond each, and Python as long again: threads wait
for each other then. The folders are handed out in parts, to whoever is through with the last one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
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
from index.folder_reading import Folders, Found, LostReaderError, read_by, read_folders
from index.signatures import signatures_of

PHOTOS_A_PROCESS = 50_000  # at least: the start of one takes as long as 15,000
_LOOKED_INTO = 50  # folders, to see how many photos there are
_MOST_PROCESSES = 8
_FOLDERS_IN_A_PART = 20, 1000  # at least and at most


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
        what reads the rest, and gives all of it.
    """
    source = Path(source)
    folders = item_folders(source) if source.is_dir() else {}
    if not folders:  # a manifest, or what `read_catalogue` refuses
        catalogue = read_catalogue(source)
        scanned = Scanned(catalogue, signatures_of(catalogue))
        yield lambda: scanned
        return
    count = min(jobs or default_jobs(), _MOST_PROCESSES, _photos(folders) // PHOTOS_A_PROCESS)
    waiting, found = deque(_parts(folders, max(1, count))), Found()
    with ThreadPoolExecutor(_MOST_PROCESSES) as pool:
        given = [pool.submit(_read_apart, source, waiting, found) for _ in range(count - 1)]
        try:
            yield lambda: _finish(source, waiting, found, given)
        finally:
            waiting.clear()


def _photos(folders: Folders) -> int:
    """How many photos there are, about."""
    some = dict(islice(folders.items(), _LOOKED_INTO))
    return sum(map(len, photos_in(some).values())) * len(folders) // len(some)


def _finish(
    root: Path, waiting: deque[Folders], found: Found, children: Sequence[Future[None]]
) -> Scanned:
    # Twice: a child that is lost gives back what it was to read, for this process to read it, or
    # to say what is wrong with a folder.
    for _ in range(2):
        for part in _taken(waiting):
            found.update(read_folders(root, part))
        for child in children:
            child.result()
    catalogue = catalogue_of(root, {name: photos for name, (photos, _) in found.items()})
    signs = {same_form(name): sign for name, (_, sign) in found.items()}
    # In the order of the catalogue: that of the rows in an index.
    return Scanned(catalogue, {item: signs[item] for item in catalogue.items})


def _parts(folders: Folders, count: int) -> Iterator[Folders]:
    """Smaller and smaller ones, so that all are through at about the same time."""
    least, most = _FOLDERS_IN_A_PART
    names = list(folders)
    while names:
        size = min(most, max(least, len(names) // (3 * count)))
        yield {name: folders[name] for name in names[:size]}
        names = names[size:]


def _taken(waiting: deque[Folders]) -> Iterator[Folders]:
    """Parts, as long as no other thread has taken the last one."""
    with suppress(IndexError):
        while True:
            yield waiting.popleft()


def _read_apart(root: Path, waiting: deque[Folders], found: Found) -> None:
    """Have parts read by a process of its own, until there are none or it is lost."""
    try:
        process = start_apart("index.folder_reading", [str(root)])
    except OSError:  # there is no room for another process
        return
    with process:
        for part in _taken(waiting):
            try:
                found.update(read_by(process, part))
            except LostReaderError:
                waiting.append(part)
                return
