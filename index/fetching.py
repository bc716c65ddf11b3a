"""The rows of some items, with damage told from items that are not there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedder.errors import IndexFileError
from index.database import is_damage, sqlite_errors
from index.rows import Origin, Row, are_centroids
from index.schema import MEND

# One statement for a list of any length: each of its own would cost four times as much.
_ROWS = """
SELECT items.id, centroid, photos, dispersion, checksum
FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value
"""
_ORIGINS = """
SELECT items.id, reference, signature, origin_checksum
FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value
"""
_AGAIN = """
SELECT items.id FROM json_each(?) AS wanted
CROSS JOIN items INDEXED BY items_again ON items.id = wanted.value
"""


def fetch_rows(
    path: Path, connection: sqlite3.Connection, ids: Sequence[str], dim: int
) -> dict[str, Row]:
    """The rows of some items by id, of those that the index has.

    Raises:
        IndexFileError: a row is damaged, or the way to it; names the item.
    """
    found = {}
    for values in _fetch(path, connection, _ROWS, ids):
        row = Row._make(values)
        if not row.is_whole(dim):
            raise _damaged(path, row.item_id)
        found[row.item_id] = row
    if found:
        vectors = np.frombuffer(b"".join(row.centroid for row in found.values()), dtype="<f4")
        usable = are_centroids(vectors.reshape(-1, dim))
        if not usable.all():
            raise _damaged(path, list(found)[int(usable.argmin())])
    refuse_hidden(path, connection, [item_id for item_id in ids if item_id not in found])
    return found


def fetch_origins(
    path: Path, connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, Origin]:
    """Where some items come from by id, of those that the index has.

    Raises:
        IndexFileError: a row is damaged; names the item.
    """
    found = {}
    for values in _fetch(path, connection, _ORIGINS, ids):
        origin = Origin._make(values)
        if not origin.is_whole():
            raise _damaged(path, origin.item_id)
        found[origin.item_id] = origin
    return found


def refuse_hidden(path: Path, connection: sqlite3.Connection, missing: Sequence[str]) -> None:
    """Make sure that items which were not found are not there.

    Raises:
        IndexFileError: one is; what leads to its row is damaged.
    """
    if missing:
        for (item_id,) in _fetch(path, connection, _AGAIN, missing):
            raise _damaged(path, item_id)


def _fetch(
    path: Path, connection: sqlite3.Connection, query: str, ids: Sequence[str]
) -> list[tuple[object, ...]]:
    try:
        return connection.execute(query, (json.dumps(ids),)).fetchall()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            for item_id in ids:  # one by one, to name the one that cannot be read
                try:
                    connection.execute(query, (json.dumps([item_id]),)).fetchall()
                except sqlite3.DatabaseError as of_item:
                    raise _damaged(path, item_id, of_item) from of_item
        with sqlite_errors(path):
            raise


def _damaged(path: Path, item_id: object, why: object = "checksum") -> IndexFileError:
    return IndexFileError(f"{path}: the row of item '{item_id}' is damaged ({why}): {MEND}")
