"""What to do where a file cannot be read or written: one place for the advice in all messages."""

from __future__ import annotations

import errno
import sqlite3

_AGAIN = "then run the same again"
_ROOM = f"make room on the disk, {_AGAIN}"
_PERMISSION = "see that this file and its folder may be written, or name another"
_DISK = f"make room on the disk if it is full, look after it if it fails, {_AGAIN}"
_MISSING = "make the folder first, or name another"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.EIO: _DISK,
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EMFILE: f"too many files are open: close other programs, {_AGAIN}",
    errno.ENFILE: f"too many files are open: close other programs, {_AGAIN}",
}
# SQLite keeps the system's own number to itself.
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_READONLY: _PERMISSION,
    sqlite3.SQLITE_PERM: _PERMISSION,
    sqlite3.SQLITE_CANTOPEN: f"see that this file and its folder may be written, and {_ROOM}",
}


def with_advice(error: OSError) -> str:
    """What went wrong, and what to do, in one line without the file's name."""
    if isinstance(error.__cause__, sqlite3.Error):
        return sqlite_with_advice(error.__cause__)
    return _advised(error.strerror or str(error), _ADVICE.get(error.errno or 0))


def sqlite_with_advice(error: sqlite3.Error) -> str:
    """`with_advice` for what SQLite says."""
    return _advised(str(error), _OF_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF))


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file, and nothing else is wrong."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _advised(what: str, advice: str | None) -> str:
    return what if advice is None else f"{what}: {advice}"
