"""From candidates' ids to a ranked result, whatever the number of items: beside bare libraries.

`embed`: `Matcher.nearest` of 10 vectors. `floor`: the same rows fetched by bare SQLite with the
fastest statement known to us, and `faiss.knn` on them, without a checksum or a name. `faiss`:
`IndexFlatIP` over all items with `IDSelectorBatch`. "rows": `embed` with the row file of `embed
optimize --rows`. Fresh: every list of candidates is drawn anew, from all items; again: the list
that was asked for just before. Each file is read once before, so that nothing waits for the disk.
`embed` and `floor`, and in the comparison of sizes all of them, take turns.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from processes import resident_mb
from speed_data import DIM, centroids, item_id, write_index

from embedder.score_space import unit
from index import Matcher, make_row_file
from index.row_file import row_path
from index.store import Store

COUNTS = (10, 100, 1000)
QUERIES, TOP = 10, 10
Asker = Callable[[list[int]], object]

FETCH = "SELECT centroid FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value"


class Found(NamedTuple):
    """Medians in microseconds."""

    fresh: float
    again: float


def microseconds(asking: dict[Asker, list[list[int]]]) -> dict[Asker, Found]:
    """Of questions with lists of items, each asked twice; the first half of the lists warm up.

    All take turns, so that what else the machine does meets all alike.
    """
    times: dict[Asker, tuple[list[float], list[float]]] = {ask: ([], []) for ask in asking}
    gc.collect()
    for at in range(max(map(len, asking.values()))):
        for ask, lists in asking.items():
            for spent in times[ask] if at < len(lists) else ():
                started = time.perf_counter()
                ask(lists[at])
                spent.append(time.perf_counter() - started)
    return {
        ask: Found(*(1e6 * statistics.median(part[len(part) // 2 :]) for part in both))
        for ask, both in times.items()
    }


def drawn(items: int, count: int, seed: int) -> list[list[int]]:
    """Lists of so many of the items, each item once in a list; others for another seed."""
    rng = np.random.default_rng([items, count, seed])
    lists = rng.integers(0, items, (max(40, 4000 // count), count)).tolist()
    return [list(dict.fromkeys(numbers)) for numbers in lists]


def asked_vectors() -> np.ndarray:
    """The vectors that all are asked for."""
    return unit(np.random.default_rng(1).normal(size=(QUERIES, DIM)).astype(np.float32))


def ours(matcher: Matcher) -> Asker:
    """What a user of the library does."""
    asked = asked_vectors()
    return lambda numbers: matcher.nearest(asked, map(item_id, numbers), TOP)


def measure_items(path: Path, items: int, flat: faiss.IndexFlatIP | None) -> None:
    """Print the rows of one index."""
    asked = asked_vectors()
    for file in (path, row_path(path)):
        read_once(file)
    before = resident_mb()
    with Matcher.open(path) as matcher, Store.open(path) as other:
        bare = other.connection

        def floor(numbers: list[int]) -> object:
            ids = json.dumps([item_id(number) for number in numbers])
            rows = b"".join(row for (row,) in bare.execute(FETCH, (ids,)))
            known = np.frombuffer(rows, np.float32).reshape(-1, DIM)
            return faiss.knn(asked, known, TOP, metric=faiss.METRIC_INNER_PRODUCT)

        embed = ours(matcher)
        for count in COUNTS:
            microseconds({embed: drawn(items, count, 0)})
            grown = resident_mb() - before
            turns = microseconds({embed: drawn(items, count, 1), floor: drawn(items, count, 2)})
            found, bound = turns[embed], turns[floor]
            kind = "rows" if row_path(path).exists() else ""
            line = f"{items:>10,} {kind:<4} {count:>6,} {found.fresh:>9.0f} {found.again:>7.0f}"
            line += f" {bound.fresh:>9.0f} {bound.again:>7.0f}"
            if flat is not None:
                lists = drawn(items, count, 3)[:6]
                theirs = microseconds({partial(filtered, flat, asked): lists}).popitem()[1]
                line += f" {theirs.fresh:>9.0f} {theirs.fresh / found.fresh:>7.0f}x"
            print(f"{line}   +{grown:.0f} MB", flush=True)


def read_once(file: Path) -> None:
    """Into the memory of the system."""
    if file.exists():
        with file.open("rb") as opened:
            while opened.read(1 << 24):
                pass


def compare(work: Path, sizes: list[int], seed: int) -> None:
    """Print what each index takes in times of the smallest, by turns."""
    for items in sizes:  # the others may have taken their place in memory
        read_once(work / f"{items}.index")
        read_once(row_path(work / f"{items}.index"))
    for count in COUNTS:
        with ExitStack() as stack:
            open_one = (stack.enter_context(Matcher.open(work / f"{n}.index")) for n in sizes)
            asking = {
                ours(matcher): drawn(items, count, seed)
                for matcher, items in zip(open_one, sizes, strict=True)
            }
            small, *others = microseconds(asking).values()
        for items, found in zip(sizes[1:], others, strict=True):
            fresh, again = found.fresh / small.fresh, found.again / small.again
            rows = " with rows" if row_path(work / f"{items}.index").exists() else ""
            print(
                f"{count:>5,} candidates, {items:,}{rows} / {sizes[0]:,} items: "
                f"fresh {fresh:.2f}x, again {again:.2f}x",
                flush=True,
            )


def filtered(flat: faiss.IndexFlatIP, asked: np.ndarray, rows: list[int]) -> object:
    """FAISS' own way to look at some rows only."""
    parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.array(rows)))
    return flat.search(asked, TOP, params=parameters)


def measure_search(work: Path, largest: int) -> None:
    """Print the table, and what the largest index costs over the smallest."""
    work.mkdir(parents=True, exist_ok=True)
    sizes = sorted({10_000, min(1_000_000, largest), largest})
    for items in sizes:
        if not (path := work / f"{items}.index").exists():
            partial = path.with_suffix(".partial")
            write_index(partial, items, "f" * 64)
            partial.rename(path)
    print(f"\nsearch, {QUERIES} vectors, nearest {TOP}; us; memory grown by ours, last column")
    print("     items        cand.     embed   again     floor   again     faiss")
    for items in sizes:
        row_path(work / f"{items}.index").unlink(missing_ok=True)
        # After ours: its memory is told without that of the vectors.
        measure_items(work / f"{items}.index", items, None)
    compare(work, sizes, 4)
    for items in sizes[1:]:
        started = time.perf_counter()
        size = make_row_file(work / f"{items}.index")
        spent = time.perf_counter() - started
        print(f"row file of {items:,} items: {size / 1e6:,.0f} MB in {spent:.0f} s")
        measure_items(work / f"{items}.index", items, None)
    compare(work, sizes, 5)
    flat = faiss.IndexFlatIP(DIM)
    for block in centroids(largest):
        flat.add(block)
    measure_items(work / f"{largest}.index", largest, flat)
