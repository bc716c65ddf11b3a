"""Reading a large catalogue folder with the states of its photo files, in several processes.

A million photos take a million calls of a microsecond each, and Python as long again: threads wait
for each other then. As a program, `python -m index.catalogue_scanning FILE` reads the folders that
a JSON file names and writes what it found to its standard output, likewise.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
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

FEWEST_FOLDERS = 500  # for each process: with fewer its start takes longer than the work
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
    count = min(jobs or default_jobs(), _MOST_PROCESSES, len(folders) // FEWEST_FOLDERS)
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
    return Scanned(catalogue, {same_form(name): sign for name, (_, sign) in found.items()})


def _read(root: Path, folders: dict[str, str]) -> _Found:
    listed = photos_in(folders)
    signs = signatures_of(Catalogue(root, {name: tuple(row) for name, row in listed.items()}))
    return {name: (photos, signs[name]) for name, photos in listed.items()}


def _read_apart(root: Path, folders: dict[str, str]) -> _Found | None:
    """`_read` in a process of its own; None if it did not come to its end."""
    try:
        with NamedTemporaryFile("w") as given, TemporaryFile() as output:
            json.dump([str(root), folders], given)
            given.flush()
            status = run_apart("index.catalogue_scanning", [given.name], None, output)
            output.seek(0)
            rows = json.load(output) if status == 0 else []
    except OSError:  # there is no room, for a file or for another process
        return None
    return {name: (photos, bytes.fromhex(sign)) for name, photos, sign in rows}


def _child(given: str) -> None:
    root, folders = json.loads(Path(given).read_text())
    found = _read(Path(root), folders)
    json.dump([(name, photos, sign.hex()) for name, (photos, sign) in found.items()], sys.stdout)


if __name__ == "__main__":
    _child(sys.argv[1])
