"""A Dask cluster: reaching it, and having groups of chunks embedded and merged on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dask
from distributed import Client, Future, LocalCluster, as_completed
from distributed.scheduler import KilledWorker

from embedder import __version__
from embedder.errors import ClusterError, EmbedError, in_one_line
from embedder.parallel import default_jobs
from index.chunks import CHUNKS, LOCAL, Group, in_parts
from index.dask_worker import Job, embed_chunk, states_of
from index.kept_chunks import KeptChunks
from index.partials import merged_run

_FAN_IN = 4  # runs that a node of the tree merges
# A scheduler keeps its last transitions, by default enough of them for 100 MB.
_SHORT_LOGS = {"distributed.admin.log-length": 500, "distributed.admin.low-level-log-length": 100}
_SECONDS_TO_WAIT = 30  # for a scheduler, and for a worker


@contextmanager
def connected(scheduler: str, jobs: int | None) -> Iterator[Client]:
    """A client of a cluster that has a worker.

    Args:
        scheduler: its address, or "local" for a cluster on this machine meanwhile.
        jobs: workers of that; one for each core unless given.

    Raises:
        ClusterError: there is none, or it is lost meanwhile.
    """
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it tells of the same in many lines
    try:
        with _errors(scheduler), _client(scheduler, jobs) as client:
            yield client
    finally:
        log.setLevel(level)


@contextmanager
def _client(scheduler: str, jobs: int | None) -> Iterator[Client]:
    if scheduler == LOCAL:
        with (
            dask.config.set(_SHORT_LOGS),
            LocalCluster(
                n_workers=jobs or default_jobs(),
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
    else:
        with Client(scheduler, timeout=_SECONDS_TO_WAIT) as client:
            client.wait_for_workers(1, timeout=_SECONDS_TO_WAIT)
            yield client


@contextmanager
def _errors(scheduler: str) -> Iterator[None]:
    try:
        yield
    except EmbedError:
        raise
    except KilledWorker as error:
        raise ClusterError(
            f"{scheduler}: workers died one after the other at the same photos: see their logs; "
            f"they may lack memory ({in_one_line(error)})"
        ) from error
    except (TimeoutError, OSError, ValueError, RuntimeError, CancelledError) as error:
        raise _lost(scheduler, error) from error
    except Exception as error:
        # What a worker cannot import comes as such, or as a text.
        if isinstance(error, ImportError) or "ModuleNotFoundError" in str(error):
            raise ClusterError(
                f"{scheduler}: expected embed {__version__} with the extra [dask] on the scheduler "
                f"and all workers, found none ({in_one_line(error)}): install it there"
            ) from error
        raise


def _lost(scheduler: str, error: BaseException) -> ClusterError:
    return ClusterError(
        f"{scheduler}: expected a Dask scheduler with a worker, found none, or lost it "
        f"({in_one_line(error) or type(error).__name__}): start both, then run this again"
    )


class _Doing(NamedTuple):
    """What a future is about.

    Attributes:
        what: "states" of a kept group, a "chunk", or the "run" of a group.
        photos: that are done with it.
        group: that it is of.
    """

    what: str
    photos: int
    group: Group


@dataclass
class Gathering:
    """Groups on their way through a cluster.

    Attributes:
        client: of the cluster.
        name: of the plugin that workers have.
        job: that it has.
        kept: where to put what groups give.
        total: photos in all.
        on_progress: called with (photos done, photos in all).
    """

    client: Client
    name: str
    job: Job
    kept: KeptChunks
    total: int
    on_progress: Callable[[int, int], None]

    def __post_init__(self) -> None:
        self._answers = as_completed()
        self._doing: dict[Future, _Doing] = {}
        self._under_way = self._done = self._embedded = 0

    def run(self, groups: Iterator[Group]) -> int:
        """Have groups embedded that are not kept, few at a time; returns photos embedded.

        Raises:
            ClusterError: a worker cannot do it.
        """
        try:
            self._ask_more(groups)
            for future in self._answers:
                self._take(future, self._doing.pop(future))
                self._ask_more(groups)
        finally:
            self.client.cancel(list(self._doing))
        return self._embedded

    def _take(self, future: Future, doing: _Doing) -> None:
        if doing.what == "chunk":
            if future.status != "finished":
                future.result()  # raises
        elif doing.what == "run":
            run = future.result()
            self.kept.put(doing.group.key, run)
            self._embedded += run.embedded
            self._under_way -= 1
        elif future.result() != self.kept.states(doing.group.key):
            self._embed(doing.group)
            return
        else:
            self._under_way -= 1
        self._done += doing.photos
        self.on_progress(self._done, self.total)

    def _ask_more(self, groups: Iterator[Group]) -> None:
        """Give each thread of each worker two chunks or more to do."""
        if self._under_way > 1 + 2 * self._threads() // CHUNKS:
            return
        for group in groups:
            self._under_way += 1
            if self.kept.states(group.key) is None:
                self._embed(group)
            else:
                photos = sum(len(chunk.rows) for chunk in group.chunks)
                states = self.client.submit(states_of, self.name, group.chunks, pure=False)
                self._ask(states, "states", photos, group)
            if self._under_way > 1 + 2 * self._threads() // CHUNKS:
                return

    def _threads(self) -> int:
        return sum(self.client.nthreads().values())

    def _embed(self, group: Group) -> None:
        """Ask for a group: its chunks, and a tree that merges them."""
        submit = partial(self.client.submit, pure=False)
        runs: list[Future] = []
        for chunk in group.chunks:
            here = Path(self.job.shown(chunk.rows[0][1])).exists()
            runs.append(submit(embed_chunk, self.name, chunk, here))
            self._ask(runs[-1], "chunk", len(chunk.rows), group)
        while True:
            parts = in_parts(runs, _FAN_IN)
            # Before other chunks: what is merged is soon kept, and takes less memory.
            runs = [submit(merged_run, list(part), priority=1) for part in parts]
            if len(runs) == 1:
                return self._ask(runs[0], "run", 0, group)

    def _ask(self, future: Future, what: str, photos: int, group: Group) -> None:
        self._doing[future] = _Doing(what, photos, group)
        self._answers.add(future)
