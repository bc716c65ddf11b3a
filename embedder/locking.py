"""One process at a time, without debris: a lock that ends with the process that holds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_process(lock: Path) -> Iterator[bool]:
    """Hold a lock file, or find that another process does.

    SQLite's own file lock is used because it works on every system and goes with its holder,
    even one that was killed. The file itself stays; it is empty and means nothing.

    Yields:
        whether this process holds it.

    Raises:
        OSError: the file cannot be made.
    """
    connection = None
    try:
        lock.touch()
        connection = sqlite3.connect(lock, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            held = True
        except sqlite3.OperationalError:
            held = False
        yield held
    finally:
        if connection is not None:
            connection.close()
