"""What matching costs without the photos: opening, assignment, probabilities, a whole match.

Run `python benchmarks/matching_speed.py`. Draws an index of 10,000 items in a temporary folder.
Medians of several runs, milliseconds of one core.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from speed_data import DIM, centroids, item_id, write_index

from embedder.score_space import unit
from index import Matcher
from index.assignment import best_assignment
from index.marginals import can_be_exact, marginals

ITEMS = 10_000


def milliseconds(work: Callable[[], object], runs: int = 7) -> float:
    """The median time of some work."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print all of it."""
    rng = np.random.default_rng(0)
    rows = np.concatenate(list(centroids(ITEMS)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.index"
        write_index(path, ITEMS, "f" * 64)
        opening = milliseconds(lambda: Matcher.open(path).close(), 50)
        print(f"{'open an index of 10,000 items':<52}{opening:>9.2f}")
        with Matcher.open(path) as matcher:
            for count in (1, 10, 100, 1000):
                asked = unit(rows[:count] + 0.08 * rng.normal(size=(count, DIM)))
                ids = [item_id(number) for number in range(count)]
                spent = milliseconds(lambda a=asked, i=ids: matcher.match_vectors(a, i))
                print(f"{f'match {count} vectors to {count} candidates':<52}{spent:>9.2f}")
    for count in (10, 64, 300, 1000):
        scores = rng.uniform(-1, 1, (count, count)).astype(np.float32)
        spent = milliseconds(lambda s=scores: best_assignment(s), 3)
        print(f"{f'best assignment, {count} x {count}, random':<52}{spent:>9.2f}")
    for count in (10, 16, 100, 1000):
        odds = rng.normal(-8, 3, (count, count)) + 14 * np.eye(count)
        kind = "exact" if can_be_exact(count, count) else "in parts"
        spent = milliseconds(lambda o=odds: marginals(o), 3)
        print(f"{f'probabilities, {count} x {count}, {kind}':<52}{spent:>9.2f}")


if __name__ == "__main__":
    main()
