"""Index files that somebody made up: an error that names the file, or an answer; nothing worse."""

import faulthandler
import os
import resource
import shutil
import signal
import sqlite3
import struct
import traceback
import zlib
from pathlib import Path

import numpy as np
import pytest

from embedder import EmbedError, read_catalogue
from index import Matcher, build_index, verify_index
from index.rows import origin_checksum, row_checksum
from index.schema import seal
from index.store import Store

FEW = 6  # numbers in a vector
QUERIES = np.random.default_rng(0).normal(size=(5, FEW)).astype(np.float32)
SECONDS, MORE_BYTES = 5, 2**30
AT_ONCE = 100
ODD = [0, 1, -1, 2**31, 2**62, -(2**63), 0.5, 1e308, -1e-308, float("inf"), "", "x" * 5000, "nan"]
ODD += ["../../../etc/passwd", "\x1b[2J", "\u202egpj", "1e999", b"", bytes(24), b"\xff" * 24]
COLUMNS = {
    "items": ["number", "id", "centroid", "photos", "dispersion", "reference", "signature"],
    "spreads": ["item_id", "content"],
    "unreadable": ["item_id", "photo", "reason"],
    "meta": ["key", "value"],
}
STATEMENTS = [
    "CREATE TRIGGER more AFTER INSERT ON items BEGIN DELETE FROM items; END",
    "CREATE TABLE more (a)",
    "CREATE VIEW more AS SELECT load_extension('x')",
    "DROP TABLE spreads",
    "DROP INDEX items_again",
    "ALTER TABLE items RENAME TO more",
    "ALTER TABLE items ADD COLUMN more",
    "PRAGMA user_version = 4",
    "PRAGMA application_id = 1",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA journal_mode = WAL",
    "DELETE FROM items",
    "DELETE FROM meta",
    "VACUUM",
]
ENDLESS = """
CREATE VIEW items AS WITH RECURSIVE more(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM more)
SELECT number, 'sku-' || number AS id, x'00' AS centroid, 1 AS photos, 0.0 AS dispersion,
0 AS checksum, '' AS reference, x'' AS signature, 0 AS origin_checksum FROM more
"""


def change_bytes(rng, path):
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(content)))
        match rng.integers(6):
            case 0:
                content[at] = rng.integers(256)
            case 1:  # the header of a page, or the start of where its cells are
                at = int(rng.integers(pages)) * 4096 + int(rng.integers(24))
                content[at : at + 2] = int(rng.integers(65536)).to_bytes(2, "big")
            case 2:
                source, target = rng.integers(pages, size=2) * 4096
                content[target : target + 4096] = content[source : source + 4096]
            case 3:
                length = int(rng.integers(1, 300))
                content[at : at + length] = bytes(length)
            case 4:
                content[at : at + 4] = int(rng.integers(2 * pages)).to_bytes(4, "big")
            case 5:
                content = content[: max(at, 4096)] if rng.integers(8) == 0 else content
    path.write_bytes(content)


def change_values(rng, path):
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for _ in range(rng.integers(1, 4)):
            table = str(rng.choice([*COLUMNS]))
            column = str(rng.choice(COLUMNS[table]))
            rows = database.execute(f"SELECT {column} FROM {table}").fetchall()
            (old,) = rows[rng.integers(len(rows))]
            new = ODD[rng.integers(len(ODD))] if rng.integers(2) else changed(rng, old)
            database.execute(
                f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {column} = ?", (new, old)
            )
    finally:
        database.close()


def changed(rng, value):
    """A value of the same type that is a little wrong."""
    if isinstance(value, bytes) and value:
        numbers = bytearray(value)
        at = int(rng.integers(len(numbers)))
        odd = [np.float32(odd).tobytes() for odd in (np.nan, np.inf, 1e38, -1e-40)]
        numbers[at : at + 4] = odd[rng.integers(4)]
        return bytes(numbers) if rng.integers(4) else bytes(numbers[:at])
    if isinstance(value, str):
        return value.replace("0.", "-1e9" if rng.integers(2) else "[[", 1) + "\0" * int(
            rng.integers(2)
        )
    return value if value is None else type(value)(value * rng.normal() * 1000)


def change_schema(rng, path):
    database = sqlite3.connect(path, isolation_level=None)
    try:
        if rng.integers(3) == 0:
            database.execute("DROP TABLE items")
            database.execute(ENDLESS)
        elif rng.integers(2):
            database.execute("PRAGMA writable_schema = ON")
            what = [
                "rootpage = 1",
                "rootpage = 7",
                "sql = 'CREATE TABLE'",
                "type = 'view'",
                "name = ''",
            ]
            some = f"WHERE rowid = {rng.integers(1, 9)}"
            database.execute(f"UPDATE sqlite_schema SET {rng.choice(what)} {some}")
        else:
            database.execute(str(rng.choice(STATEMENTS)))
    finally:
        database.close()


