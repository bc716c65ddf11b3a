"""The rows of some items, by id or number, with damage told from items that are not there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError, in_one_line
from embedder.manifests import root_of
from index.database import connect, is_damage, sqlite_errors
from index.places import Place
from index.rows import Origin, Row, are_centroids
from index.schema import MEND, IndexInfo

# One statement for a list of any length: each of its own would cost four times as much. The id is
# the one that was asked for: the checksum tells whether the row is of another.
_ROWS = """
SELECT wanted.value, centroid, photos, dispersion, checksum
FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value
"""
_ORIGINS = """
SELECT wanted.value, reference, signature, origin_checksum
FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value
"""
_THERE = """
SELECT wanted.value FROM json_each(?) AS wanted
CROSS JOIN items INDEXED BY sqlite_autoindex_items_1 ON items.id = wanted.value
"""
_AGAIN = _THERE.replace("sqlite_autoindex_items_1", "items_again")

_NUMBERED = "number, items.id, centroid, photos, dispersion, checksum"
_AFTER = f"SELECT {_NUMBERED} FROM items WHERE number > ? ORDER BY number LIMIT ?"
_SOME = f"""
SELECT {_NUMBERED} FROM json_each(?) AS wanted CROSS JOIN items ON items.number = wanted.value
"""
# Of one end each: asked for both, SQLite would look at all.
_ENDS = tuple(f"SELECT coalesce({end}(number), 0) FROM items" for end in ("min", "max"))
_FOLLOWING = """
SELECT (SELECT number FROM items WHERE number >= wanted.value ORDER BY number LIMIT 1)
FROM json_each(?) AS wanted
"""


def fetch_rows(
    path: Path, connection: sqlite3.Connection, ids: Sequence[str], dim: int
) -> tuple[dict[str, Row], npt.NDArray[np.float32]]:
    """The rows of some items by id, of those that the index has, and their centroids.

    Returns:
        The rows, and float32 (rows, dim), in the same order.

    Raises:
        IndexFileError: a row is damaged, or the way to it; names the item.
    """
    found, vectors = checked_rows(path, _fetch(path, connection, _ROWS, ids), dim)
    if len(found) < len(ids):
        _refuse_hidden(path, connection, [item_id for item_id in ids if item_id not in found])
    return found, vectors


def checked_rows(
    path: Place, rows: Iterable[Sequence[Any]], dim: int
) -> tuple[dict[str, Row], npt.NDArray[np.float32]]:
    """As `fetch_rows`, of what a database gave.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    found = {}
    for values in rows:
        row = Row._make(values)
        if not row.is_whole(dim):
            raise damaged_row(path, row.item_id)
        found[row.item_id] = row
    return found, vectors_of(path, found, dim)


def vectors_of(path: Place, rows: Mapping[str, Row], dim: int) -> npt.NDArray[np.float32]:
    """The centroids of rows that are whole, float32 (rows, dim).

    Raises:
        IndexFileError: one is not of unit norm; names the item.
    """
    content = b"".join([row.centroid for row in rows.values()])
    vectors = np.frombuffer(content, dtype="<f4").reshape(-1, dim)
    usable = are_centroids(vectors)
    if not usable.all():
        raise damaged_row(path, list(rows)[int(usable.argmin())])
    return vectors


def in_order(
    wanted: Sequence[str], rows: Mapping[str, Row], vectors: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """The centroids of rows in the order asked for, and the ids that are not among them."""
    places = {item_id: at for at, item_id in enumerate(rows)}
    known = [places[item_id] for item_id in wanted if item_id in places]
    return vectors[known], [item_id for item_id in wanted if item_id not in places]


def fetch_origins(
    path: Path, connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, Origin]:
    """Where some items come from by id, of those that the index has.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    return whole_origins(path, _fetch(path, connection, _ORIGINS, ids))


def whole_origins(path: Place, rows: Iterable[Sequence[Any]]) -> dict[str, Origin]:
    """As `fetch_origins`, of what a database gave.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    found = {}
    for values in rows:
        origin = Origin._make(values)
        if not origin.is_whole():
            raise damaged_row(path, origin.item_id)
        found[origin.item_id] = origin
    return found


def photo_places(info: IndexInfo, origins: Mapping[str, Origin]) -> dict[str, Path]:
    """Where the photos to show are that items come from, by id."""
    root = root_of(Path(info.catalogue))
    return {
        item_id: root / origin.reference if origin.signature else Path(origin.reference)
        for item_id, origin in origins.items()
    }


def fetch_after(
    path: Path, connection: sqlite3.Connection, number: int, most: int
) -> list[tuple[Any, ...]]:
    """Numbers and rows with a higher number than one, ascending, at most so many."""
    with sqlite_errors(path):
        return connection.execute(_AFTER, (number, most)).fetchall()


def fetch_numbered(
    path: Path, connection: sqlite3.Connection, numbers: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Numbers and rows with these numbers, in this order, of those that are there."""
    with sqlite_errors(path):
        return connection.execute(_SOME, (json.dumps(numbers),)).fetchall()


def fetch_following(
    path: Path, connection: sqlite3.Connection, numbers: Sequence[int]
) -> list[int]:
    """For each number the lowest one of a row that is as high, of those that there are."""
    with sqlite_errors(path):
        found = connection.execute(_FOLLOWING, (json.dumps(numbers),)).fetchall()
    return [number for (number,) in found if number is not None]


def fetch_ends(path: Path, connection: sqlite3.Connection) -> tuple[int, int]:
    """The lowest and the highest number of a row; 0 and 0 where there is none."""
    with sqlite_errors(path):
        first, last = (connection.execute(query).fetchone()[0] for query in _ENDS)
    return first, last


def has_row(path: Path, connection: sqlite3.Connection, item_id: str) -> bool:
    """Whether there is an item.

    Raises:
        IndexFileError: there is, but what leads to its row is damaged.
    """
    found = bool(_fetch(path, connection, _THERE, [item_id]))
    _refuse_hidden(path, connection, [] if found else [item_id])
    return found


def _refuse_hidden(path: Path, connection: sqlite3.Connection, missing: Sequence[str]) -> None:
    """Items that were not found one way must not be there the other way either."""
    if not missing:
        return
    hidden = [item_id for (item_id,) in _fetch(path, connection, _AGAIN, missing)]
    added = _fetch(path, connection, _THERE, hidden) if hidden else []  # by another, just now
    for item_id in hidden:
        if (item_id,) not in added:
            raise damaged_row(path, item_id)


def _fetch(
    path: Path, connection: sqlite3.Connection, query: str, ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query, (json.dumps(ids),)).fetchall()
    except sqlite3.DatabaseError as error:
        if is_damage(error) and len(ids) == 1:
            raise damaged_row(path, ids[0], in_one_line(error)) from error
        if is_damage(error):
            # One by one, to name the item. SQLite sees damage to a page when it reads it first.
            with sqlite_errors(path), closing(connect(path, "ro")) as again:
                for item_id in ids:
                    _fetch(path, again, query, [item_id])
        with sqlite_errors(path):
            raise


def damaged_row(path: Place, item_id: object, why: str = "checksum") -> IndexFileError:
    """The error for a row that is not what was written."""
    return IndexFileError(f"{path}: the row of item '{item_id}' is damaged ({why}): {MEND}")
