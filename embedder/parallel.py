"""Threads over a long stream, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Source = TypeVar("Source")
Result = TypeVar("Result")

_WAITING_PER_JOB = 16


def default_jobs() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Source], Result], sources: Iterable[Source], jobs: int | None = None
) -> Iterator[Result]:
    """`map` on threads: results in the order of their sources, few of them held at a time.

    Decoding a photo and running the network both release the interpreter lock, so threads are
    enough. Closing the iterator early cancels what has not started.
    """
    jobs = jobs or default_jobs()
    pool = ThreadPoolExecutor(jobs)
    remaining = iter(sources)
    waiting: deque[Future[Result]] = deque()
    try:
        for source in islice(remaining, jobs * _WAITING_PER_JOB):
            waiting.append(pool.submit(function, source))
        while waiting:
            yield waiting.popleft().result()
            for source in islice(remaining, 1):
                waiting.append(pool.submit(function, source))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
