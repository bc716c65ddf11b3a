"""What parts of a catalogue gave that a build on many machines has done, kept until the next.

With it an interrupted build goes on, and a build of the same photos embeds nothing. It is a SQLite
file of its own beside the index, may be deleted, and also puts the parts of an item side by side:
they are read in the order of the ids, however many there are.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from embedder.errors import IndexFileError, in_one_line
from index.database import connect, is_damage, journal_of, sqlite_errors
from index.kept_photos import DamagedKeptError
from index.partials import Partial, Run, merged_partials

_FORMAT = "1"
_CACHE_KB = 32_000

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE groups (number INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, "
    "states BLOB NOT NULL)",
    """CREATE TABLE partials (
    item_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (item_id, number)
) WITHOUT ROWID""",
)


def chunks_beside(path: Path) -> Path:
    """Where what chunks gave is kept of an index."""
    return path.with_name(f"{path.name}.chunks")


class KeptChunks:
    """The open file; for one thread and one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, dim: int) -> None:
        self._path, self._connection, self._dim = path, connection, dim

    @classmethod
    def open(cls, path: Path, fingerprint: str, dim: int) -> KeptChunks:
        """Open the file, or make it anew where it is not one of this model, or damaged.

        Args:
            path: of the file.
            fingerprint: of the model.
            dim: numbers in a vector.

        Raises:
            IndexFileError: it cannot be read or written.
        """
        meta = {"format": _FORMAT, "fingerprint": fingerprint}
        try:
            return cls(path, _opened(path, meta), dim)
        except IndexFileError as error:
            if not is_damage(error):
                raise
            cls.delete(path)
            return cls(path, _opened(path, meta), dim)

    @staticmethod
    def delete(path: Path) -> None:
        """Delete the file, if there is one."""
        for file in (path, journal_of(path)):
            file.unlink(missing_ok=True)

    def __enter__(self) -> KeptChunks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def states(self, key: bytes) -> tuple[bytes, ...] | None:
        """The states of a group's chunks as they were; None of a group that is not done."""
        query = "SELECT states FROM groups WHERE key = ?"
        with _errors(self._path):
            row = self._connection.execute(query, (key,)).fetchone()
        return (
            None if row is None else tuple(row[0][at : at + 16] for at in range(0, len(row[0]), 16))
        )

    def put(self, key: bytes, run: Run) -> None:
        """Keep what a group gave, in place of what it gave before; it lasts."""
        self._remove([key])
        with _errors(self._path):
            insert = "INSERT INTO groups (key, states) VALUES (?, ?)"
            number = self._connection.execute(insert, (key, b"".join(run.states))).lastrowid
            rows = (
                (partial.item_id, number, content, _checksum(partial.item_id, content))
                for partial in run.partials
                for content in (partial.to_bytes(),)
            )
            self._connection.executemany("INSERT INTO partials VALUES (?, ?, ?, ?)", rows)
            self._connection.commit()

    def remove_others(self, keys: Collection[bytes]) -> None:
        """Forget all groups but these."""
        with _errors(self._path):
            found = [key for (key,) in self._connection.execute("SELECT key FROM groups")]
        if gone := [key for key in found if key not in keys]:
            self._remove(gone)
            with _errors(self._path):
                self._connection.commit()

    def _remove(self, keys: Sequence[bytes]) -> None:
        with _errors(self._path):
            numbers = [
                row
                for key in keys
                for row in self._connection.execute(
                    "SELECT number FROM groups WHERE key = ?", (key,)
                )
            ]
            if numbers:
                marks = ", ".join(str(number) for (number,) in numbers)
                self._connection.execute(f"DELETE FROM partials WHERE number IN ({marks})")
                self._connection.executemany("DELETE FROM groups WHERE number = ?", numbers)

    def items(self) -> Iterator[Partial]:
        """All that is kept, one partial an item, in the order of the ids; few are held.

        Raises:
            DamagedKeptError: one is not what was written.
        """
        return merged_partials([self._partials()])

    def has(self, item_id: str) -> bool:
        """Whether there is something of an item."""
        query = "SELECT EXISTS (SELECT 1 FROM partials WHERE item_id = ?)"
        with _errors(self._path):
            return bool(self._connection.execute(query, (item_id,)).fetchone()[0])

    def _partials(self) -> Iterator[Partial]:
        query = "SELECT item_id, content, checksum FROM partials ORDER BY item_id, number"
        with _errors(self._path):
            for item_id, content, checksum in self._connection.execute(query):
                if not isinstance(item_id, str) or _checksum(item_id, content) != checksum:
                    raise DamagedKeptError(f"{self._path}: damaged (checksum)")
                yield Partial.from_bytes(item_id, content, self._dim)


def _opened(path: Path, meta: dict[str, str]) -> sqlite3.Connection:
    with sqlite_errors(path):
        if path.exists() and not _is_of(path, meta):
            KeptChunks.delete(path)
        connection = connect(path, "rwc")
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript("; ".join(("BEGIN", *_TABLES)))
                connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
                connection.commit()
        except BaseException:
            connection.close()
            raise
    return connection


def _is_of(path: Path, meta: dict[str, str]) -> bool:
    """Whether a file is one of ours, with these tables and nothing else, of the model in `meta`."""
    connection = connect(path, "rw")
    try:
        query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
        tables = [sql for (sql,) in connection.execute(query)]
        return tables == list(_TABLES) and meta == dict(
            connection.execute("SELECT key, value FROM meta")
        )
    finally:
        connection.close()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        with sqlite_errors(path):
            yield
    except IndexFileError as error:
        if is_damage(error) and not isinstance(error, DamagedKeptError):
            cause = error.__cause__ or error
            raise DamagedKeptError(f"{path}: damaged ({in_one_line(cause)})") from cause
        raise


def _checksum(item_id: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(item_id.encode()))
