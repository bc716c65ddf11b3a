"""Reading some folders of a catalogue with the states of their photo files.

As a program, `python -m index.folder_reading CATALOGUE` does it for another process (`read_by`),
which gives it folders, a line of JSON, and gets a line of JSON and the photos' paths, until its
standard input ends. It imports no more than it needs, as the other process waits for its start.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO

from embedder.catalogue import Catalogue, photos_in
from index.signatures import signature_now

Folders = dict[str, str]  # paths by name
Found = dict[str, tuple[tuple[str, ...], bytes]]  # photos and signature, by name of a folder


class LostReaderError(Exception):
    """A process that was to read folders did not."""


def read_folders(root: Path, folders: Folders) -> Found:
    """The photos in some folders of a catalogue, in order, and what changes when they do.

    Args:
        root: the catalogue.
        folders: in it.

    Raises:
        CatalogueError: a folder cannot be read.
    """
    catalogue, found = Catalogue(root, {}), Found()
    # Not all names first: a folder's are still in the processor's caches when its files are looked
    # at, which saves a third of the time.
    for name, folder in folders.items():
        (photos,) = photos_in({name: folder}).values()
        found[name] = photos, signature_now(catalogue, photos)
    return found


def read_by(process: subprocess.Popen[bytes], folders: Folders) -> Found:
    """`read_folders` by a process that runs this module.

    Raises:
        LostReaderError: it gave no answer: it was killed, a folder cannot be read, or something
            else writes to its output.
    """
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(folders).encode() + b"\n")
        process.stdin.flush()
        found = _received(process.stdout)
    except Exception as error:  # what is no answer can be anything
        raise LostReaderError from error
    if found.keys() != folders.keys():
        raise LostReaderError
    return found


def end_reader(process: subprocess.Popen[bytes]) -> None:
    """Let a process that runs this module come to its end, however it is."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):  # what was not sent to it is sent now
        process.stdin.close()
    process.stdout.close()
    process.wait()


def _send(found: Found, output: IO[bytes]) -> None:
    # Paths as texts of JSON would take a tenth of the time that reading the folders takes.
    paths = os.fsencode("\0".join(chain.from_iterable(photos for photos, _ in found.values())))
    rows = [(name, len(photos), sign.hex()) for name, (photos, sign) in found.items()]
    output.write(json.dumps([len(paths), rows]).encode() + b"\n" + paths)
    output.flush()


def _received(answer: IO[bytes]) -> Found:
    length, rows = json.loads(answer.readline())
    content = answer.read(length)
    paths = os.fsdecode(content).split("\0") if content else []
    if len(content) != length or len(paths) != sum(count for _, count, _ in rows):
        raise ValueError("expected a path for each photo")
    each = iter(paths)
    return {name: (tuple(islice(each, count)), bytes.fromhex(sign)) for name, count, sign in rows}


def _answer_all(root: Path) -> None:
    gc.disable()  # nothing here is garbage before the end, and looking for it takes time
    for line in sys.stdin.buffer:
        _send(read_folders(root, json.loads(line)), sys.stdout.buffer)


if __name__ == "__main__":
    _answer_all(Path(sys.argv[1]))
