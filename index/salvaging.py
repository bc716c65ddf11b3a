"""From a damaged index to a new one with all of it that is whole.

Rows are taken over one by one, so that what is damaged takes nothing else with it, and the new file
has none of the old one's structure. What the new one lacks is left to the build that asked.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from embedder.errors import IndexFileError, PhotoError
from index.database import connect, is_damage, sqlite_errors, undo_half_done
from index.parts import PARTS, is_sealed
from index.rows import COLUMNS, are_whole, whole_item
from index.schema import IndexInfo, check_tables, first_page
from index.store_writing import WritableStore

_PAGE, _FIRST_PAGES = 4096, 9  # bytes, and how many pages an empty index has
_INDEXES = ("items_again", "sqlite_autoindex_items_1")  # of ids
_ROWS = f"SELECT number, {COLUMNS} FROM items"


class Salvaged(NamedTuple):
    """What came of a damaged index.

    Attributes:
        store: a new one, with the rows that are whole.
        known: ids of the items that the old one had, as far as it can be read.
        whitened: whether the old one had a score space; None if none of it was of use.
    """

    store: WritableStore
    known: set[str]
    whitened: bool | None


def salvage(path: Path, unfinished: Path, info: IndexInfo) -> Salvaged:
    """Make a new index at `unfinished` of what is whole of the one at `path`, of the same model.

    Raises:
        IndexBusyError: another program holds the index.
        IndexFileError: a file cannot be read or written; not that the index is damaged.
    """
    copy = unfinished.with_name(f"{unfinished.name}.old")
    store = WritableStore.create(unfinished, info)
    try:
        _undo_half_done(path)
        shutil.copyfile(path, copy)
        # One that was rearranged with other tools has another first page than those that we make.
        found = _taken_over(copy, store, with_first_page=True)
        if found is None:
            with suppress(IndexFileError):
                found = _taken_over(copy, store, with_first_page=False)
        return found or Salvaged(store, set(), None)
    except BaseException:
        store.close()
        raise
    finally:
        copy.unlink(missing_ok=True)


def _undo_half_done(path: Path) -> None:
    try:
        with sqlite_errors(path):
            undo_half_done(path)
    except IndexFileError as error:
        if not is_damage(error):
            raise


def _taken_over(copy: Path, store: WritableStore, with_first_page: bool) -> Salvaged | None:
    """None if nothing is found in the copy."""
    with copy.open("r+b") as file:
        kept = file.read(_PAGE)
        # Without the first page of any table, SQLite would read none.
        size = max(-(-copy.stat().st_size // _PAGE), _FIRST_PAGES) * _PAGE
        file.truncate(size)
        if with_first_page:
            file.seek(0)
            file.write(_first_page(size))
    with sqlite_errors(copy), closing(connect(copy, "ro")) as old:
        if not with_first_page:
            check_tables(copy, old)  # a view called as a table is could go on for ever
        old.text_factory = lambda content: content.decode(errors="replace")
        known = _ids(old)
        query = "SELECT value FROM meta WHERE key = 'fingerprint'"
        of_model = _values(old, query) == [store.info.fingerprint]
        whitened = _take_over(old, store, size) if of_model else None
    if known or of_model:
        return Salvaged(store, known, whitened)
    with copy.open("r+b") as file:
        file.write(kept)
    return None


def _first_page(size: int) -> bytes:
    """That of an index of `size` bytes, in place of a damaged one: it is the same in all."""
    page = bytearray(first_page())
    page[28:32] = (size // len(page)).to_bytes(4, "big")
    page[92:96] = page[24:28]  # the number of pages is that of this version of the file
    return bytes(page)


def _take_over(old: sqlite3.Connection, store: WritableStore, size: int) -> bool:
    """Copy what is whole of an open index into a new one; says whether it had a score space."""
    notes = _unreadable(old)
    for columns in _rows(old, most=size // (4 * store.info.dim)):
        item = whole_item(columns, store.info.dim)
        # Which items had unreadable photos is not known without the notes: build them anew.
        if item is None or store.has(item.item_id) or (notes is None and item.signature):
            continue
        store.put(item)
        store.put_unreadable(item.item_id, (notes or {}).get(item.item_id, ()))
        for content in _values(old, "SELECT content FROM spreads WHERE item_id = ?", item.item_id):
            if isinstance(content, bytes):  # `index.whitening` looks at its checksum
                store.put_spread(item.item_id, content)
    parts = {name: _values(old, "SELECT value FROM meta WHERE key = ?", name) for name in PARTS}
    whole = {name: found[0] for name, found in parts.items() if found and is_sealed(found[0])}
    for name, content in whole.items():
        store.put_part(name, content)
    store.commit()
    # It may be the score space that is damaged: it is fitted anew, and is the same.
    said = _values(old, "SELECT value FROM meta WHERE key = 'whitened'")
    return "score_space" in whole or said == ["True"]


def _unreadable(old: sqlite3.Connection) -> dict[str, list[PhotoError]] | None:
    """The photos that could not be read, by item; None if a note is damaged or gone."""
    rows = list(_read(old, "SELECT item_id, photo, reason, checksum FROM unreadable"))
    again = _values(
        old, "SELECT item_id FROM unreadable INDEXED BY unreadable_item ORDER BY item_id"
    )
    whole = all(are_whole(texts, checksum) for *texts, checksum in rows)
    if not whole or sorted(item_id for item_id, *_ in rows) != again:
        return None
    notes: dict[str, list[PhotoError]] = {}
    for item_id, photo, reason, _ in rows:
        notes.setdefault(item_id, []).append(PhotoError(photo, reason))
    return notes


def _rows(old: sqlite3.Connection, most: int) -> Iterator[tuple[Any, ...]]:
    """Rows from the first on, then from the last on, then those between, by the indexes of ids."""
    low, high = 0, 2**63 - 1
    for number, *columns in islice(_read(old, f"{_ROWS} ORDER BY number"), most):
        low = number
        yield tuple(columns)
    for number, *columns in islice(_read(old, f"{_ROWS} ORDER BY number DESC"), most):
        if number <= low:
            return
        high = number
        yield tuple(columns)
    for name in _INDEXES:
        for number in _values(old, f"SELECT number FROM items INDEXED BY {name}"):
            if low < number < high:
                for _, *columns in _read(old, f"{_ROWS} WHERE number = ?", number):
                    yield tuple(columns)


def _ids(old: sqlite3.Connection) -> set[str]:
    """Ids by both indexes, for damage to one not to make up an item."""
    again, first = (
        {
            item_id
            for item_id in _values(old, f"SELECT id FROM items INDEXED BY {name}")
            if isinstance(item_id, str)
        }
        for name in _INDEXES
    )
    return again & first or again | first


def _values(old: sqlite3.Connection, query: str, *values: str | int) -> list[Any]:
    return [value for (value,) in _read(old, query, *values)]


def _read(old: sqlite3.Connection, query: str, *values: str | int) -> Iterator[tuple[Any, ...]]:
    """As much of an answer as can be read."""
    try:
        yield from old.execute(query, values)
    except UnicodeDecodeError:  # damage to a name in a message
        pass
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
