"""Writes a sample catalogue of made-up products, with query photos and the right answers."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from embedder.parallel import default_jobs
from embedder.sample_designs import look_alike_of
from embedder.sample_drawing import draw_item, photograph

__all__ = ["SampleSummary", "item_id", "look_alike_of", "write_sample"]

_QUERY_STREAM = 4  # apart from the streams that items and photos are drawn from
_QUERY_PHOTO = 0  # the photos in the catalogue count from 1
_LEAST = {"items": 1, "photos": 1, "queries": 0, "size": 32, "seed": 0, "jobs": 1}
_SMALL = 200  # photos that one process writes sooner than a pool would start
_TASK = 100  # photos per task: long enough to hide its cost, short enough to share out evenly
_MOST_WORKERS = 61  # Windows cannot wait for more


@dataclass(frozen=True)
class SampleSummary:
    """What write_sample wrote: photos counts those of the catalogue, without the queries."""

    folder: Path
    items: int
    photos: int
    queries: int


@dataclass(frozen=True)
class _Task:
    """Items to write, and the query photo files of some of them."""

    folder: Path
    seed: int
    size: int
    photos: int
    items: range
    queries: dict[int, str]


def item_id(index: int) -> str:
    """The id of the item with this index (from 0), which is also its folder's name."""
    return f"sku-{index + 1:06d}"


def write_sample(
    folder: Path,
    *,
    items: int = 100,
    photos: int = 20,
    queries: int = 10,
    size: int = 96,
    seed: int = 0,
    jobs: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> SampleSummary:
    """Writes a made-up catalogue to try the product on, the same bytes for the same arguments.

    The folder gets catalogue/<id>/0001.jpg and so on, photos/photo-01.jpg and so on (one new
    photo each of some items, in random order), ids.txt (the ids of those items, sorted) and
    truth.csv (which item is in which photo). Every fifth item is a look-alike of the one before
    it: see look_alike_of. An item has the same photos however many items there are.

    Args:
        folder: Where to write; made if missing.
        items: Items in the catalogue, at least 1.
        photos: Photos per item, at least 1.
        queries: Items that also get a query photo, 0 to items.
        size: Width and height of each photo in pixels, at least 32.
        seed: Another seed gives other items; at least 0.
        jobs: Processes to use, at least 1; None for one per processor. Small samples use one.
        on_progress: Called with the number of photos, queries included, written since last time.

    Returns:
        The folder and the counts of items, catalogue photos and query photos written.

    Raises:
        ValueError: A number is out of its range.
        FileExistsError: The folder has something in a place that would be written to.
    """
    jobs = default_jobs() if jobs is None else jobs
    _check(items=items, photos=photos, queries=queries, size=size, seed=seed, jobs=jobs)
    _refuse_existing(folder)
    for name in ("catalogue", "photos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    chosen = np.random.default_rng([seed, _QUERY_STREAM]).permutation(items)[:queries].tolist()
    width = max(2, len(str(queries)))
    names = {index: f"photo-{n:0{width}d}.jpg" for n, index in enumerate(chosen, 1)}
    per_task = max(1, _TASK // photos)
    tasks = (
        _Task(folder, seed, size, photos, some, {i: names[i] for i in some if i in names})
        for start in range(0, items, per_task)
        for some in [range(start, min(start + per_task, items))]
    )
    workers = min(jobs, _MOST_WORKERS, -(-items // per_task))
    if items * photos + queries < _SMALL:
        workers = 1
    for written in map(_write_items, tasks) if workers == 1 else _in_pool(tasks, workers):
        if on_progress is not None:
            on_progress(written)
    _write_answers(folder, names)
    return SampleSummary(folder, items, items * photos, queries)


def _check(**numbers: int) -> None:
    """Raises ValueError if one of write_sample's numbers is out of its range."""
    for name, least in _LEAST.items():
        if numbers[name] < least:
            raise ValueError(f"expected {name} to be at least {least}, found {numbers[name]}")
    if numbers["queries"] > numbers["items"]:
        raise ValueError(
            f"expected queries to be at most items ({numbers['items']}), found {numbers['queries']}"
        )


def _refuse_existing(folder: Path) -> None:
    """Raises FileExistsError if the sample would mix with files that are already there."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"expected a folder or nothing at {folder}, found a file")
    for name in ("catalogue", "photos"):
        path = folder / name
        if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
            raise FileExistsError(f"expected no files yet at {path}, found some: use a new folder")
    for name in ("ids.txt", "truth.csv"):
        if (folder / name).exists():
            raise FileExistsError(
                f"expected no {name} yet in {folder}, found one: use a new folder"
            )


def _in_pool(tasks: Iterator[_Task], workers: int) -> Iterator[int]:
    """Runs the tasks in worker processes and yields each one's count as it is done."""
    # Spawned workers behave alike on every system and do not inherit the caller's threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # Only a few tasks wait at any time, so memory does not grow with the catalogue.
        pending: set[Future[int]] = set()
        try:
            while True:
                room = 4 * workers - len(pending)
                pending |= {pool.submit(_write_items, task) for task in islice(tasks, room)}
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_items(task: _Task) -> int:
    """Writes the photos of a task's items; returns how many."""
    for index in task.items:
        drawing = draw_item(task.seed, index, task.size)
        target = task.folder / "catalogue" / item_id(index)
        target.mkdir()
        for photo in range(1, task.photos + 1):
            data = photograph(drawing, task.seed, index, photo)
            (target / f"{photo:04d}.jpg").write_bytes(data)
        if index in task.queries:
            data = photograph(drawing, task.seed, index, _QUERY_PHOTO)
            (task.folder / "photos" / task.queries[index]).write_bytes(data)
    return len(task.items) * task.photos + len(task.queries)


def _write_answers(folder: Path, names: dict[int, str]) -> None:
    """Writes ids.txt and truth.csv for the query photos, whose files are named by item."""
    ids = sorted(item_id(index) for index in names)
    heading = "# The items in the folder photos, one id a line, in no order of the photos."
    (folder / "ids.txt").write_text("\n".join([heading, *ids]) + "\n", "utf-8", newline="\n")
    rows = [f"{name},{item_id(index)}" for index, name in names.items()]
    text = "\n".join(["photo,item_id", *rows]) + "\n"
    (folder / "truth.csv").write_text(text, "utf-8", newline="\n")
