"""Threads over a long stream, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Source = TypeVar("Source")
Result = TypeVar("Result")


def default_jobs() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Source], Result],
    sources: Iterable[Source],
    jobs: int | None = None,
    ahead: int = 16,
) -> Generator[Result, None, None]:
    """`map` on threads: results in the order of their sources, few of them held at a time.

    Decoding a photo and running the network both release the interpreter lock, so threads are
    enough. Closing the iterator early cancels what has not started.

    Args:
        function: of one source.
        sources: taken on the caller's thread, one by one.
        jobs: threads; None for one a core.
        ahead: results for each thread that are worked on or wait to be taken.
    """
    jobs = jobs or default_jobs()
    pool = ThreadPoolExecutor(jobs)
    remaining = iter(sources)
    waiting: deque[Future[Result]] = deque()
    try:
        for source in islice(remaining, jobs * ahead):
            waiting.append(pool.submit(function, source))
        while waiting:
            yield waiting.popleft().result()
            for source in islice(remaining, 1):
                waiting.append(pool.submit(function, source))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
