"""Making the row file of an index (`index.row_file`), and keeping it up to date."""

from __future__ import annotations

import errno
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import islice
from pathlib import Path

from embedder.advice import with_advice
from embedder.errors import IndexFileError
from embedder.locking import only_process
from index.database import only_writer
from index.fetching import damaged_row
from index.places import Where, place_of
from index.row_file import (
    START,
    STATE_AT,
    STATE_BYTES,
    RowFile,
    entries,
    entry_of,
    key_of,
    open_row_file,
    row_path,
    row_struct,
    start_row_file,
)
from index.rows import Item, Row, columns_of
from index.store import Store
from index.store_writing import WritableStore
from index.stores import AnyWritableStore

_PAGE = 4096  # bytes
_ROWS_IN_BUCKET = 8  # at least
_LOAD = 0.7  # of the room: one row in fifty finds its bucket full
_AT_ONCE = 10_000


def make_row_file(
    index: Where, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Make the row file of an index; `index.editing` keeps it up to date from then on.

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
    state = _state_to_make_of(path)
    made = row_path(path)
    with _named_errors(made), only_process(made.with_name(f".{made.name}.lock")) as alone:
        if not alone:
            raise IndexFileError(f"{made}: another process is making it: try again later")
        return _make(path, state, made, on_progress)


@contextmanager
def _named_errors(made: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IndexFileError(f"{made}: cannot be written: {with_advice(error)}") from error


def _make(path: Path, state: bytes, made: Path, on_progress: Callable[[int, int], None]) -> int:
    unfinished = made.with_name(f"{made.name}.building")
    try:
        with Store.open(path) as store, FileIO(unfinished, "w+b") as file:
            _write_rows(store, file, on_progress)
            os.pwrite(file.fileno(), state, STATE_AT)
            os.fsync(file.fileno())
        with only_writer(path, "another process"), Store.open(path) as store:
            if store.state() != state:
                raise IndexFileError(f"{path}: was changed meanwhile: make its row file again")
            with _named_errors(made):  # not those of the index
                unfinished.replace(made)
        return made.stat().st_size
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _state_to_make_of(path: Path) -> bytes:
    """The state of an index, which has one from now on."""
    Store.open(path).close()  # where there is none, not even a lock is written
    with only_writer(path, "another process"), WritableStore.open(path) as store:
        if not len(store):
            raise IndexFileError(f"{path}: expected an index with items, found none")
        state = store.state()
        if state is None:
            state = store.renew_state()
            store.commit()
        return state


def _write_rows(store: Store, file: FileIO, on_progress: Callable[[int, int], None]) -> None:
    items, descriptor = len(store), file.fileno()
    rows = _start(store, file, items)
    keys = array("I", [0]) * rows.buckets  # where the next one begins in each bucket
    first = array("I", [rows.bucket_bytes]) * rows.buckets  # the row nearest to them
    for done, row in enumerate(_all_rows(store)):
        key = key_of(row.item_id)
        bucket = rows.bucket_of(key)
        place = max(0, first[bucket] - rows.row.size)
        entry = entry_of(key, place)
        if keys[bucket] + len(entry) <= place:
            start = rows.place(bucket)
            os.pwrite(descriptor, entry, start + keys[bucket])
            os.pwrite(descriptor, rows.packed(row), start + place)
            keys[bucket] += len(entry)
            first[bucket] = place
        if done % _AT_ONCE == 0:
            on_progress(min(done, items - 1), items)
    on_progress(items, items)


def _start(store: Store, file: FileIO, items: int) -> RowFile:
    some = [entry_of(key_of(row.item_id), 0) for row in islice(_all_rows(store), _AT_ONCE)]
    longest = max(map(len, some)) + row_struct(store.info.dim).size
    bucket_bytes = -(-_ROWS_IN_BUCKET * longest // _PAGE) * _PAGE
    buckets = int(items / (_LOAD * (bucket_bytes // longest))) + 1
    if shutil.disk_usage(store.path.parent).free < START + buckets * bucket_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(row_path(store.path)))
    return start_row_file(file, store.info.dim, bucket_bytes, buckets)


def _all_rows(store: Store) -> Iterator[Row]:
    last = -(2**63)
    while found := store.rows_after(last, _AT_ONCE):
        for number, *values in found:
            row = Row._make(values)
            if not row.is_whole(store.info.dim):
                raise damaged_row(store.path, row.item_id)
            yield row
            last = number


def is_outdated(index: Where) -> bool:
    """Whether an index has a row file that is not of the items it has now.

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
            return rows.state() != store.state()


@contextmanager
def followed(store: AnyWritableStore, gone: Iterable[str], put: Iterable[Item]) -> Iterator[None]:
    """Items are changed in it, and committed; then the row file is brought up to date, if any.

    One that is left half done, or cannot be written, is of another state and is not read.

    Args:
        store: which nobody else writes meanwhile.
        gone: ids of the items that are removed.
        put: items that are put in, after that.
    """
    before = store.state() if isinstance(store, WritableStore) else None
    yield
    if not isinstance(store, WritableStore) or before is None:
        return
    rows = open_row_file(store.path, store.info.dim, "r+b")
    if rows is not None:
        with rows.file, suppress(OSError):
            _follow(rows, before, store.state(), gone, put)


def _follow(
    rows: RowFile, before: bytes, after: bytes | None, gone: Iterable[str], put: Iterable[Item]
) -> None:
    if after is None or rows.state() != before:
        return
    file = rows.file.fileno()
    os.pwrite(file, bytes(STATE_BYTES), STATE_AT)
    for item_id in gone:
        _rewrite(rows, key_of(item_id), None)
    for item in put:
        _rewrite(rows, key_of(item.item_id), Row._make(columns_of(item)[:5]))
    os.fsync(file)
    os.pwrite(file, after, STATE_AT)


def _rewrite(rows: RowFile, key: bytes, row: Row | None) -> None:
    """Put a row in place of that of a key, if there is room for it, or take that away."""
    bucket = rows.bucket_of(key)
    content = rows.content(bucket)
    kept = {
        known: content[place : place + rows.row.size]
        for known, place in entries(content)
        if known != key
    }
    if row is not None:
        kept[key] = rows.packed(row)
    places = [rows.bucket_bytes - rows.row.size * (at + 1) for at in range(len(kept))]
    front = b"".join(entry_of(known, place) for known, place in zip(kept, places, strict=True))
    back = b"".join(reversed(kept.values()))
    if len(front) + len(back) > rows.bucket_bytes:
        return _rewrite(rows, key, None)
    new = front + bytes(rows.bucket_bytes - len(front) - len(back)) + back
    os.pwrite(rows.file.fileno(), new, rows.place(bucket))