def seal_again(path):
    """Make all checksums right, as far as there is still something to be read."""
    database = sqlite3.connect(path)
    try:
        query = "SELECT number, id, centroid, photos, dispersion, reference, signature FROM items"
        for number, *row, reference, signature in database.execute(query).fetchall():
            try:
                sums = row_checksum(*row), origin_checksum(row[0], reference, signature)
            except (struct.error, TypeError, AttributeError):
                continue
            update = "UPDATE items SET checksum = ?, origin_checksum = ? WHERE number = ?"
            database.execute(update, (*sums, number))
        for key, value in database.execute("SELECT key, value FROM meta").fetchall():
            if isinstance(value, bytes):
                sealed = value[:-4] + zlib.crc32(value[:-4]).to_bytes(4, "little")
                database.execute("UPDATE meta SET value = ? WHERE key = ?", (sealed, key))
        for item_id, content in database.execute("SELECT * FROM spreads").fetchall():
            checksum = zlib.crc32(content[:-4], zlib.crc32(item_id.encode()))
            sealed = content[:-4] + checksum.to_bytes(4, "little")
            database.execute("UPDATE spreads SET content = ? WHERE item_id = ?", (sealed, item_id))
        seal(database)
        database.commit()
    finally:
        database.close()


def has_views(path):
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT 1 FROM sqlite_schema WHERE type = 'view'").fetchone()
    finally:
        database.close()


def use(path, ids, catalogue, embedder):
    """Do with an index all that a user would; every answer has to make sense."""
    tries = [
        lambda: matches(path, ids, independent=False),
        lambda: matches(path, ids, independent=True),
        lambda: verify_index(path),
    ]
    if catalogue is not None:
        tries += [lambda: build_index(catalogue, embedder, path, jobs=1)]
        tries += [lambda: build_index(catalogue, embedder, path, jobs=1, repair=True)]
    for attempt in tries:
        try:
            attempt()
        except EmbedError as error:
            said = str(error)
            assert path.name in said and "\n" not in said, error
        else:
            said = ""
    refused = "upgrade" in said or "found nothing of one in it" in said
    if catalogue is not None and not refused:
        assert verify_index(path).problems == ()
        matches(path, list(catalogue.items), independent=False)


def matches(path, ids, independent):
    with Matcher.open(path) as matcher:
        for found in matcher.match_vectors(QUERIES, ids, independent=independent):
            assert found.confidence is None or 0 <= found.confidence <= 1
            assert found.score is None or -1.001 <= found.score <= 1.001
        names, scores = matcher.nearest(QUERIES, ids)
        assert np.isfinite(scores).all() and {*names[0]} <= {*ids}
        list(matcher.store.ids()), len(matcher.store), matcher.store.unreadable()


def in_child(seeds, work):
    """Work through seeds in a child of its own, with little memory and time; say how it ended."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    seed = None
    try:
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        faulthandler.register(signal.SIGALRM, chain=True)
        resource.setrlimit(resource.RLIMIT_AS, (here + MORE_BYTES, here + MORE_BYTES))
        for seed in seeds:
            signal.alarm(SECONDS)
            work(seed)
    except BaseException:
        traceback.print_exc()
        os.write(2, f"seed {seed}\n".encode())
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("change", [change_bytes, change_values, change_schema])
def test_a_made_up_index_does_no_harm(whole, folder, few_numbers, tmp_path, rounds, change):
    catalogue = read_catalogue(folder)
    with Store.open(whole) as store:
        ids = list(store.ids())
    list(few_numbers.embed(list(catalogue.paths())[:2], jobs=1))
    path = tmp_path / "items.index"
    kept = f"{whole.name}.photos"

    def work(seed):
        rng = np.random.default_rng(seed)
        shutil.copyfile(whole, path)
        try:
            change(rng, path)
            if seed % 2 and not has_views(path):
                seal_again(path)
        except (sqlite3.Error, ValueError, TypeError, AttributeError, OverflowError, IndexError):
            pass  # too broken for more
        if seed % 10:
            return use(path, ids, None, None)
        shutil.copyfile(whole.with_name(kept), path.with_name(kept))
        use(path, ids, catalogue, few_numbers)

    count = rounds(600, 25_000)
    for start in range(0, count, AT_ONCE):
        seeds = range(start, start + AT_ONCE)
        if in_child(seeds, work):
            alone = [seed for seed in seeds if in_child([seed], work)]
            pytest.fail(f"ended badly: seeds {alone or list(seeds)}")
