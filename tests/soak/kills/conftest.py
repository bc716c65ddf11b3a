"""Fixtures of the tests that kill: `embed` commands in forks, and what an index says."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

FORKS = Path(__file__).with_name("forks.py")
INDEX_MODULES = ("cli.main", "cli.build_index", "cli.add", "cli.remove", "cli.calibrate")
INDEX_MODULES += ("cli.match", "index", "index.recalibrating", "ai_edge_litert.interpreter")
INDEX_MODULES += ("cli.optimize", "cli.photos_given", "embedder.quiet", "index.optimizing")
INDEX_MODULES += ("rich.progress", "scipy.optimize")

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        killed: whether it was, by us; otherwise it came to its end.
        code: its exit code; negative for a signal.
        said: what it printed.
        changes: of files that it was about to do, where it was killed before one.
        took: seconds.
    """

    killed: bool
    code: int
    said: str
    changes: list[str]
    took: float


Fork = Callable[..., Ended]


@contextmanager
def forking(folder: Path, *modules: str) -> Iterator[Fork]:
    logs = [folder / "said.txt", folder / "changes.txt"]
    server = subprocess.Popen(
        [sys.executable, FORKS, *modules],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def fork(folder: Path, *arguments: str | Path, **kill: object) -> Ended:
        """Run a command in a folder.

        To be killed `after` seconds, before the n-th `change` of files in the folder, when a file
        grows beyond a `size`, in the middle of `copying` a file, or not at all.
        """
        request = {"folder": str(folder), "arguments": [*map(str, arguments)]}
        request["logs"] = [*map(str, logs)]
        for log in logs:
            log.write_text("")
        server.stdin.write(json.dumps(request | kill) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        killed = answer["code"] in (-signal.SIGKILL, -signal.SIGXFSZ)
        said, changes = (log.read_text() for log in logs)
        return Ended(killed, answer["code"], said, changes.splitlines(), answer["took"])

    with server:
        yield fork
        server.stdin.close()


@pytest.fixture(scope="session")
def fork(tmp_path_factory) -> Iterator[Fork]:
    """Run commands that need no TensorFlow."""
    with forking(tmp_path_factory.mktemp("forks"), *INDEX_MODULES) as run:
        yield run


@pytest.fixture(scope="session")
def fork_training(tmp_path_factory) -> Iterator[Fork]:
    """Run commands that need TensorFlow."""
    with forking(tmp_path_factory.mktemp("forks"), "cli.main", "embedder.training") as run:
        yield run


@pytest.fixture(scope="session")
def settle() -> Callable[[Path], None]:
    """Make photos as old as those that nobody changes: newer ones are looked at again."""

    def make_old(folder: Path) -> None:
        for photo in folder.rglob("*.jpg"):
            os.utime(photo, (1e9, 1e9))

    return make_old


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, list[str]] | None]:
    """Read all that an index says, whatever its tables are; None if it is not there.

    But for the numbers of rows, when it was made, from where, and the checksum over that.
    """

    def read(index: Path) -> dict[str, list[str]] | None:
        if not index.exists():
            return None
        found = {}
        with closing(sqlite3.connect(index)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            schema = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            for (table,) in schema.fetchall():
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                wanted = ", ".join(name for name in columns if name != "number")
                where = (
                    "WHERE key NOT IN ('created', 'catalogue', 'highest', 'seal')"
                    if table == "meta"
                    else ""
                )
                rows = database.execute(f"SELECT {wanted} FROM {table} {where}")
                found[table] = sorted(map(repr, rows))
        return found

    return read


@pytest.fixture(scope="session")
def kept() -> Callable[[Path], int]:
    """How many photos are kept beside an index."""

    def count(index: Path) -> int:
        path = index.with_name(f"{index.name}.photos")
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return 0
            return database.execute("SELECT count(*) FROM photos").fetchone()[0]

    return count
