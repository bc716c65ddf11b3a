"""The index file: one SQLite database with a row an item.

SQLite gives atomic commits, readers beside a writer, and candidate fetches whose time does not
depend on how many items there are. Each row has a checksum, which SQLite does not give.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, PhotoError
from index.database import connect, sqlite_errors, undo_if_alone
from index.fetching import fetch_origins, fetch_rows, has_row, in_order, photo_places
from index.rows import (
    COLUMNS,
    Item,
    Row,
    are_whole,
    columns_of,
    is_whole,
    text_checksum,
)
from index.schema import MEND, IndexInfo, create_tables, read_info, seal, write_info

Vectors = npt.NDArray[np.float32]

# The upper pages of an index of ten million items are 20 MB; those of a small one are all it takes.
_CACHE_KB = 32_000
_IDS_AT_ONCE = 1000

# The highest number that a row has had. None is given twice: a search file knows rows by them.
_HIGHEST = """max(
    coalesce((SELECT max(number) FROM items), 0),
    coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'highest'), 0)
)"""
_NEXT = f"{_HIGHEST} + 1"

_NUMBERED = "number, items.id, centroid, photos, dispersion, checksum"
_AFTER = f"SELECT {_NUMBERED} FROM items WHERE number > ? ORDER BY number LIMIT ?"
_SOME = f"""
SELECT {_NUMBERED} FROM json_each(?) AS wanted CROSS JOIN items ON items.number = wanted.value
"""
# Of one end each: asked for both, SQLite would look at all.
_ENDS = tuple(f"SELECT coalesce({end}(number), 0) FROM items" for end in ("min", "max"))
_FOLLOWING = """
SELECT (SELECT number FROM items WHERE number >= wanted.value ORDER BY number LIMIT 1)
FROM json_each(?) AS wanted
"""


def stamp_of(path: Path) -> tuple[int, int, int]:
    """What a file is known by: another one after it was written, or another was put in its place.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


