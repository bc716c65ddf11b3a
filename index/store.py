"""The index file: one SQLite database with a row an item.

SQLite gives atomic commits, readers beside a writer, and candidate fetches whose time does not
depend on how many items there are. Each row has a checksum, which SQLite does not give.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, PhotoError
from index.database import connect, sqlite_errors, undo_if_alone
from index.fetching import (
    fetch_after,
    fetch_ends,
    fetch_following,
    fetch_numbered,
    fetch_origins,
    fetch_rows,
    has_row,
    in_order,
    photo_places,
    vectors_of,
)
from index.row_file import STATE_BYTES, RowFile, open_row_file
from index.rows import COLUMNS, Row, are_whole, is_whole
from index.schema import MEND, IndexInfo, read_info

Vectors = npt.NDArray[np.float32]

# The upper pages of an index of ten million items are 20 MB; those of a small one are all it takes.
_CACHE_KB = 32_000
_IDS_AT_ONCE = 1000

ROW_STATE = "row_state"  # its name in the index


def stamp_of(path: Path) -> tuple[int, int, int]:
    """What a file is known by: another one after it was written, or another was put in its place.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def existing(path: str | os.PathLike[str]) -> Path:
    """The path of an index file.

    Raises:
        IndexFileError: there is no file.
    """
    path = Path(path)
    if not path.is_file():
        raise IndexFileError(
            f"{path}: expected an index file, found none: "
            "make one with 'embed build-index', or name one with --index"
        )
    return path


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
        self._row_file: RowFile | None = None
        self._one_moment = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an index that is there, to read it.

        Raises:
            IndexFileError: there is none, it is no index, it is damaged, or of a newer version.
        """
        path = existing(path)
        with sqlite_errors(path):
            undo_if_alone(path)  # who writes undoes it by reading
        found = cls._opened(path, "ro")
        found._row_file = open_row_file(path, found.info.dim)
        return found

    @classmethod
    def _opened(cls, path: Path, mode: Literal["ro", "rw"]) -> Self:
        with sqlite_errors(path):
            connection = connect(path, mode)
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            try:
                return cls(path, connection, read_info(path, connection))
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the file; what was not committed is given up."""
        self.connection.close()
        if self._row_file is not None:
            self._row_file.file.close()

    def __enter__(self) -> Self:
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
        rows, vectors = self._rows(wanted)
        if len(rows) == len(wanted):
            return vectors, []
        return in_order(wanted, rows, vectors)

    def _rows(self, ids: list[str]) -> tuple[dict[str, Row], Vectors]:
        """Of the items that the index has, where their rows are read fastest; not to check them."""
        dim = self.info.dim
        if self._row_file is None:
            return fetch_rows(self.path, self.connection, ids, dim)
        state = self.state()
        found = self._row_file.rows(ids, dim, state)
        others = [item_id for item_id in ids if item_id not in found]
        if others:
            rows, vectors = fetch_rows(self.path, self.connection, others, dim)
            if not found:
                return rows, vectors
            if self.state() != state:  # changed meanwhile: all of one moment
                return fetch_rows(self.path, self.connection, ids, dim)
            found |= rows
            found = {item_id: found[item_id] for item_id in ids if item_id in found}
        return found, vectors_of(self.path, found, dim)

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
        return fetch_after(self.path, self.connection, number, most)

    def rows_numbered(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """Numbers and rows with these numbers, in this order, of those that are there."""
        return fetch_numbered(self.path, self.connection, numbers)

    def numbers_from(self, numbers: Sequence[int]) -> list[int]:
        """For each number the lowest one of a row that is as high, of those that there are."""
        return fetch_following(self.path, self.connection, numbers)

    def ends(self) -> tuple[int, int]:
        """The lowest and the highest number of a row; 0 and 0 where there is none."""
        return fetch_ends(self.path, self.connection)

    def spreads(self) -> Iterator[tuple[object, object]]:
        """What `put_spread` added, in the order of the ids; damaged ones can be of any type."""
        with sqlite_errors(self.path):
            yield from self.connection.execute(
                "SELECT item_id, content FROM spreads ORDER BY item_id"
            )

    def part(self, name: str) -> object:
        """What `put_part` kept, None if nothing; a damaged one can be of any type."""
        query = "SELECT value FROM meta WHERE key = ?"
        with sqlite_errors(self.path):
            row = self.connection.execute(query, (name,)).fetchone()
        return row[0] if row else None

    def state(self) -> bytes | None:
        """What changes with every change of the items; None where no row file was made yet."""
        found = self.part(ROW_STATE)
        return found if isinstance(found, bytes) and len(found) == STATE_BYTES else None

    def damaged_ids(self) -> IndexFileError:
        """The error for ids that are not those of rows."""
        return IndexFileError(f"{self.path}: its list of ids is damaged: {MEND}")

    def _one(self, query: str) -> int:
        with sqlite_errors(self.path):
            return int(self.connection.execute(query).fetchone()[0])
