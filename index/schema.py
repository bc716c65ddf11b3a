"""The tables of an index, and what it says about itself; both are checked before anything else."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.errors import IndexFileError
from index.places import Place

FORMAT_VERSION = 3
APPLICATION_ID = 0x656D6264  # "embd": tells an index from any other SQLite file
ELSEWHERE = "vectors made elsewhere"  # in place of a model's fingerprint, which is hexadecimal
MOST_DIM = 4096  # numbers in a vector
MEND = "mend it with 'embed build-index CATALOGUE --repair'"

# The second index of the ids is there to tell damage of the first from an item that is not there.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    centroid BLOB NOT NULL,
    photos INTEGER NOT NULL,
    dispersion REAL NOT NULL,
    checksum INTEGER NOT NULL,
    reference TEXT NOT NULL,
    signature BLOB NOT NULL,
    origin_checksum INTEGER NOT NULL
)""",
    "CREATE INDEX items_again ON items (id)",
    """CREATE TABLE unreadable (
    item_id TEXT NOT NULL, photo TEXT NOT NULL, reason TEXT NOT NULL, checksum INTEGER NOT NULL
)""",
    "CREATE INDEX unreadable_item ON unreadable (item_id)",
    "CREATE TABLE spreads (item_id TEXT PRIMARY KEY, content BLOB NOT NULL)",
)

# Of parts, which have checksums of their own (`index.parts`), it is only looked at that they are
# there.
_DESCRIPTION = """
SELECT key, CASE typeof(value) WHEN 'text' THEN value END FROM meta ORDER BY key
"""


class OtherFileError(IndexFileError):
    """The file is another database, or an index of another version: whole, but not for us."""


class NoIndexError(OtherFileError):
    """The database is for us, and has no index yet."""


@dataclass(frozen=True)
class IndexInfo:
    """What an index says about itself.

    Attributes:
        fingerprint: of the model its vectors are of.
        dim: numbers in a vector.
        temperature: divides the score in the softmax that gives a confidence.
        catalogue: where the photos were.
        created: time of the build, ISO 8601 in UTC; empty while it is being built.
        whitened: whether scores are cosines in a score space that the index holds, not plain ones.
    """

    fingerprint: str
    dim: int
    temperature: float
    catalogue: str
    created: str = ""
    whitened: bool = False


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an index in an empty database."""
    connection.executescript(";\n".join(_TABLES))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def write_info(connection: sqlite3.Connection, info: IndexInfo) -> None:
    """Replace what an index says about itself."""
    rows = [(name, str(value)) for name, value in vars(info).items()]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
    seal(connection)


def seal(connection: sqlite3.Connection) -> None:
    """Renew the checksum of the description, after it or the parts that are there have changed."""
    rows = connection.execute(_DESCRIPTION).fetchall()
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('seal', ?)", (seal_of(rows),))


def read_info(path: Path, connection: sqlite3.Connection) -> IndexInfo:
    """What an open index says about itself.

    Raises:
        IndexFileError: it is no index of this version, or damaged.
    """
    check_tables(path, connection)
    # In one statement: another process may be writing it.
    return info_of(path, connection.execute(_DESCRIPTION).fetchall())


def info_of(path: Place, rows: Sequence[tuple[object, object]]) -> IndexInfo:
    """What an index says about itself, of its keys and texts, sorted; None stands for a part.

    Raises:
        IndexFileError: it is damaged.
    """
    meta: dict[Any, Any] = dict(rows)
    if meta.get("seal") != seal_of(rows):
        raise IndexFileError(f"{path}: its description is damaged (checksum): {MEND}")
    try:
        info = IndexInfo(
            meta["fingerprint"],
            int(meta["dim"]),
            float(meta["temperature"]),
            meta["catalogue"],
            meta["created"],
            {"True": True, "False": False}[meta["whitened"]],
        )
        if None in (info.fingerprint, info.catalogue, info.created):
            raise TypeError("a text is missing")
        if not (1 <= info.dim <= MOST_DIM and 1e-6 <= info.temperature <= 1e6):
            raise ValueError("a number is out of range")
    except (KeyError, ValueError, TypeError) as error:
        raise IndexFileError(f"{path}: its description is damaged ({error}): {MEND}") from error
    return info


def check_tables(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse what is not an index of this version, with these tables and nothing else.

    Raises:
        OtherFileError: it is another database, or of a newer or an older version.
        IndexFileError: it is damaged.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
    ours = tuple(sql for (sql,) in connection.execute(query)) == _TABLES
    if ours and (application, version) == (APPLICATION_ID, FORMAT_VERSION):
        return
    if application == APPLICATION_ID and is_newer(version):
        raise OtherFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found {version}: written by a "
            "newer version of embed (upgrade it), or damaged"
        )
    if ours or (application, version) == (APPLICATION_ID, FORMAT_VERSION):
        raise IndexFileError(f"{path}: its first page is damaged: {MEND}")
    if application != APPLICATION_ID:
        raise OtherFileError(
            f"{path}: expected an index file, found another SQLite database: "
            "name another with --index"
        )
    raise OtherFileError(
        f"{path}: expected format version {FORMAT_VERSION}, found {version}: written by an older "
        "version of embed: build the index again"
    )


def is_newer(version: int) -> bool:
    """Whether a format version is that of a later program; of one bit of it wrong, seldom."""
    return FORMAT_VERSION < version < FORMAT_VERSION + 100


def first_page() -> bytes:
    """The first page of any index: its header, and where its tables are.

    All are made alike, so it takes the place of one that is damaged; the number of pages in it is
    that of an empty index.
    """
    connection = sqlite3.connect(":memory:")
    try:
        create_tables(connection)
        return connection.serialize()[:4096]
    finally:
        connection.close()


def seal_of(rows: Sequence[tuple[object, object]]) -> str:
    """The checksum of a description, as `info_of` takes it."""
    return str(zlib.crc32(repr([row for row in rows if row[0] != "seal"]).encode()))
