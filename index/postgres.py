"""An index in a PostgreSQL database with pgvector, which several machines share.

Rows have the same columns and checksums as in a file; centroids are pgvector's vectors, whose
numbers are float32 as ours are. Each build has tables of its own, so that who has an earlier one
open goes on with it, whole; `embed.about` says which is the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, PhotoError
from index.fetching import checked_rows, in_order, photo_places, whole_origins
from index.places import DatabaseUrl
from index.rows import COLUMNS, Item, Origin, Row, are_whole, columns_of, text_checksum
from index.schema import (
    APPLICATION_ID,
    FORMAT_VERSION,
    MEND,
    NoIndexError,
    OtherFileError,
    info_of,
    is_newer,
    seal_of,
)
from index.server import DroppedError, Server

Vectors = npt.NDArray[np.float32]
Result = TypeVar("Result")

_IDS_AT_ONCE = 1000
_WAIT = "10s"  # for another process to finish what it writes
_ROW = "id, centroid, photos, dispersion, checksum"
TYPES = ("text", "bytea", "int8", "float8", "int8", "text", "bytea", "int8")  # of COLUMNS


class About(NamedTuple):
    """What a database says of the index in it.

    Attributes:
        build: tells it from others; 0 where there is none yet.
        generation: one more with each change.
    """

    build: int
    generation: int

    def table(self, name: str) -> str:
        """The name of a table of this build."""
        return f"embed.{name}_{self.build}"


def transacted(
    url: DatabaseUrl, work: Callable[[Server, About], Result], lock: bool = True
) -> Result:
    """Do something in one transaction, which `Server.commit` ends; anew where it was dropped, once.

    Args:
        url: of the database.
        work: is given the server, and what it says of the index then.
        lock: whether to keep all other writers out until the end; otherwise to read only, as it is
            at one moment.

    Raises:
        IndexBusyError: another process stays in such a transaction.
        IndexFileError: the server cannot be reached or refuses, or the database is not for us.
    """
    how = "ISOLATION LEVEL READ COMMITTED" if lock else "ISOLATION LEVEL REPEATABLE READ READ ONLY"
    for again in (True, False):
        server = Server(url, writable=lock)
        try:
            with server.transaction(how):
                if lock:
                    server.rows(f"SET LOCAL lock_timeout = '{_WAIT}'")
                    server.rows("SELECT pg_advisory_xact_lock(%s)", APPLICATION_ID)
                return work(server, about(server))
        except DroppedError:
            if not again:
                raise
        finally:
            server.close()
    raise AssertionError("not reached")


def about(server: Server) -> About:
    """What a database says of the index in it.

    Raises:
        OtherFileError: what is called as our tables are is of something else, or of an index of
            another version.
    """
    names = "SELECT to_regnamespace('embed') IS NOT NULL, to_regclass('embed.about') IS NOT NULL"
    ((there, ours),) = server.rows(names)
    if not there:
        return About(0, 0)
    # As JSON, for columns of whatever names.
    query = "SELECT to_jsonb(about) FROM embed.about LIMIT 2"
    found = server.rows(query) if ours else []
    said = found[0][0] if len(found) == 1 else {}
    if said.get("application") != APPLICATION_ID:
        raise OtherFileError(
            f"{server.url}: expected an index in its schema 'embed', found something else: name "
            "another database"
        )
    if (version := said["format"]) != FORMAT_VERSION:
        newer = is_newer(version)
        raise OtherFileError(
            f"{server.url}: expected format version {FORMAT_VERSION}, found {version}: written by "
            f"{'a newer' if newer else 'an older'} version of embed: "
            f"{'upgrade it' if newer else 'build the index again in another database'}"
        )
    return About(said["build"], said["generation"])


def change_database(url: DatabaseUrl, change: Callable[[PostgresStore], Result]) -> Result:
    """Let something change an index and commit it, while nobody else does.

    Args:
        url: of the database.
        change: is done again from the beginning where the connection was dropped, once.

    Raises:
        IndexBusyError: another process is writing it.
        IndexFileError: as `PostgresStore.open`.
    """
    return transacted(url, lambda server, now: change(PostgresStore(server, now)))


class PostgresStore:
    """An index in a database. Reading is safe from several threads.

    Attributes:
        path: the URL.
        info: what it says about itself.
    """

    def __init__(self, server: Server, of: About) -> None:
        self.path = server.url
        self._server, self._about = server, of
        if not of.build:
            raise NoIndexError(
                f"{self.path}: expected an index in the database, found none: make one with "
                "'embed build-index', or name another with --index"
            )
        self.info = info_of(self.path, self._description())

    @classmethod
    def open(cls, url: DatabaseUrl) -> PostgresStore:
        """Open an index that is there, for reading.

        Raises:
            IndexFileError: the server cannot be reached or refuses, there is no index, or it is
                damaged or of another version.
        """
        server = Server(url)
        try:
            return cls(server, about(server))
        except BaseException:
            server.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def at_one_moment(self) -> AbstractContextManager[None]:
        """Reads in it see the index as it is at one moment, between two commits of others."""
        return self._server.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def stamp(self) -> tuple[int, int, int]:
        """Another one after each change of the index, also by a build, as it is now."""
        return (*about(self._server), 0)

    def __len__(self) -> int:
        return int(self._server.one(f"SELECT count(*) FROM {self._items}"))

    def photo_count(self) -> int:
        """Photos over all items."""
        query = f"SELECT coalesce(sum(photos), 0)::bigint FROM {self._items}"
        return int(self._server.one(query))

    def has(self, item_id: str) -> bool:
        """Whether there is an item of that id."""
        return bool(self._server.rows(f"SELECT 1 FROM {self._items} WHERE id = %s", item_id))

    def ids(self) -> Iterator[str]:
        """All item ids, sorted."""
        query = f"SELECT id FROM {self._items} WHERE id > %s ORDER BY id LIMIT {_IDS_AT_ONCE}"
        last = ""
        while rows := self._server.rows(query, last):
            yield from (item_id for (item_id,) in rows)
            last = rows[-1][0]

    def neighbours(self, item_id: str, count: int) -> list[str]:
        """Ids next to a text in sorted order, at most `count` on each side."""
        after = f"SELECT id FROM {self._items} WHERE id >= %s ORDER BY id LIMIT %s"
        before = f"SELECT id FROM {self._items} WHERE id < %s ORDER BY id DESC LIMIT %s"
        rows = [*self._server.rows(after, item_id, count)]
        return [found for (found,) in rows + self._server.rows(before, item_id, count)]

    def problems(self, check: Literal["quick_check", "integrity_check"], most: int) -> list[str]:
        """None: the structure of its files is the server's business."""
        return []

    def unreadable(self) -> tuple[PhotoError, ...]:
        """The photos that could not be read when the index was built.

        Raises:
            IndexFileError: the note of one is damaged.
        """
        notes = self._about.table("unreadable")
        query = f"SELECT item_id, photo, reason, checksum FROM {notes} ORDER BY photo"
        rows = self._server.rows(query)
        if not all(are_whole(texts, checksum) for *texts, checksum in rows):
            raise IndexFileError(
                f"{self.path}: the list of unreadable photos is damaged (checksum): {MEND}"
            )
        return tuple(PhotoError(photo, reason) for _, photo, reason, _ in rows)

    def centroids(self, ids: Iterable[str]) -> tuple[Vectors, list[str]]:
        """As `index.store.Store.centroids`."""
        wanted = list(ids)
        return in_order(wanted, *self._fetch(wanted))

    def statistics(self, ids: Iterable[str]) -> dict[str, Row]:
        """As `index.store.Store.statistics`."""
        return self._fetch(list(ids))[0]

    def references(self, ids: Iterable[str]) -> dict[str, Path]:
        """As `index.store.Store.references`."""
        return photo_places(self.info, self._origins(ids))

    def added(self, ids: Iterable[str]) -> set[str]:
        """As `index.store.Store.added`."""
        return {item for item, origin in self._origins(ids).items() if not origin.signature}

    def rows_after(self, number: int, most: int) -> list[tuple[Any, ...]]:
        """As `index.store.Store.rows_after`."""
        query = f"SELECT number, {_ROW} FROM {self._items} WHERE number > %s ORDER BY number"
        return _with_numbers(self._server.rows(f"{query} LIMIT %s", number, most))

    def rows_numbered(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """As `index.store.Store.rows_numbered`."""
        query = f"SELECT number, {_ROW} FROM {self._items} WHERE number = ANY(%s)"
        found = {row[0]: row for row in _with_numbers(self._server.rows(query, list(numbers)))}
        return [found[number] for number in numbers if number in found]

    def numbers_from(self, numbers: Sequence[int]) -> list[int]:
        """As `index.store.Store.numbers_from`."""
        after = f"SELECT number FROM {self._items} WHERE number >= wanted ORDER BY number LIMIT 1"
        query = f"SELECT ({after}) FROM unnest(%s::bigint[]) AS wanted"
        rows = self._server.rows(query, list(numbers))
        return [number for (number,) in rows if number is not None]

    def ends(self) -> tuple[int, int]:
        """As `index.store.Store.ends`."""
        query = "SELECT coalesce(min(number), 0), coalesce(max(number), 0)"
        ((first, last),) = self._server.rows(f"{query} FROM {self._items}")
        return first, last

    def put(self, item: Item) -> None:
        """Add an item; call `commit` to keep it."""
        self._server.copy_in(f"{self._items} ({COLUMNS})", TYPES, [sent(columns_of(item))])

    def put_unreadable(self, item_id: str, photos: Iterable[PhotoError]) -> None:
        """Note photos of an item that could not be read."""
        texts = [(item_id, error.photo, error.reason) for error in photos]
        rows = [(*some, text_checksum(*some)) for some in texts]
        types = ("text", "text", "text", "int8")
        self._server.copy_in(self._about.table("unreadable"), types, rows)

    def remove(self, ids: Iterable[str]) -> None:
        """Remove items; call `commit` to keep that."""
        gone = list(ids)
        self._server.rows(f"DELETE FROM {self._items} WHERE id = ANY(%s)", gone)
        for name in ("unreadable", "spreads"):
            query = f"DELETE FROM {self._about.table(name)} WHERE item_id = ANY(%s)"
            self._server.rows(query, gone)

    def spreads(self) -> Iterator[tuple[object, object]]:
        """As `index.store.Store.spreads`."""
        table = self._about.table("spreads")
        yield from self._server.rows(f"SELECT item_id, content FROM {table} ORDER BY item_id")

    def put_part(self, name: str, content: bytes | None) -> None:
        """As `index.store_writing.WritableStore.put_part`."""
        meta = self._about.table("meta")
        self._server.rows(f"DELETE FROM {meta} WHERE key = %s", name)
        if content is not None:
            self._server.rows(f"INSERT INTO {meta} (key, content) VALUES (%s, %s)", name, content)
        seal = seal_of(self._description())
        self._server.rows(f"UPDATE {meta} SET value = %s WHERE key = 'seal'", seal)

    def part(self, name: str) -> object:
        """As `index.store.Store.part`."""
        query = f"SELECT content FROM {self._about.table('meta')} WHERE key = %s"
        rows = self._server.rows(query, name)
        return rows[0][0] if rows else None

    def commit(self) -> None:
        """Keep all changes, whatever happens afterwards; for `change_database`."""
        self._server.rows("UPDATE embed.about SET generation = generation + 1")
        self._server.commit()

    def damaged_ids(self) -> IndexFileError:
        """The error for ids that are not those of rows."""
        return IndexFileError(f"{self.path}: its list of ids is damaged: {MEND}")

    @property
    def _items(self) -> str:
        return self._about.table("items")

    def _description(self) -> list[tuple[object, object]]:
        meta = self._about.table("meta")
        return list(self._server.rows(f"SELECT key, value FROM {meta} ORDER BY key"))

    def _fetch(self, ids: list[str]) -> tuple[dict[str, Row], Vectors]:
        rows = map(received, self._server.rows(candidates_query(self._items), ids))
        return checked_rows(self.path, rows, self.info.dim)

    def _origins(self, ids: Iterable[str]) -> dict[str, Origin]:
        columns = "id, reference, signature, origin_checksum"
        query = f"SELECT {columns} FROM {self._items} WHERE id = ANY(%s)"
        return whole_origins(self.path, self._server.rows(query, list(ids)))


def candidates_query(items: str) -> str:
    """The statement that fetches the rows of some items: exact, by their ids."""
    return f"SELECT {_ROW} FROM {items} WHERE id = ANY(%s)"


def sent(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of `COLUMNS` as the server takes it: pgvector's form is big-endian, with a heading."""
    vector = np.frombuffer(columns[1], "<f4")
    heading = len(vector).to_bytes(2, "big") + bytes(2)
    return (columns[0], heading + vector.astype(">f4").tobytes(), *columns[2:])


def received(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inverse of `sent`, of as many columns as there are."""
    vector = np.frombuffer(columns[1], ">f4", offset=4)
    return (columns[0], vector.astype("<f4").tobytes(), *columns[2:])


def _with_numbers(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(number, *received(tuple(row))) for number, *row in rows]
