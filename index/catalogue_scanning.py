"""Reading a large catalogue folder with the states of its photo files, in several processes.

A million photos take a million calls of a microsecond each, and Python as long again: threads wait
for each other then. As a program, `python -m index.catalogue_scanning` reads the folders that its
standard input names, as JSON, and writes what it found to its standard output.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from embedder.catalogue import (
    Catalogue,
    catalogue_of,
    item_folders,
    photos_in,
    read_catalogue,
    same_form,
)
from embedder.children import run_apart
from embedder.parallel import default_jobs
from index.changes import signatures_of

PHOTOS_A_PROCESS = 50_000  # at least: the start of one takes as long as 15,000
_LOOKED_INTO = 50  # folders, to see how many photos there are
_MOST_PROCESSES = 8

_Found = dict[str, tuple[list[str], bytes]]  # photos and signature, by folder


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
    source = Path(source)
    folders = item_folders(source) if source.is_dir() else {}
    count = min(jobs or default_jobs(), _MOST_PROCESSES, _photos(folders) // PHOTOS_A_PROCESS)
    if count < 2:
        catalogue = read_catalogue(source)
        return Scanned(catalogue, signatures_of(catalogue))
    names = list(folders)
    parts = [{name: folders[name] for name in names[number::count]} for number in range(count)]
    with ThreadPoolExecutor(count - 1) as children:
        given = [children.submit(_read_apart, source, part) for part in parts[1:]]
        found = _read(source, parts[0])
        for part, child in zip(parts[1:], given, strict=True):
            # What is wrong with a folder is said here, not by a child.
            found.update(child.result() or _read(source, part))
    catalogue = catalogue_of(source, {name: photos for name, (photos, _) in found.items()})
    signs = {same_form(name): sign for name, (_, sign) in found.items()}
    # In the order of the catalogue: that of the rows in an index.
    return Scanned(catalogue, {item: signs[item] for item in catalogue.items})


def _photos(folders: dict[str, str]) -> int:
    """How many photos there are, about."""
    some = dict(islice(folders.items(), _LOOKED_INTO))
    return sum(map(len, photos_in(some).values())) * len(folders) // max(1, len(some))


def _read(root: Path, folders: dict[str, str]) -> _Found:
    listed = photos_in(folders)
    signs = signatures_of(Catalogue(root, {name: tuple(row) for name, row in listed.items()}))
    return {name: (photos, signs[name]) for name, photos in listed.items()}


def _read_apart(root: Path, folders: dict[str, str]) -> _Found | None:
    """`_read` in a process of its own; None if it did not come to its end."""
    try:
        with TemporaryFile() as given, TemporaryFile() as output:
            given.write(json.dumps([str(root), folders]).encode())
            given.seek(0)
            if run_apart("index.catalogue_scanning", [], None, output, given) != 0:
                return None
            output.seek(0)
            rows = json.load(output)
        return {name: (photos, bytes.fromhex(sign)) for name, photos, sign in rows}
    # There is no room, for a file or for another process; or something else writes to its output.
    except (OSError, ValueError):
        return None


def _child() -> None:
    root, folders = json.load(sys.stdin)
    found = _read(Path(root), folders)
    rows = [(name, photos, sign.hex()) for name, (photos, sign) in found.items()]
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    _child()
