"""What each photo of a catalogue gave, kept beside the index for the next build.

With it, only photos that are new or changed are embedded, after an interruption too. It is a
SQLite file of its own, so that the index stays small; it may be deleted, and is then made anew as
photos are embedded. What it says is used only for the model it was made with, and for photos whose
content is known to be the same.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Container, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexBusyError, IndexFileError, in_one_line
from index.database import connect, is_damage, journal_of, sqlite_errors
from index.places import Place, local_place

_FORMAT = "1"

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE photos (
    item_id TEXT NOT NULL,
    name BLOB NOT NULL,
    size INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    digest BLOB NOT NULL,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (item_id, name)
) WITHOUT ROWID""",
)


class KeptPhoto(NamedTuple):
    """What a photo gave.

    Attributes:
        size: of its file, in bytes.
        changed: when the file was changed, in ns; another number where that is not to be relied on.
        digest: of its content.
        vector: float32 (dim,), its embedding.
    """

    size: int
    changed: int
    digest: bytes
    vector: npt.NDArray[np.float32]


class DamagedKeptError(IndexFileError):
    """The file is damaged: of no use, and no loss."""


def kept_beside(index: Place) -> Path:
    """Where the photos of an index are kept."""
    path = local_place(index)
    return path.with_name(f"{path.name}.photos")


class KeptPhotos:
    """The open file; for one thread and one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, dim: int) -> None:
        self._path, self._connection, self._dim = path, connection, dim

    @classmethod
    def open(cls, path: Path, fingerprint: str, dim: int) -> KeptPhotos:
        """Open the file, or make it anew where it is not one of this model, or damaged.

        Args:
            path: of the file.
            fingerprint: of the model.
            dim: numbers in a vector.

        Raises:
            IndexFileError: it cannot be read or written.
        """
        meta = _meta(fingerprint)
        with sqlite_errors(path):
            if path.exists() and not _is_of(path, meta):
                cls.delete(path)
            connection = connect(path, "rwc")
            connection.text_factory = bytes
            try:
                if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    connection.executescript("; ".join(("BEGIN", *_TABLES)))
                    connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
                    connection.commit()
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, dim)

    @classmethod
    def look_up(cls, path: Path, fingerprint: str, dim: int) -> KeptPhotos | None:
        """Open the file to look at only; None where there is none of this model, or it is damaged.

        Takes what `open` takes.

        Raises:
            IndexBusyError: another program holds it.
        """
        try:
            with sqlite_errors(path):
                if not path.is_file() or not _is_of(path, _meta(fingerprint)):
                    return None
                connection = connect(path, "ro")
        except IndexBusyError:
            raise
        except IndexFileError:  # all it would spare is time
            return None
        connection.text_factory = bytes
        return cls(path, connection, dim)

    @staticmethod
    def delete(path: Path) -> None:
        """Delete the file, if there is one."""
        for file in (path, journal_of(path)):
            file.unlink(missing_ok=True)

    def __enter__(self) -> KeptPhotos:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What was embedded before an error or Ctrl-C is kept as well.
        try:
            self.commit()
        finally:
            self._connection.close()

    def without(self, items: Iterable[str]) -> set[str]:
        """Those of some items of which no photo is kept."""
        query = "SELECT EXISTS (SELECT 1 FROM photos WHERE item_id = ?)"
        with _errors(self._path):
            rows = ((item, self._connection.execute(query, (item,)).fetchone()) for item in items)
            return {item for item, (there,) in rows if not there}

    def of_item(self, item_id: str) -> dict[bytes, KeptPhoto]:
        """The photos of an item by name; damaged ones are left out."""
        query = "SELECT name, size, changed, digest, vector, checksum FROM photos WHERE item_id = ?"
        with _errors(self._path):
            rows = self._connection.execute(query, (item_id,)).fetchall()
        found = {}
        for name, size, changed, digest, vector, checksum in rows:
            whole = _is_whole(item_id, name, size, changed, digest, vector, checksum=checksum)
            if whole and len(vector) == 4 * self._dim:
                kept = KeptPhoto(size, changed, digest, np.frombuffer(vector, dtype="<f4"))
                found[name] = kept
        return found

    def put(self, item_id: str, photos: Iterable[tuple[bytes, KeptPhoto]]) -> None:
        """Keep photos by name, in place of earlier ones; `commit` makes it last."""
        rows = []
        for name, photo in photos:
            vector = photo.vector.astype("<f4").tobytes()
            values = (item_id, name, photo.size, photo.changed, photo.digest, vector)
            rows.append((*values, _checksum(*values)))
        with _errors(self._path):
            self._connection.executemany(
                "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )

    def remove(self, item_id: str, names: Iterable[bytes]) -> None:
        """Forget photos of an item."""
        with _errors(self._path):
            self._connection.executemany(
                "DELETE FROM photos WHERE item_id = ? AND name = ?",
                [(item_id, name) for name in names],
            )

    def remove_others(self, ids: Container[str]) -> None:
        """Forget all photos of other items than these."""
        with _errors(self._path):
            others = [item_id for item_id in self._items() if _decoded(item_id) not in ids]
            self._connection.executemany(
                "DELETE FROM photos WHERE item_id = CAST(? AS TEXT)",
                [(item_id,) for item_id in others],
            )

    def _items(self) -> Iterator[bytes]:
        """The ids of all items, from each to the next: DISTINCT would read all photos."""
        first = "SELECT min(item_id) AS id FROM photos"
        after = "SELECT (SELECT min(item_id) FROM photos WHERE item_id > id) FROM items"
        yield from (
            item_id
            for (item_id,) in self._connection.execute(
                f"WITH RECURSIVE items AS ({first} UNION ALL {after} WHERE id IS NOT NULL) "
                "SELECT id FROM items WHERE id IS NOT NULL"
            )
        )

    def commit(self) -> None:
        """Make what was kept so far last, whatever happens afterwards."""
        with _errors(self._path):
            self._connection.commit()


def kept_problems(path: Path) -> Iterator[str]:
    """What is damaged in the file, a line each; nothing where there is none.

    Raises:
        IndexBusyError: another program holds it.
    """
    if not path.is_file():
        return
    advice = "the next build embeds those photos again"
    try:
        with _errors(path), closing(connect(path, "ro")) as connection:
            connection.text_factory = bytes
            if not _has_tables(connection):
                raise sqlite3.DatabaseError("its list of tables is not what it was")
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != b"ok":
                yield f"{path}: {b' '.join(found.split()).decode(errors='replace')}: {advice}"
            for item_id, *values, checksum in connection.execute("SELECT * FROM photos"):
                if not _is_whole(_decoded(item_id), *values, checksum=checksum):
                    yield f"{path}: a photo of item '{_decoded(item_id)}' is damaged: {advice}"
    except IndexBusyError:
        raise
    except IndexFileError as error:
        yield f"{error}: {advice}"


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Tells damage of the file from all that can be wrong with the disk or another process."""
    try:
        with sqlite_errors(path):
            yield
    except IndexFileError as error:
        if is_damage(error):
            cause = error.__cause__ or error
            raise DamagedKeptError(f"{path}: damaged ({in_one_line(cause)})") from cause
        raise


