"""Changing an index file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from embedder.errors import PhotoError
from index.database import connect, sqlite_errors
from index.row_file import STATE_BYTES, follow
from index.rows import COLUMNS, Item, columns_of, text_checksum
from index.schema import IndexInfo, create_tables, seal, write_info
from index.store import ROW_STATE, Store, existing

# The highest number that a row has had. None is given twice: a search file knows rows by them.
_HIGHEST = """max(
    coalesce((SELECT max(number) FROM items), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'highest'), 0)
)"""
_NEXT = f"{_HIGHEST} + 1"

# Changes in one commit that a row file follows; after more it has to be made again.
_MOST_FOLLOWED = 1000


class WritableStore(Store):
    """An index file that is open to be changed, by nobody else meanwhile (`database.only_writer`).

    What it reads is the index itself, never the row file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, info: IndexInfo) -> None:
        super().__init__(path, connection, info)
        self._changes: list[tuple[str, Item | None]] = []  # since the last commit

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an index that is there.

        Raises:
            IndexFileError: as `Store.open`.
        """
        return cls._opened(existing(path), "rw")

    @classmethod
    def create(cls, path: Path, info: IndexInfo) -> Self:
        """Make an empty index and open it for writing.

        Raises:
            IndexFileError: it cannot be made.
        """
        with sqlite_errors(path):
            connection = connect(path, "rwc")
            try:
                create_tables(connection)
            except BaseException:
                connection.close()
                raise
        store = cls(path, connection, info)
        store.write_info(info)
        return store

    def put(self, item: Item) -> None:
        """Add an item; call `commit` to keep it."""
        columns = columns_of(item)
        marks = ", ".join("?" * len(columns))
        query = f"INSERT INTO items (number, {COLUMNS}) VALUES ({_NEXT}, {marks})"
        self._note(item.item_id, item)
        with sqlite_errors(self.path):
            self.connection.execute(query, columns)

    def put_unreadable(self, item_id: str, photos: Iterable[PhotoError]) -> None:
        """Note photos of an item that could not be read."""
        with sqlite_errors(self.path):
            texts = [(item_id, error.photo, error.reason) for error in photos]
            self.connection.executemany(
                "INSERT INTO unreadable VALUES (?, ?, ?, ?)",
                [(*some, text_checksum(*some)) for some in texts],
            )

    def remove(self, ids: Iterable[str]) -> None:
        """Remove items; call `commit` to keep that."""
        rows = [(item_id,) for item_id in ids]
        for (item_id,) in rows:
            self._note(item_id, None)
        highest = self._one(f"SELECT {_HIGHEST}")
        with sqlite_errors(self.path):
            self.connection.executemany("DELETE FROM items WHERE id = ?", rows)
            self.connection.executemany("DELETE FROM unreadable WHERE item_id = ?", rows)
            if self._one(f"SELECT {_HIGHEST}") < highest:
                self.connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('highest', ?)", (str(highest),)
                )
                seal(self.connection)
        self.remove_spreads(item_id for (item_id,) in rows)

    def put_spread(self, item_id: str, content: bytes) -> None:
        """Add what an item adds to the score space; `index.whitening` knows what that is."""
        with sqlite_errors(self.path):
            self.connection.execute("INSERT INTO spreads VALUES (?, ?)", (item_id, content))

    def remove_spreads(self, ids: Iterable[str]) -> None:
        """Remove spreads of items; call `commit` to keep that."""
        with sqlite_errors(self.path):
            self.connection.executemany(
                "DELETE FROM spreads WHERE item_id = ?", [(item_id,) for item_id in ids]
            )

    def put_part(self, name: str, content: bytes | None) -> None:
        """Keep a part of the index that is not about an item, or remove it; `commit` keeps that.

        `index.parts` gives it a checksum.
        """
        with sqlite_errors(self.path):
            self.connection.execute("DELETE FROM meta WHERE key = ?", (name,))
            if content is not None:
                self.connection.execute("INSERT INTO meta VALUES (?, ?)", (name, content))
            seal(self.connection)

    def write_info(self, info: IndexInfo) -> None:
        """Replace what the index says about itself, and commit."""
        with sqlite_errors(self.path):
            if info.created != self.info.created:  # what knew rows by numbers is of an earlier one
                self.connection.execute("DELETE FROM meta WHERE key = 'highest'")
            write_info(self.connection, info)
        self.commit()
        self.info = info

    def commit(self) -> None:
        """Keep all changes since the last commit, whatever happens afterwards."""
        states, changes = None, self._changes
        if changes and (before := self.state()) is not None:
            now = os.urandom(STATE_BYTES)
            self.put_part(ROW_STATE, now)
            states = before, now
        with sqlite_errors(self.path):
            self.connection.commit()
        self._changes = []
        if states and len(changes) <= _MOST_FOLLOWED:
            follow(self.path, self.info.dim, states, changes)

    def renew_state(self, state: bytes | None = None) -> bytes:
        """Give the items another state, for what is kept beside the index; commits."""
        state = state or os.urandom(STATE_BYTES)
        self.put_part(ROW_STATE, state)
        self.commit()
        return state

    def _note(self, item_id: str, item: Item | None) -> None:
        if len(self._changes) <= _MOST_FOLLOWED:
            self._changes.append((item_id, item))
