"""From candidates' ids to a ranked result, whatever the number of items: beside bare libraries.

`embed`: `Matcher.nearest` of 10 vectors. `floor`: the same rows fetched by bare SQLite with the
fastest statement known to us, and `faiss.knn` on them, without a checksum or a name. `faiss`:
`IndexFlatIP` over all items with `IDSelectorBatch`. Fresh: every list of candidates is drawn anew,
from all items; again: the list that was asked for just before. Each file is read once before, so
that nothing waits for the disk.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from processes import resident_mb
from speed_data import DIM, centroids, item_id, write_index

from embedder.score_space import unit
from index import Matcher
from index.store import Store

COUNTS = (10, 100, 1000)
QUERIES, TOP = 10, 10
FETCH = "SELECT centroid FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value"


class Found(NamedTuple):
    """Medians in microseconds."""

    fresh: float
    again: float


def microseconds(ask: Callable[[list[int]], object], lists: list[list[int]]) -> Found:
    """Of a question with each list, asked twice; the first half of the lists warm up."""
    fresh, again = [], []
    gc.collect()
    for numbers in lists:
        for times in (fresh, again):
            started = time.perf_counter()
            ask(numbers)
            times.append(time.perf_counter() - started)
    half = len(lists) // 2
    return Found(*(1e6 * statistics.median(times[half:]) for times in (fresh, again)))


def measure_items(path: Path, items: int, flat: faiss.IndexFlatIP | None) -> dict[int, Found]:
    """Print the rows of one index; returns what ours took by the number of candidates."""
    rng = np.random.default_rng(1)
    asked = unit(rng.normal(size=(QUERIES, DIM)).astype(np.float32))
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
    before = resident_mb()
    ours: dict[int, Found] = {}
    with Matcher.open(path) as matcher, Store.open(path) as other:
        bare = other.connection

        def embed(numbers: list[int]) -> object:
            return matcher.nearest(asked, map(item_id, numbers), TOP)

        def floor(numbers: list[int]) -> object:
            ids = json.dumps([item_id(number) for number in numbers])
            rows = b"".join(row for (row,) in bare.execute(FETCH, (ids,)))
            known = np.frombuffer(rows, np.float32).reshape(-1, DIM)
            return faiss.knn(asked, known, TOP, metric=faiss.METRIC_INNER_PRODUCT)

        for count in COUNTS:
            lists = rng.integers(0, items, (max(40, 4000 // count), count)).tolist()
            lists = [list(dict.fromkeys(numbers)) for numbers in lists]
            ours[count] = microseconds(embed, lists)
            grown = resident_mb() - before
            bound = microseconds(floor, lists)
            line = f"{items:>10,} {count:>6,} {ours[count].fresh:>9.0f} {ours[count].again:>7.0f}"
            line += f" {bound.fresh:>9.0f} {bound.again:>7.0f}"
            if flat is not None:
                theirs = microseconds(lambda rows: filtered(flat, asked, rows), lists[:6])
                line += f" {theirs.fresh:>9.0f} {theirs.fresh / ours[count].fresh:>7.0f}x"
            print(f"{line}   +{grown:.0f} MB", flush=True)
    return ours


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
    print("     items   cand.     embed   again     floor   again     faiss")
    found = {}
    for items in sizes:
        # After ours: its memory is told without that of the vectors.
        found[items] = measure_items(work / f"{items}.index", items, None)
    flat = faiss.IndexFlatIP(DIM)
    for block in centroids(largest):
        flat.add(block)
    measure_items(work / f"{largest}.index", largest, flat)
    for count in COUNTS:
        small, large = found[sizes[0]][count], found[largest][count]
        print(
            f"{count:>5,} candidates, {largest:,} / {sizes[0]:,} items: fresh "
            f"{large.fresh / small.fresh:.2f}x, again {large.again / small.again:.2f}x"
        )