def _meta(fingerprint: str) -> dict[str, str]:
    return {"format": _FORMAT, "fingerprint": fingerprint}


def _is_of(path: Path, meta: dict[str, str]) -> bool:
    """Whether a file is one of ours, of the model that `meta` tells."""
    try:
        # Not only for reading: what a killed build left may have to be undone first.
        connection = connect(path, "rw")
        try:
            connection.text_factory = bytes
            if not _has_tables(connection):
                return False
            found = dict(connection.execute("SELECT key, value FROM meta"))
            return found == {key.encode(): value.encode() for key, value in meta.items()}
        finally:
            connection.close()
    except UnicodeDecodeError:  # damage to a name in a message
        return False
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def _has_tables(connection: sqlite3.Connection) -> bool:
    """These, and nothing else: no trigger of somebody else's."""
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema ORDER BY rowid")]
    return found == [table.encode() for table in _TABLES]


def _decoded(item_id: bytes) -> str:
    return item_id.decode(errors="replace") if isinstance(item_id, bytes) else ""


def _is_whole(*values: Any, checksum: object) -> bool:
    try:
        return _checksum(*values) == checksum
    except (TypeError, AttributeError):  # a damaged row can hold any type
        return False


def _checksum(
    item_id: str, name: bytes, size: int, changed: int, digest: bytes, vector: bytes
) -> int:
    return zlib.crc32(f"{item_id!r} {name!r} {size} {changed}".encode() + digest + vector)
