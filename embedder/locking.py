"""One process at a time, without debris: a lock that ends with the process that holds it."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedder.advice import is_busy

_SECONDS_BETWEEN_LOOKS = 0.005


@contextmanager
def only_process(lock: Path, wait: float = 0.0) -> Iterator[bool]:
    """Hold a lock file, or find that another process does.

    SQLite's own file lock is used because it works on every system and goes with its holder,
    even one that was killed. The file itself stays; it is empty and means nothing.

    Args:
        lock: the file.
        wait: seconds to wait for another process to let go of it.

    Yields:
        whether this process holds it.

    Raises:
        OSError: the file cannot be made or locked.
    """
    connection = None
    try:
        lock.touch()
        try:
            connection = sqlite3.connect(lock, timeout=0, isolation_level=None)
            held = _held(connection, time.monotonic() + wait)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), str(lock)) from error
        yield held
    finally:
        if connection is not None:
            connection.close()


def _held(connection: sqlite3.Connection, until: float) -> bool:
    # Not SQLite's own waiting, which Ctrl-C cannot end.
    while True:
        try:
            connection.execute("PRAGMA journal_mode = MEMORY")  # no other file beside it
            connection.execute("BEGIN EXCLUSIVE")
            return True
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
        if time.monotonic() >= until:
            return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)
