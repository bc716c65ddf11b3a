"""Making the row file of an index (`index.row_file`)."""

from __future__ import annotations

import os
import shutil
import statistics
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import islice
from pathlib import Path

from embedder.advice import with_advice
from embedder.errors import IndexFileError
from index.beside import only_maker, see_that_there_is_room
from index.places import Where, place_of
from index.row_file import (
    MAGIC,
    PAGE,
    RowFile,
    entry_of,
    key_of,
    open_row_file,
    row_path,
    row_struct,
    start_row_file,
    write,
)
from index.scanning import scan_rows
from index.store import Store
from index.store_writing import WritableStore
from index.stores import change_file

_ROWS_IN_BUCKET = 8  # at least
_LOAD = 0.7  # of the room: one row in thirty finds its bucket full
_AT_ONCE = 10_000


def make_row_file(
    index: Where, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Make the row file of an index, which is kept up to date from then on.

    Args:
        index: the index file.
        on_progress: called with (items done, items).

    Returns:
        Its size in bytes.

    Raises:
        IndexFileError: the index is damaged, has no item, is in a database, or was changed
            meanwhile; or the row file cannot be written.
    """
    path = place_of(index)
    if not isinstance(path, Path) or not hasattr(os, "pread"):
        raise IndexFileError(f"{path}: expected an index file on Linux or macOS to make rows of")
    state = change_file(path, _state_to_make_of)
    made = row_path(path)
    with _named_errors(made), only_maker(made):
        _refuse_other_file(made)
        return _make(path, state, made, on_progress)


@contextmanager
def _named_errors(made: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IndexFileError(f"{made}: cannot be written: {with_advice(error)}") from error


def _state_to_make_of(store: WritableStore) -> bytes:
    """The state of an index, which has one from now on."""
    if not len(store):
        raise IndexFileError(f"{store.path}: expected an index with items, found none")
    return store.state() or store.renew_state()


def _refuse_other_file(made: Path) -> None:
    """It can be the index of somebody who called it so."""
    if made.is_file():
        with made.open("rb") as file:
            begins = file.read(len(MAGIC))
        if begins not in (MAGIC, b""):
            raise IndexFileError(f"{made}: expected a row file or none, found another: move it")


def _make(path: Path, state: bytes, made: Path, on_progress: Callable[[int, int], None]) -> int:
    unfinished = made.with_name(f"{made.name}.building")

    def put_in_place(store: WritableStore) -> None:
        if store.state() != state:
            raise IndexFileError(f"{path}: was changed meanwhile: make its row file again")
        # Another state, and last of all: who has the index open sees that it changed.
        new = os.urandom(len(state))
        with _named_errors(made):  # not those of the index
            rows.set_state(new)
            unfinished.replace(made)
        store.renew_state(new)

    try:
        with Store.open(path) as store, FileIO(unfinished, "w+b") as file:
            shutil.copymode(path, unfinished)
            rows = _write_rows(store, file, on_progress)
            change_file(path, put_in_place)
        return made.stat().st_size
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _write_rows(store: Store, file: FileIO, on_progress: Callable[[int, int], None]) -> RowFile:
    items = len(store)
    rows = _start(store, file, items)
    keys = array("I", [0]) * rows.buckets  # where the next one begins in each bucket
    first = array("I", [rows.bucket_bytes]) * rows.buckets  # the row nearest to them
    for done, row in enumerate(scan_rows(store)):
        key = key_of(row.item_id)
        bucket = rows.bucket_of(key)
        place = max(0, first[bucket] - rows.row.size)
        entry = entry_of(key, place)
        if keys[bucket] + len(entry) <= min(place, PAGE):
            start = rows.place(bucket)
            write(file, entry, start + keys[bucket])
            write(file, rows.packed(row), start + place)
            keys[bucket] += len(entry)
            first[bucket] = place
        if done % _AT_ONCE == 0:
            on_progress(min(done, items - 1), items)
    on_progress(items, items)
    return rows


def _start(store: Store, file: FileIO, items: int) -> RowFile:
    some = [len(entry_of(key_of(row.item_id), 0)) for row in islice(scan_rows(store), _AT_ONCE)]
    # Of most: what is much longer has no room, and is asked of the index.
    length = int(statistics.median(some)) + row_struct(store.info.dim).size
    bucket_bytes = -(-_ROWS_IN_BUCKET * length // PAGE) * PAGE
    buckets = int(items / (_LOAD * (bucket_bytes // length))) + 1
    see_that_there_is_room(row_path(store.path), PAGE + buckets * bucket_bytes)
    return start_row_file(file, store.info.dim, bucket_bytes, buckets)


def is_outdated(index: Where) -> bool:
    """Whether an index has a row file that is not of the items it has now, or too small for them.

    Raises:
        IndexFileError: there is no index, or it is damaged.
    """
    path = place_of(index)
    if not isinstance(path, Path) or not row_path(path).is_file():
        return False
    with Store.open(path) as store:
        rows = open_row_file(path, store.info.dim)
        if rows is None:
            return True
        with rows.file:
            too_small = len(store) * rows.row.size > rows.buckets * rows.bucket_bytes
            return too_small or rows.state() != store.state()
