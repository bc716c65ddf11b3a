"""The index file: one SQLite database with a row an item.

SQLite gives atomic commits, readers beside a writer, and candidate fetches whose time does not
depend on how many items there are. Each row has a checksum, which SQLite does not give.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, PhotoError
from index.database import (
    APPLICATION_ID,
    FORMAT_VERSION,
    IndexInfo,
    connect,
    read_info,
    sqlite_errors,
    undo_if_alone,
)
from index.rows import Item, Row, row_checksum

Vectors = npt.NDArray[np.float32]

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    centroid BLOB NOT NULL,
    photos INTEGER NOT NULL,
    dispersion REAL NOT NULL,
    reference TEXT NOT NULL,
    signature BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE unreadable (item_id TEXT NOT NULL, photo TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE spreads (item_id TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE INDEX unreadable_item ON unreadable (item_id);
"""

# The upper pages of an index of ten million items are 20 MB; those of a small one are all it takes.
_CACHE_KB = 32_000

# One statement for a list of any length: each of its own would cost four times as much.
_FETCH = """
SELECT items.id, centroid, photos, dispersion, checksum
FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value
"""


class Store:
    """An open index file. Reading is safe from several threads.

    Attributes:
        path: of the file.
        info: what it says about itself.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, info: IndexInfo) -> None:
        self.path = path
        self.info = info
        self._connection = connection
        self._one_moment = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], writable: bool = False) -> Store:
        """Open an index that is there.

        Raises:
            IndexFileError: there is none, it is no index, it is damaged, or of a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise IndexFileError(
                f"{path}: expected an index file, found none: "
                "make one with 'embed build-index', or name one with --index"
            )
        with sqlite_errors(path):
            if not writable:  # who writes undoes it by reading
                undo_if_alone(path)
            connection = connect(path, "rw" if writable else "ro")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            try:
                return cls(path, connection, read_info(path, connection))
            except BaseException:
                connection.close()
                raise

    @classmethod
    def create(cls, path: Path, info: IndexInfo) -> Store:
        """Make an empty index and open it for writing.

        Raises:
            IndexFileError: it cannot be made.
        """
        with sqlite_errors(path):
            connection = connect(path, "rwc")
            try:
                connection.executescript(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            except BaseException:
                connection.close()
                raise
        store = cls(path, connection, info)
        store.write_info(info)
        return store

    def close(self) -> None:
        """Close the file; what was not committed is given up."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Reads in it see the index as it is at one moment, between two commits of others.

        Writers wait for its end meanwhile. Not for who writes.
        """
        with self._one_moment:
            with sqlite_errors(self.path):
                self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.rollback()

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM items")

    def photo_count(self) -> int:
        """Photos over all items."""
        return self._one("SELECT coalesce(sum(photos), 0) FROM items")

    def has(self, item_id: str) -> bool:
        """Whether there is an item of that id."""
        return self._one("SELECT EXISTS (SELECT 1 FROM items WHERE id = ?)", item_id) == 1

    def ids(self) -> Iterator[str]:
        """All item ids, sorted."""
        with sqlite_errors(self.path):
            for (item_id,) in self._connection.execute("SELECT id FROM items ORDER BY id"):
                yield item_id

    def neighbours(self, item_id: str, count: int) -> list[str]:
        """Ids next to a text in sorted order, at most `count` on each side."""
        after = "SELECT id FROM items WHERE id >= ? ORDER BY id LIMIT ?"
        before = "SELECT id FROM items WHERE id < ? ORDER BY id DESC LIMIT ?"
        with sqlite_errors(self.path):
            rows = [
                *self._connection.execute(after, (item_id, count)),
                *self._connection.execute(before, (item_id, count)),
            ]
        return [row[0] for row in rows]

    def damaged(self) -> list[str]:
        """The ids of items whose rows are damaged.

        Raises:
            IndexFileError: more than rows is damaged.
        """
        query = "SELECT id, centroid, photos, dispersion, checksum FROM items"
        with sqlite_errors(self.path):
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(str(found).split()))
            rows = map(Row._make, self._connection.execute(query))
            return [row.item_id for row in rows if not row.is_whole(self.info.dim)]

    def signatures(self) -> dict[str, bytes]:
        """Item id to signature, of all items."""
        with sqlite_errors(self.path):
            return dict(self._connection.execute("SELECT id, signature FROM items"))

    def unreadable(self) -> tuple[PhotoError, ...]:
        """The photos that could not be read when the index was built."""
        query = "SELECT photo, reason FROM unreadable ORDER BY photo"
        with sqlite_errors(self.path):
            return tuple(PhotoError(*row) for row in self._connection.execute(query))

    def centroids(self, ids: Iterable[str]) -> tuple[Vectors, list[str]]:
        """The centroids of some items.

        Args:
            ids: item ids.

        Returns:
            float32 (found, dim), in the order asked for, and the ids that the index does not have.

        Raises:
            IndexFileError: a row is damaged; names the item.
        """
        wanted = list(ids)
        rows = self.statistics(wanted)
        unknown = [item_id for item_id in wanted if item_id not in rows]
        vectors = [rows[item_id].centroid for item_id in wanted if item_id in rows]
        found = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(-1, self.info.dim)
        return found, unknown

    def statistics(self, ids: Iterable[str]) -> dict[str, Row]:
        """The rows of some items by id, of those that the index has.

        Raises:
            IndexFileError: a row is damaged; names the item.
        """
        wanted = list(ids)
        with sqlite_errors(self.path):
            rows = self._connection.execute(_FETCH, (json.dumps(wanted),)).fetchall()
        found = {}
        for row in map(Row._make, rows):
            if not row.is_whole(self.info.dim):
                raise IndexFileError(
                    f"{self.path}: the row of item '{row.item_id}' is damaged (checksum): "
                    "build the index again"
                )
            found[row.item_id] = row
        return found

    def put(self, item: Item) -> None:
        """Add an item; call `commit` to keep it."""
        centroid = item.centroid.astype("<f4").tobytes()
        values = (item.item_id, centroid, item.photos, item.dispersion)
        with sqlite_errors(self.path):
            self._connection.execute(
                "INSERT INTO items (id, centroid, photos, dispersion, reference, signature, "
                "checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, item.reference, item.signature, row_checksum(*values)),
            )

    def put_unreadable(self, item_id: str, photos: Iterable[PhotoError]) -> None:
        """Note photos of an item that could not be read."""
        with sqlite_errors(self.path):
            self._connection.executemany(
                "INSERT INTO unreadable VALUES (?, ?, ?)",
                [(item_id, error.photo, error.reason) for error in photos],
            )

    def remove(self, ids: Iterable[str]) -> None:
        """Remove items; call `commit` to keep that."""
        rows = [(item_id,) for item_id in ids]
        with sqlite_errors(self.path):
            self._connection.executemany("DELETE FROM items WHERE id = ?", rows)
            self._connection.executemany("DELETE FROM unreadable WHERE item_id = ?", rows)
        self.remove_spreads(item_id for (item_id,) in rows)

    def put_spread(self, item_id: str, content: bytes) -> None:
        """Add what an item adds to the score space; `index.whitening` knows what that is."""
        with sqlite_errors(self.path):
            self._connection.execute("INSERT INTO spreads VALUES (?, ?)", (item_id, content))

    def spreads(self) -> Iterator[tuple[object, object]]:
        """What `put_spread` added, in the order of the ids; damaged ones can be of any type."""
        with sqlite_errors(self.path):
            yield from self._connection.execute(
                "SELECT item_id, content FROM spreads ORDER BY item_id"
            )

    def remove_spreads(self, ids: Iterable[str]) -> None:
        """Remove spreads of items; call `commit` to keep that."""
        with sqlite_errors(self.path):
            self._connection.executemany(
                "DELETE FROM spreads WHERE item_id = ?", [(item_id,) for item_id in ids]
            )

    def put_part(self, name: str, content: bytes | None) -> None:
        """Keep a part of the index that is not about an item, or remove it; `commit` keeps that.

        `index.parts` gives it a checksum.
        """
        with sqlite_errors(self.path):
            self._connection.execute("DELETE FROM meta WHERE key = ?", (name,))
            if content is not None:
                self._connection.execute("INSERT INTO meta VALUES (?, ?)", (name, content))

    def part(self, name: str) -> object:
        """What `put_part` kept, None if nothing; a damaged one can be of any type."""
        query = "SELECT value FROM meta WHERE key = ?"
        with sqlite_errors(self.path):
            row = self._connection.execute(query, (name,)).fetchone()
        return row[0] if row else None

    def write_info(self, info: IndexInfo) -> None:
        """Replace what the index says about itself, and commit."""
        rows = {name: str(value) for name, value in vars(info).items()}
        with sqlite_errors(self.path):
            self._connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", list(rows.items())
            )
            self._connection.commit()
        self.info = info

    def commit(self) -> None:
        """Keep all changes since the last commit, whatever happens afterwards."""
        with sqlite_errors(self.path):
            self._connection.commit()

    def _one(self, query: str, *values: str) -> int:
        with sqlite_errors(self.path):
            return int(self._connection.execute(query, values).fetchone()[0])
