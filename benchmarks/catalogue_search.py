"""The nearest of all items: `embed search`'s file beside flat FAISS, hnswlib and usearch.

Vectors are generated: families of look-alikes (5 items on average, some nearly alike, some hardly),
in directions whose weight falls as it does in trained indexes: 29 of 100 directions count, as many
as 16 to 21 in indexes of a hundred items. A question is an item's vector with what photos of it
differ by. Recall is against FAISS' exact search through all of them. Each index is asked with its
effort raised until recall@10 on 200 other questions is 0.99; ours chose its own when it was made.

    pip install hnswlib usearch
    python benchmarks/catalogue_search.py --work DIR --items 1000000
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from processes import resident_mb

from embedder.score_space import unit
from index import Matcher
from index.optimizing import optimize
from index.rows import Item
from index.schema import ELSEWHERE, IndexInfo
from index.search_file import open_search_file, search_path
from index.search_kinds import KINDS
from index.store import Store
from index.store_writing import WritableStore

LIBRARIES = ("faiss-cpu", "hnswlib", "usearch", "numpy")
ROWS = ("faiss", "hnswlib", "usearch", *KINDS)
DIM, TOP, QUESTIONS, TUNING = 100, 10, 1000, 200
_BLOCK = 100_000
_WEIGHTS = np.exp(-np.arange(DIM) / 28)
WEIGHTS = (_WEIGHTS / np.linalg.norm(_WEIGHTS)).astype(np.float32)
DISPERSION = 0.14  # of an item's photos: 0.07 to 0.23 in trained indexes
EFFORTS = tuple(round(16 * 2 ** (n / 4)) for n in range(29))  # to 2048, in steps as ours

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Ask = Callable[[Vectors], Numbers]


def centroids(items: int) -> Iterator[Vectors]:
    """Unit vectors in blocks, the same for the same number of items."""
    rng = np.random.default_rng(0)
    for start in range(0, items, _BLOCK):
        count = min(_BLOCK, items - start)
        family = np.repeat(np.arange(count), rng.geometric(0.2, count))[:count]
        middle = rng.normal(size=(count, DIM)).astype(np.float32) * WEIGHTS
        apart = rng.uniform(0.1, 0.9, (count, 1)).astype(np.float32)
        own = rng.normal(size=(count, DIM)).astype(np.float32) * WEIGHTS
        yield unit(middle[family] + apart[family] * own)


def questions(known: Vectors, count: int, seed: int) -> Vectors:
    """A photo of each of some items."""
    rng = np.random.default_rng(seed)
    chosen = known[rng.choice(len(known), count, replace=False)]
    away = rng.normal(size=chosen.shape).astype(np.float32) * WEIGHTS
    return unit(chosen + np.float32(np.sqrt(DISPERSION / (1 - DISPERSION))) * away)


def write_index(path: Path, items: int) -> None:
    """An index as `embed build-index` writes it."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with WritableStore.create(partial, IndexInfo(ELSEWHERE, DIM, 0.1, "")) as store:
        number = 0
        for block in centroids(items):
            for row in block:
                name = f"sku-{number:08d}"
                store.put(Item(name, row, 100, DISPERSION, f"{name}/1.jpg", bytes(16)))
                number += 1
            store.commit()
    partial.rename(path)


def recalls(found: Numbers, truth: Numbers) -> tuple[float, float]:
    """Shares of the nearest, and of the ten nearest, that were found."""
    there = (truth[:, :, None] == found[:, None, :]).any(axis=2)
    return float((found[:, 0] == truth[:, 0]).mean()), float(there.mean())


def measure(name: str, ask: Ask, notice: str, work: Path) -> None:
    """Print a row: recall, the time of one photo and of ten at once, memory of the process."""
    kept = np.load(work / "questions.npz")
    asked, truth = kept["asked"], kept["truth"]
    one, ten = [], []
    for start in range(0, 200, 10):
        began = time.perf_counter()
        ask(asked[start : start + 1])
        one.append(time.perf_counter() - began)
        began = time.perf_counter()
        ask(asked[start : start + 10])
        ten.append(time.perf_counter() - began)
    first, all_ten = recalls(np.concatenate([ask(part) for part in np.split(asked, 10)]), truth)
    times = f"{1e3 * np.median(one):>9.2f} {1e3 * np.median(ten):>9.2f}"
    print(f"{name:<20} {first:>8.4f} {all_ten:>9.4f} {times} {resident_mb():>8.0f}  {notice}")


def made(kept: Path, make: Callable[[], object]) -> str:
    """Have a file made, unless an earlier run did; says how much processor time that took.

    Not the time that passed: ten million take an hour, and few machines are idle for that long.
    What was just made is measured by a new process, without the memory that making it took.
    """
    note = kept.with_name(f"{kept.name}.minutes")
    if not kept.exists():
        make()
        note.write_text(f"{time.process_time() / 60:.1f}", encoding="ascii")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    minutes = note.read_text(encoding="ascii") if note.exists() else "unknown"
    return f"{minutes} core-min to make"


