"""What `build-index --dask` holds of a manifest of millions of rows: memory, as rows are done.

    python benchmarks/dask_manifest.py --work DIR --rows 10000000

Everything is as in the command but for the photos: vectors are made up on the worker, so the time
is that of reading, scheduling, merging, keeping and writing alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
from speed_data import MODELS, write_models

from embedder.score_space import unit
from index.chunks import Chunk
from index.dask_building import build_index_on_dask
from index.partials import Partial, Run, Seen
from index.statistics import RunningItem

OF_ITEM = 100  # photos
DIM = 100


def made_up_chunk(name: str, chunk: Chunk, here: bool) -> Run:
    """What a chunk of photos could give, without photos."""
    rng = np.random.default_rng(int.from_bytes(chunk.key[:8], "little"))
    vectors = unit(rng.normal(size=(len(chunk.rows), DIM)).astype(np.float32))
    partials: dict[str, Partial] = {}
    for (item, photo), vector in zip(chunk.rows, vectors, strict=True):
        partial = partials.get(item)
        if partial is None:
            partial = partials[item] = Partial(item, RunningItem(DIM, scatter=False))
        partial.running.add(vector)
        partial.photos.append(Seen(photo, 40_000, 1_700_000_000_000_000_000))
    return Run((chunk.key,), len(chunk.rows), [partials[item] for item in sorted(partials)])


def write_manifest(path: Path, rows: int) -> None:
    """A manifest of so many photos, item by item."""
    with path.open("w") as lines:
        lines.write("item_id,path\n")
        for at in range(rows):
            lines.write(f"sku-{at // OF_ITEM:08d},photos/{at // OF_ITEM:08d}/{at:010d}.jpg\n")


def megabytes() -> tuple[float, float]:
    """Resident memory of this process, scheduler included, and of the largest worker."""
    here = psutil.Process()
    children = [child.memory_info().rss for child in here.children(recursive=True)]
    return here.memory_info().rss / 1e6, max(children, default=0) / 1e6


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    arguments = parser.parse_args()
    work, rows = arguments.work, arguments.rows
    work.mkdir(parents=True, exist_ok=True)
    manifest = work / f"manifest-{rows}.csv"
    if not manifest.exists():
        write_manifest(manifest, rows)
    if not (work / "items.model").exists():
        write_models(work, work, next(iter(MODELS)))
    started, step, peak = time.monotonic(), max(1, rows // 10), 0.0
    print(f"{rows:,} rows, {manifest.stat().st_size / 1e6:,.0f} MB of CSV")
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown, peak
        if done // step > shown:
            shown = done // step
            mine, worker = megabytes()
            peak = max(peak, mine)
            passed = time.monotonic() - started
            print(
                f"{done:12,} rows {passed:7.0f} s {mine:6.0f} MB, worker {worker:.0f}", flush=True
            )

    index = work / "items.index"
    for path in work.glob("items.index*"):
        path.unlink()
    with patch("index.dask_cluster.embed_chunk", made_up_chunk):
        report = build_index_on_dask(
            manifest, work / "items.model", index, jobs=1, on_progress=show
        )
    mine, _ = megabytes()
    kept = index.with_name("items.index.chunks").stat().st_size
    passed = time.monotonic() - started
    print(
        f"written: {passed:.0f} s, {mine:.0f} MB, {report.items:,} items, {report.photos:,} photos"
    )
    print(f"index {index.stat().st_size / 1e6:.0f} MB, kept beside it {kept / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
