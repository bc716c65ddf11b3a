"""A PostgreSQL server: reaching it, what it may say, and what to do where a connection drops."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from embedder.errors import IndexBusyError, IndexFileError, MissingExtraError, in_one_line
from index.places import DatabaseUrl
from index.schema import OtherFileError

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import conninfo_to_dict
except ImportError:
    raise MissingExtraError("an index in a PostgreSQL database", "postgres") from None

# What the URL does not say: neither a server that does not answer nor a network that forgets a
# connection is waited for without end.
_USUAL = {"connect_timeout": 10, "tcp_user_timeout": 10_000, "application_name": "embed"}
_SECONDS_UNREACHED = 1.0
_MOST_SAID = 300  # characters of what the server says


class ServerError(OtherFileError):
    """The server cannot be reached, or refuses: nothing is known of the index."""


class DroppedError(ServerError):
    """The connection was lost."""


class Server:
    """A connection to a database. Safe to use from several threads, one after the other.

    Where it was dropped, it is made again once, and what was asked is asked again; not within a
    transaction, of which the beginning is lost then.

    Attributes:
        url: of the database.
    """

    def __init__(self, url: DatabaseUrl, writable: bool = False) -> None:
        self.url, self._writable = url, writable
        self._one_at_a_time = threading.RLock()
        self._in_transaction = False
        self._unreached = ("", 0.0)  # why, and until when nobody need try again
        self._connect()

    def _connect(self) -> None:
        why, until = self._unreached
        if time.monotonic() < until:  # those who waited meanwhile would each wait as long
            raise ServerError(why)
        given = _parameters(self.url)
        try:
            self._connection = psycopg.connect(
                "", autocommit=True, **{**_USUAL, **given, "client_encoding": "UTF8"}
            )
            if not self._writable:
                self._connection.execute("SET default_transaction_read_only = on")
        except psycopg.Error as error:
            what = in_one_line(error, _MOST_SAID)
            why = (
                f"{self.url}: the database cannot be reached: {what}: correct the URL, or see that "
                "the server runs"
            )
            self._unreached = (why, time.monotonic() + _SECONDS_UNREACHED)
            raise ServerError(why) from error
        self._cursor = self._connection.cursor(binary=True)

    def close(self) -> None:
        """End the connection; what was not committed is given up."""
        self._connection.close()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement gives, all of it.

        Raises:
            DroppedError: the connection was dropped, twice or in a transaction.
            IndexFileError: the server cannot be reached, or refuses it.
        """
        with self._one_at_a_time:
            for again in (True, False):
                try:
                    self._cursor.execute(query.encode(), values)
                    return self._cursor.fetchall() if self._cursor.description else []
                except psycopg.Error as error:
                    if not (again and self._connection.broken) or self._in_transaction:
                        raise self._told(error) from error
                self._connect()
        raise AssertionError("not reached")

    def one(self, query: str, *values: object) -> Any:
        """The one value that a statement gives."""
        return self.rows(query, *values)[0][0]

    def copy_in(self, table: str, types: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Append rows to a table, or to some columns of it; `types` are those of the values."""
        try:
            statement = f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()
            with self._cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self._told(error) from error

    @contextmanager
    def transaction(self, how: str = "") -> Iterator[None]:
        """What is done in it is seen by others when `commit` is called, or never."""
        with self._one_at_a_time:
            self.rows(f"BEGIN {how}")
            self._in_transaction = True
            try:
                yield
            finally:
                self._in_transaction = False
                if not self._connection.closed:
                    with suppress(psycopg.Error):
                        self._connection.rollback()

    def commit(self) -> None:
        """Keep what was done in the transaction.

        Raises:
            ServerError: it could not be committed, or it is not known whether it was.
        """
        try:
            self.rows("COMMIT")
        except DroppedError as error:
            raise ServerError(
                f"{self.url}: the connection was lost while a change was committed: look whether "
                "it was made, and make it again if not"
            ) from error

    def _told(self, error: psycopg.Error) -> IndexFileError:
        # Without the statement and the place in it, if the server tells them apart.
        what = in_one_line(error.diag.message_primary or error, _MOST_SAID)
        if self._connection.broken:
            return DroppedError(
                f"{self.url}: the connection was lost ({what}): see that the server runs, then "
                "run the same again"
            )
        if isinstance(error, errors.LockNotAvailable):
            return IndexBusyError(
                f"{self.url}: another process is writing it: wait for it to end, then try again"
            )
        if isinstance(error, errors.UndefinedTable):
            return ServerError(f"{self.url}: was built anew since it was opened: open it again")
        if isinstance(error, errors.InsufficientPrivilege):
            what += ": let the role do that, or name another in the URL"
        return ServerError(f"{self.url}: cannot be read or written: {what}")


def _parameters(url: DatabaseUrl) -> dict[str, Any]:
    """What a URL says; what is wrong with it could be a part of the password, and is not said."""
    try:
        found = conninfo_to_dict(url.secret)
    except (psycopg.Error, UnicodeError):
        found = None
    if found is None or not re.fullmatch("[0-9,]*", str(found.get("port", ""))):
        raise ServerError(
            f"{url}: expected a URL like postgresql://user@host:5432/name, found another: in a "
            "password write other characters than letters and digits as %xx"
        )
    return found