class Store:
    """An open index file. Reading is safe from several threads.

    Attributes:
        path: of the file.
        info: what it says about itself.
        connection: to the database, for other modules of this package.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, info: IndexInfo) -> None:
        self.path = path
        self.info = info
        self.connection = connection
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
                create_tables(connection)
            except BaseException:
                connection.close()
                raise
        store = cls(path, connection, info)
        store.write_info(info)
        return store

    def close(self) -> None:
        """Close the file; what was not committed is given up."""
        self.connection.close()

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
                self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.rollback()

    def stamp(self) -> tuple[int, int, int]:
        """Another one after each change of the file, also by a build, as it is now.

        Raises:
            OSError: there is no such file any more.
        """
        return stamp_of(self.path)

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM items")

    def photo_count(self) -> int:
        """Photos over all items."""
        return self._one("SELECT coalesce(sum(photos), 0) FROM items")

    def has(self, item_id: str) -> bool:
        """Whether there is an item of that id.

        Raises:
            IndexFileError: there is one, but what leads to its row is damaged.
        """
        return has_row(self.path, self.connection, item_id)

    def ids(self) -> Iterator[str]:
        """All item ids, sorted.

        Raises:
            IndexFileError: one is damaged.
        """
        query = f"SELECT id FROM items WHERE id > ? ORDER BY id LIMIT {_IDS_AT_ONCE}"
        last = ""
        while True:  # not in one go, which would keep writers waiting
            with sqlite_errors(self.path):
                rows = self.connection.execute(query, (last,)).fetchall()
            for (item_id,) in rows:
                if not isinstance(item_id, str) or item_id <= last:
                    raise self.damaged_ids()
                yield item_id
                last = item_id
            if len(rows) < _IDS_AT_ONCE:
                return

    def neighbours(self, item_id: str, count: int) -> list[str]:
        """Ids next to a text in sorted order, at most `count` on each side."""
        after = "SELECT id FROM items WHERE id >= ? ORDER BY id LIMIT ?"
        before = "SELECT id FROM items WHERE id < ? ORDER BY id DESC LIMIT ?"
        with sqlite_errors(self.path):
            rows = [
                *self.connection.execute(after, (item_id, count)),
                *self.connection.execute(before, (item_id, count)),
            ]
        return [item_id for (item_id,) in rows if isinstance(item_id, str)]

    def damaged(self) -> list[str]:
        """The ids of items whose rows are not what was written.

        Raises:
            IndexFileError: more than rows is damaged.
        """
        if problems := self.problems("quick_check", 1):
            raise IndexFileError(f"{self.path}: damaged ({problems[0]}): {MEND}")
        query = f"SELECT {COLUMNS} FROM items"
        with sqlite_errors(self.path):
            rows = self.connection.execute(query)
            return [row[0] for row in rows if not is_whole(row, self.info.dim)]

    def problems(self, check: Literal["quick_check", "integrity_check"], most: int) -> list[str]:
        """What SQLite finds wrong with the structure of the file, `most` findings at most."""
        with sqlite_errors(self.path):
            rows = self.connection.execute(f"PRAGMA {check}({most})").fetchall()
        return [] if rows == [("ok",)] else [" ".join(str(row[0]).split()) for row in rows]

    def signatures(self) -> dict[str, bytes]:
        """Item id to signature, of all items.

        Raises:
            IndexFileError: an id is damaged.
        """
        with sqlite_errors(self.path):
            found = dict(self.connection.execute("SELECT id, signature FROM items"))
        if not all(isinstance(item_id, str) for item_id in found):
            raise self.damaged_ids()
        return found

    def unreadable(self) -> tuple[PhotoError, ...]:
        """The photos that could not be read when the index was built.

        Raises:
            IndexFileError: the note of one is damaged.
        """
        query = "SELECT item_id, photo, reason, checksum FROM unreadable ORDER BY photo"
        with sqlite_errors(self.path):
            rows = self.connection.execute(query).fetchall()
        for *texts, checksum in rows:
            if not are_whole(texts, checksum):
                raise IndexFileError(
                    f"{self.path}: the list of unreadable photos is damaged (checksum): {MEND}"
                )
        return tuple(PhotoError(photo, reason) for _, photo, reason, _ in rows)

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
        rows, vectors = fetch_rows(self.path, self.connection, wanted, self.info.dim)
        if len(rows) == len(wanted):
            return vectors, []
        return in_order(wanted, rows, vectors)

    def statistics(self, ids: Iterable[str]) -> dict[str, Row]:
        """The rows of some items by id, of those that the index has.

        Raises:
            IndexFileError: a row is damaged; names the item.
        """
        return fetch_rows(self.path, self.connection, list(ids), self.info.dim)[0]

    def references(self, ids: Iterable[str]) -> dict[str, Path]:
        """Of some items, where a photo of each was when it was taken in, to show.

        In the catalogue, where that was; of an item added by hand, as the photo was named then.

        Raises:
            IndexFileError: a row is damaged; names the item.
        """
        return photo_places(self.info, fetch_origins(self.path, self.connection, list(ids)))

    def added(self, ids: Iterable[str]) -> set[str]:
        """Those of some items that were added by hand, and are of no catalogue.

        Raises:
            IndexFileError: a row is damaged; names the item.
        """
        found = fetch_origins(self.path, self.connection, list(ids))
        return {item_id for item_id, origin in found.items() if not origin.signature}

    def rows_after(self, number: int, most: int) -> list[tuple[Any, ...]]:
        """Numbers and rows with a higher number than one, ascending, at most so many."""
        with sqlite_errors(self.path):
            return self.connection.execute(_AFTER, (number, most)).fetchall()

    def rows_numbered(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """Numbers and rows with these numbers, in this order, of those that are there."""
        with sqlite_errors(self.path):
            return self.connection.execute(_SOME, (json.dumps(numbers),)).fetchall()

    def numbers_from(self, numbers: Sequence[int]) -> list[int]:
        """For each number the lowest one of a row that is as high, of those that there are."""
        with sqlite_errors(self.path):
            found = self.connection.execute(_FOLLOWING, (json.dumps(numbers),)).fetchall()
        return [number for (number,) in found if number is not None]

    def ends(self) -> tuple[int, int]:
        """The lowest and the highest number of a row; 0 and 0 where there is none."""
        first, last = (self._one(query) for query in _ENDS)
        return first, last

    def put(self, item: Item) -> None:
        """Add an item; call `commit` to keep it."""
        columns = columns_of(item)
        marks = ", ".join("?" * len(columns))
        query = f"INSERT INTO items (number, {COLUMNS}) VALUES ({_NEXT}, {marks})"
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

    def spreads(self) -> Iterator[tuple[object, object]]:
        """What `put_spread` added, in the order of the ids; damaged ones can be of any type."""
        with sqlite_errors(self.path):
            yield from self.connection.execute(
                "SELECT item_id, content FROM spreads ORDER BY item_id"
            )

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

    def part(self, name: str) -> object:
        """What `put_part` kept, None if nothing; a damaged one can be of any type."""
        query = "SELECT value FROM meta WHERE key = ?"
        with sqlite_errors(self.path):
            row = self.connection.execute(query, (name,)).fetchone()
        return row[0] if row else None

    def write_info(self, info: IndexInfo) -> None:
        """Replace what the index says about itself, and commit."""
        with sqlite_errors(self.path):
            if (
                info.created != self.info.created
            ):  # what knew rows by their numbers is of an earlier
                self.connection.execute("DELETE FROM meta WHERE key = 'highest'")
            write_info(self.connection, info)
            self.connection.commit()
        self.info = info

    def commit(self) -> None:
        """Keep all changes since the last commit, whatever happens afterwards."""
        with sqlite_errors(self.path):
            self.connection.commit()

    def damaged_ids(self) -> IndexFileError:
        """The error for ids that are not those of rows."""
        return IndexFileError(f"{self.path}: its list of ids is damaged: {MEND}")

    def _one(self, query: str) -> int:
        with sqlite_errors(self.path):
            return int(self.connection.execute(query).fetchone()[0])
