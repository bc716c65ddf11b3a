"""Tests of the ordered map on threads."""

import threading
import time
from itertools import count

import pytest

from embedder.parallel import default_jobs, ordered_map

WINDOW = 16  # sources taken ahead for each job


@pytest.mark.parametrize("jobs", [1, 3, None])
def test_results_come_in_the_order_of_their_sources(jobs: int | None):
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 7 == 0 else 0)
        return number * number

    assert list(ordered_map(slow_first, range(60), jobs)) == [n * n for n in range(60)]


@pytest.mark.parametrize("sources", [[], [5]])
def test_short_streams(sources: list[int]):
    assert list(ordered_map(str, sources, 4)) == [str(n) for n in sources]


def test_work_is_shared_by_as_many_threads_as_jobs():
    meeting = threading.Barrier(3, timeout=10)  # breaks unless three threads come together
    assert len(list(ordered_map(lambda _: meeting.wait(), range(3), 3))) == 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_takes_little_more_than_was_asked_for(jobs: int):
    taken = 0

    def endless():
        nonlocal taken
        for number in count():
            taken += 1
            yield number

    results = ordered_map(lambda number: number, endless(), jobs)
    assert taken == 0
    for wanted in range(1, 100):
        assert next(results) == wanted - 1
        assert taken <= jobs * WINDOW + wanted
    results.close()


def test_an_exception_comes_in_its_turn():
    def fails_at_20(number: int) -> int:
        if number == 20:
            raise ValueError("twenty")
        return number

    results = ordered_map(fails_at_20, range(1000), 2)
    assert [next(results) for _ in range(20)] == list(range(20))
    with pytest.raises(ValueError, match="twenty"):
        next(results)
    assert list(results) == []


def test_an_exception_of_the_source_is_raised():
    def breaks():
        yield 1
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        list(ordered_map(str, breaks(), 2))


def test_closing_early_cancels_what_has_not_started():
    started = []

    def work(number: int) -> int:
        started.append(number)
        time.sleep(0.005)
        return number

    threads = threading.active_count()
    results = ordered_map(work, range(1000), 1)
    next(results)
    results.close()
    after = len(started)
    assert after < WINDOW
    assert threading.active_count() == threads
    time.sleep(0.03)
    assert len(started) == after


def test_default_is_at_least_one_job():
    assert default_jobs() >= 1