def measure_ours(work: Path, kind: str) -> None:
    """The row of one kind of search file, through `Matcher`."""
    path = work / "items.index"
    kept = work / f"items.index.{kind}"

    def make() -> None:
        optimize(path, kind)
        search_path(path).replace(kept)

    notice = made(kept, make)
    kept.replace(search_path(path))
    asked = np.load(work / "questions.npz")["asked"]
    with Matcher.open(path) as matcher:

        def ask(some: Vectors) -> Numbers:
            found = matcher.search_vectors(some, TOP)
            return np.array([[int(item.item_id[4:]) for item in one] for one in found])

        began = time.perf_counter()
        ask(asked[:1])
        opened = time.perf_counter() - began
        with Store.open(path) as store:
            notes = open_search_file(store, None).notes
        size = search_path(path).stat().st_size / 1e6
        notice += f", first search {opened:.2f} s, effort {notes.effort}, shortlist "
        measure(f"embed, {kind}", ask, f"{notice}{notes.shortlist}, {size:,.0f} MB file", work)
    search_path(path).replace(kept)


def measure_other(name: str, items: int, work: Path) -> None:
    """The row of another library: with the least effort that finds 0.99 of other questions."""
    kept = work / f"items.{name}"
    asks = {"hnswlib": hnswlib_asks, "usearch": usearch_asks}[name]
    notice = made(kept, lambda: asks(items, kept))
    ask = asks(items, kept)
    others = np.load(work / "questions.npz")
    for effort in EFFORTS:
        if recalls(ask(others["tuning"], effort), others["tuning_truth"])[1] >= 0.99:
            break
    notice += f", effort {effort}, {kept.stat().st_size / 1e6:,.0f} MB file"
    measure(name, lambda some: ask(some, effort), notice, work)


def measure_flat(items: int, work: Path) -> None:
    """The row of FAISS' exact search; finds what is right for the others if that is not known."""
    import faiss  # not before ours, who say how its threads wait

    flat = faiss.IndexFlatIP(DIM)
    for block in centroids(items):
        flat.add(block)
    kept = work / "questions.npz"
    if not kept.exists():
        known = faiss.rev_swig_ptr(flat.get_xb(), items * DIM).reshape(items, DIM)
        asked, tuning = questions(known, QUESTIONS, 1), questions(known, TUNING, 2)
        truth, tuning_truth = (flat.search(some, TOP)[1] for some in (asked, tuning))
        np.savez(kept, asked=asked, truth=truth, tuning=tuning, tuning_truth=tuning_truth)
    measure("faiss, IndexFlatIP", lambda some: flat.search(some, TOP)[1], "", work)


def hnswlib_asks(items: int, kept: Path) -> Callable[[Vectors, int], Numbers]:
    """A graph of hnswlib's, kept in a file."""
    import hnswlib

    graph = hnswlib.Index(space="ip", dim=DIM)
    if kept.exists():
        graph.load_index(str(kept), max_elements=items)
    else:
        graph.init_index(max_elements=items, ef_construction=100, M=16)
        for block in centroids(items):
            graph.add_items(block, num_threads=2)
        graph.save_index(str(kept))

    def ask(some: Vectors, effort: int) -> Numbers:
        graph.set_ef(max(effort, TOP))
        return graph.knn_query(some, TOP, num_threads=2)[0].astype(np.int64)

    return ask


def usearch_asks(items: int, kept: Path) -> Callable[[Vectors, int], Numbers]:
    """A graph of usearch's, kept in a file."""
    from usearch.index import Index

    graph = Index(ndim=DIM, metric="ip", dtype="f32", connectivity=16, expansion_add=100)
    if kept.exists():
        graph.load(str(kept))
    else:
        for start, block in enumerate(centroids(items)):
            graph.add(np.arange(len(block)) + start * _BLOCK, block, threads=2)
        graph.save(str(kept))

    def ask(some: Vectors, effort: int) -> Numbers:
        graph.expansion_search = effort
        found = graph.search(some, TOP, threads=2).keys
        return np.asarray(found).reshape(len(some), TOP).astype(np.int64)

    return ask


@contextmanager
def other_work() -> Iterator[None]:
    """While in it, other processes keep all cores busy."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Make what is missing in the work folder, then measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="one for each number of items")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument(
        "--busy", action="store_true", help="measure beside other work on all cores"
    )
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work, items = arguments.work, arguments.items
    if arguments.row in KINDS:
        measure_ours(work, arguments.row)
    elif arguments.row == "faiss":
        measure_flat(items, work)
    elif arguments.row:
        measure_other(arguments.row, items, work)
    else:
        print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
        print(" ".join(f"{name} {version(name)}" for name in LIBRARIES))
        print(f"{items:,} items, {QUESTIONS:,} questions", flush=True)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "items.index").exists():
            write_index(work / "items.index", items)
        print(f"{'':<20} {'recall@1':>8} {'recall@10':>9} {'1, ms':>9} {'10, ms':>9} {'MB':>8}")
        with other_work() if arguments.busy else nullcontext():
            for row in arguments.rows:
                sys.stdout.flush()
                subprocess.run([sys.executable, *sys.argv, "--row", row], check=True)


if __name__ == "__main__":
    main()
