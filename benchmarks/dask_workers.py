"""`build-index --dask` beside one process: photos a second with 1 and 2 workers, and a kill.

    python benchmarks/dask_workers.py --work DIR --photos 4000

Scheduler and workers are processes of their own, each a host with an address of its own: a network
namespace on a bridge, where `ip` may make these (as root on Linux); else all are on 127.0.0.1.
A worker has one thread, so that two of them take as many cores as one process with two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from speed_data import MODELS, write_models

from embedder import Embedder, read_catalogue
from embedder.sample import write_sample
from index import BuildReport, build_index
from index.dask_building import build_index_on_dask
from index.store import Store

BRIDGE, NETWORK = "embed-br", "10.77.0"
OF_ITEM = 20  # photos


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def hosts(count: int) -> Iterator[list[tuple[str, str]]]:
    """Names of network namespaces on one bridge, and addresses; no names where none can be made."""
    names = [f"embed-{at}" for at in range(count)]
    with ExitStack() as undo:
        try:
            ip("link", "add", "name", BRIDGE, "type", "bridge")
            undo.callback(ip, "link", "del", BRIDGE)
            ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
            for at, name in enumerate(names):
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)
                link = ("link", "add", f"embed-v{at}", "type", "veth")
                ip(*link, "peer", "name", "eth0", "netns", name)
                ip("link", "set", f"embed-v{at}", "master", BRIDGE, "up")
                ip("-n", name, "addr", "add", f"{NETWORK}.{at + 2}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no network namespaces ({error}): all on 127.0.0.1")
            names = [""] * count
        yield [(n, f"{NETWORK}.{at + 2}" if n else "127.0.0.1") for at, n in enumerate(names)]


@contextmanager
def cluster(work: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its workers."""
    running: list[subprocess.Popen[bytes]] = []

    def start(host: tuple[str, str], what: str, *options: str) -> None:
        inside = ["ip", "netns", "exec", host[0]] if host[0] else []
        command = [sys.executable, "-m", f"distributed.cli.{what}", "--no-dashboard", *options]
        command += ["--host", host[1]]
        with (work / "dask.log").open("ab") as log:
            running.append(subprocess.Popen([*inside, *command], stdout=log, stderr=log, cwd=work))

    noted = work / "scheduler.json"
    noted.unlink(missing_ok=True)
    with hosts(workers + 1) as names:
        try:
            start(names[0], "dask_scheduler", "--port", "0", "--scheduler-file", str(noted))
            while not noted.exists():
                time.sleep(0.1)
            address = json.loads(noted.read_text())["address"]
            for name in names[1:]:
                start(name, "dask_worker", address, "--no-nanny", "--nthreads", "1")
            yield address, running[1:]
        finally:
            for process in reversed(running):
                process.kill()
                process.wait()


def timed(what: str, build: Callable[..., BuildReport], index: Path) -> BuildReport:
    """Print what a build took, whole, and its photos a second after the first was done."""
    for path in index.parent.glob(f"{index.name}*"):
        path.unlink()
    seen: list[tuple[float, int]] = []
    started = time.monotonic()
    report = build(on_progress=lambda done, total: seen.append((time.monotonic(), done)))
    took = time.monotonic() - started
    (first, few), (last, all_of_them) = seen[0], seen[-1]
    rate = (all_of_them - few) / max(1e-9, last - first)
    print(
        f"{what:34} {took:6.1f} s, {report.photos / took:6.0f} photos/s whole, {rate:6.0f} between"
    )
    return report


def compared(one: Path, other: Path) -> str:
    """The lowest cosine of centroids of two indexes of the same items."""
    with Store.open(one) as left, Store.open(other) as right:
        ids = list(left.ids())
        assert ids == list(right.ids())
        vectors, others = left.centroids(ids)[0], right.centroids(ids)[0]
    lowest = (vectors.astype(np.float64) * others).sum(axis=1).min()
    return f"lowest cosine of {len(ids):,} centroids 1 - {max(0.0, 1 - lowest):.1e}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=256, help="photos of a chunk")
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    folder, model = work / f"sample-{arguments.photos}", work / "items.model"
    if not folder.exists():
        write_sample(folder, items=arguments.photos // OF_ITEM, photos=OF_ITEM, queries=0, size=348)
    if not model.exists():
        write_models(work, work, next(iter(MODELS)))
    source, one, other = folder / "catalogue", work / "one.index", work / "dask.index"
    embedder = Embedder.open(model)
    print(f"{arguments.photos:,} photos; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")

    def here(jobs: int) -> Callable[..., BuildReport]:
        return lambda **o: build_index(read_catalogue(source), embedder, one, jobs=jobs, **o)

    def there(address: str) -> Callable[..., BuildReport]:
        return lambda **o: build_index_on_dask(
            source, model, other, scheduler=address, rows=arguments.rows, **o
        )

    for jobs in (1, 2):
        timed(f"one process, {jobs} thread(s)", here(jobs), one)
    for workers in (1, 2):
        with cluster(work, workers) as (address, _):
            timed(f"{workers} worker(s) at {address}", there(address), other)
        print(f"  {compared(one, other)}")
    with cluster(work, 2) as (address, running):

        def build(on_progress: Callable[[int, int], None]) -> BuildReport:
            def kill(done: int, total: int) -> None:
                if done > total // 3:
                    running[0].kill()
                on_progress(done, total)

            return there(address)(on_progress=kill)

        report = timed("2 workers, one of them killed", build, other)
    print(f"  {report.embedded:,} embedded; {compared(one, other)}")


if __name__ == "__main__":
    main()
