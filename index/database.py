"""The index as a file: opening it, telling it from others, writing it, and what can go wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from embedder.advice import is_busy, sqlite_with_advice, with_advice
from embedder.errors import IndexBusyError, IndexFileError, ModelError, in_one_line
from embedder.locking import only_process
from index.places import Place
from index.schema import (
    APPLICATION_ID,
    ELSEWHERE,
    FORMAT_VERSION,
    MEND,
    IndexInfo,
    OtherFileError,
    is_newer,
)

_WAIT_SECONDS = 10.0  # for another process to finish what it writes
_SECONDS_BETWEEN_LOOKS = 0.005
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGE |= {sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_SCHEMA}
_DAMAGE |= {sqlite3.SQLITE_TOOBIG}
_MOST_BYTES = 2**28  # of a value: a damaged length would ask for more


class _Connection(sqlite3.Connection):
    """Waits where a journal lies beside the file that is not to be looked at now.

    A journal without a writer is of one that was killed, and has to be undone. It looks the same
    to who opened a file that a build has replaced since, when the new one is written.
    """

    path: Path

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """As `sqlite3.Connection.execute`."""
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                return super().execute(*arguments)
            except sqlite3.OperationalError as error:
                code = getattr(error, "sqlite_errorcode", None)
                if code != sqlite3.SQLITE_READONLY_ROLLBACK or time.monotonic() >= until:
                    raise
            undo_if_alone(self.path)
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database file; `mode` is SQLite's: "ro", "rw" or "rwc"."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, check_same_thread=False, timeout=_WAIT_SECONDS, factory=_Connection
    )
    connection.path = path
    # A file from elsewhere may hold triggers, views and broken pages: trust none of them.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    return connection


def journal_of(path: Path) -> Path:
    """Where SQLite keeps what a commit changes, until it is over."""
    return path.with_name(f"{path.name}-journal")


def undo_half_done(path: Path) -> None:
    """Let SQLite undo what a writer that was killed left half done; nothing while one is at work.

    A file opened only for reading could not be, and a copy would not have its journal.

    Raises:
        sqlite3.Error: it cannot be undone, for instance because the file cannot be written.
    """
    if journal_of(path).exists():
        connection = connect(path, "rw")
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema")
        finally:
            connection.close()


def undo_if_alone(path: Path) -> None:
    """`undo_half_done` for who only reads: while a writer is at work, undoing is left to it.

    The journal beside a file that a build has just replaced can be that of the next writer.
    """
    if not journal_of(path).exists():
        return
    # Where no lock can be made, nothing can be undone either: reading says so.
    with suppress(OSError), only_process(_lock_of(path)) as alone:
        if alone:
            undo_half_done(path)


def refuse_other_model(path: Place, info: IndexInfo, fingerprint: str) -> None:
    """Vectors of one model say nothing about those of another.

    Raises:
        ModelError: the fingerprint is not that of the model the index was built with.
    """
    if fingerprint != ELSEWHERE:
        refuse_photos(path, info)
    elif info.fingerprint != ELSEWHERE:
        raise ModelError(f"{path} was built from photos with a model: add photos with 'embed add'")
    if fingerprint != info.fingerprint:
        raise ModelError(
            f"{path} was built with another model: build the index again with this one, or "
            "name the right one with --model or --embedder"
        )


def refuse_photos(path: Place, info: IndexInfo) -> None:
    """An index of vectors that were made elsewhere has no model to embed photos with.

    Raises:
        ModelError: it is one.
    """
    if info.fingerprint == ELSEWHERE:
        raise ModelError(
            f"{path} was built from vectors, so no model embeds photos for it: use match_vectors "
            "and add_vectors from Python, or build an index of photos with 'embed build-index'"
        )


def refuse_folder(path: Path) -> None:
    """An index cannot be where a folder is, or a pipe.

    Raises:
        IndexFileError: it is one.
    """
    if not path.name or (path.exists() and not path.is_file()):
        found = "a folder" if path.is_dir() else "a special file"
        raise IndexFileError(f"{path}: expected the name of an index file, found {found}")


@contextmanager
def only_writer(path: Path, other: str) -> Iterator[None]:
    """While in it, no other process writes this index; waits for another to end, but not for long.

    Args:
        path: of the index.
        other: who is writing it if somebody is, for the message.

    Raises:
        IndexBusyError: another process stays in it.
        IndexFileError: it is a folder, or a file cannot be written, of whatever is done inside too.
    """
    refuse_folder(path)
    try:
        with only_process(_lock_of(path), _WAIT_SECONDS) as alone:
            if not alone:
                raise IndexBusyError(
                    f"{path}: {other} is writing it: wait for it to end, then try again"
                )
            yield
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be written: {with_advice(error)}") from error


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def is_damaged_index(path: Path) -> bool:
    """Whether a file that does not open was an index of ours, by its first 100 bytes.

    Not of a newer version: that one is whole, and for another program.
    """
    header = _header(path)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return False
    application = int.from_bytes(header[68:72], "big")
    return application == APPLICATION_ID and not is_newer(_version(header))


def refuse_newer(path: Path) -> None:
    """An index of a later program is not to be repaired by this one.

    Raises:
        IndexFileError: it is one, by its first 100 bytes.
    """
    if path.exists() and is_newer(version := _version(_header(path))):
        raise IndexFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found {version}: upgrade embed"
        )


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _version(header: bytes) -> int:
    return int.from_bytes(header[60:64], "big")


def is_damage(error: IndexFileError | sqlite3.Error) -> bool:
    """Whether damage is the cause: not the disk, a permission or another process."""
    if isinstance(error, OtherFileError | sqlite3.ProgrammingError):
        return False
    cause = error.__cause__ if isinstance(error, IndexFileError) else error
    # Our own errors, and Python's for text that is not UTF-8, have no code.
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return not isinstance(cause, OSError | sqlite3.ProgrammingError) and code & 0xFF in _DAMAGE


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into `IndexFileError` and `IndexBusyError`."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # damage to a name in a message
        if isinstance(error, UnicodeDecodeError) or is_damage(error):
            what = in_one_line(error)
            raise IndexFileError(f"{path}: not an index, or damaged ({what}): {MEND}") from error
        if is_busy(error):
            raise IndexBusyError(
                f"{path}: in use by another process: wait for it to end, then try again"
            ) from error
        what = sqlite_with_advice(error)
        raise IndexFileError(f"{path}: cannot be read or written: {what}") from error
