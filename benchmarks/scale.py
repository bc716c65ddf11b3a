"""From measured unit costs to a billion items: storage, memory, build time, latency.

    python benchmarks/scale.py --work DIR

Costs are those that the commands in benchmarks/RESULTS.md printed, named beside each; the size of
an index, and the latency of a match in it, are also measured now, with 10,000 and 100,000 items.
Prints each model beside each measured point, and what is projected; draws docs/scale.svg.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from speed_data import centroids, item_id, write_index

SVG = Path(__file__).parents[1] / "docs" / "scale.svg"
SIZES = [10**power for power in range(4, 10)]
OF_ITEM = 100  # photos
MEMORY = 24e9  # bytes of the machine that measured
PHOTOS_A_SECOND = 100_000 / 60.4  # of its two cores: speed.py, MobileNet 0.25 at 96 px
DISK_READ = 100e-6  # seconds for a page that is not in memory, of an SSD; assumed
MB, DAY = 1e6, 86400.0
MONTH = 30 * DAY


class Design(NamedTuple):
    """A way of doing something, and what it costs.

    Attributes:
        name: of it.
        cost: of so many items: bytes, or seconds.
        points: items and what was measured, as `cost`.
        source: the command that printed the points.
        most: bytes or seconds at which it stops holding.
    """

    name: str
    cost: Callable[[float], float]
    points: dict[int, float]
    source: str
    most: float


def power_law(points: dict[int, float]) -> Callable[[float], float]:
    """Through the two largest of some points, straight on logarithmic axes."""
    (a, x), (b, y) = sorted(points.items())[-2:]
    slope = math.log(y / x) / math.log(b / a)
    return lambda items: y * (items / b) ** slope


def linear(fixed: float, each: float) -> Callable[[float], float]:
    """So much, and so much more for each item."""
    return lambda items: fixed + each * items


def straight(points: dict[int, float]) -> Callable[[float], float]:
    """Through two points."""
    (a, x), (b, y) = sorted(points.items())
    return linear(x - a * (y - x) / (b - a), (y - x) / (b - a))


def fetch_seconds(items: float, each: float) -> float:
    """Ten candidates: in memory as measured, and two reads a candidate where pages are on disk."""
    warm = 110e-6 + 28e-6 * max(0.0, math.log10(items / 1e4))
    on_disk = max(0.0, 1 - 0.7 * MEMORY / (each * items))
    return warm + 10 * 2 * DISK_READ * on_disk


def designs(each: float, fresh: dict[int, tuple[float, float]]) -> dict[str, list[Design]]:
    """What there is to choose from.

    Args:
        each: bytes of an index for each item, measured now.
        fresh: items to (bytes of the index, seconds of a match), measured now.
    """
    sizes = {items: size for items, (size, _) in fresh.items()}
    took = {items: seconds for items, (_, seconds) in fresh.items()}
    search, speed, manifest = "catalogue_search.py", "speed.py", "dask_manifest.py"
    sq = {10**6: 4.15e-3, 10**7: 14.02e-3}
    flat = {10**6: 46.76e-3, 10**7: 518.16e-3}
    hnsw = {10**6: 1.90e-3, 10**7: 7.89e-3}
    build = OF_ITEM / PHOTOS_A_SECOND
    fetch = partial(fetch_seconds, each=each)
    fetched = {10**4: 110e-6, 10**6: 174e-6, 10**7: 195e-6}
    # Of a file made on both cores: half of its processor time.
    lists, graph = {10**6: 3.4 * 30, 10**7: 33.2 * 30}, {10**6: 10.1 * 30, 10**7: 132.7 * 30}
    chunks = {10**4: 88 * MB}
    files = {10**6: 122 * MB, 10**7: 1204 * MB}
    held = {10**6: 225 * MB, 10**7: 1307 * MB}
    held_graph = {10**6: 804 * MB, 10**7: 7104 * MB}
    compared = {10**6: 504 * MB, 10**7: 4104 * MB}
    return {
        "storage, bytes": [
            Design("index file", linear(3e5, each), sizes, "scale.py", 1e13),
            Design("search file, sq", linear(0, 120.4), files, search, 1e13),
            Design("kept photos, 100 an item", linear(0, 480.0 * OF_ITEM), {}, "formats.md", 1e13),
            Design("kept chunks, 100 an item", linear(0, 88.0 * OF_ITEM), chunks, manifest, 1e13),
        ],
        "memory, bytes": [
            Design("match", linear(63 * MB, 0), {10**4: 63 * MB}, speed, MEMORY),
            Design("search, flat", straight(compared), compared, search, MEMORY),
            Design("search, sq", straight(held), held, search, MEMORY),
            Design("search, hnsw", straight(held_graph), held_graph, search, MEMORY),
            Design(
                "build, one process", linear(60 * MB, 18700.0), {10**4: 247 * MB}, speed, MEMORY
            ),
            Design("build, Dask", linear(165 * MB, 0), {10**4: 165 * MB}, manifest, MEMORY),
        ],
        "build, seconds (100 photos an item)": [
            Design("2 cores", linear(0, build), {1000: 60.4}, speed, MONTH),
            Design("2,000 cores, ideal", linear(0, build / 1000), {}, "on paper", MONTH),
            Design("search file, sq", power_law(lists), lists, search, DAY),
            Design("search file, hnsw", power_law(graph), graph, search, DAY),
        ],
        "latency, seconds": [
            Design("match, 10 candidates", fetch, fetched, speed, 1.0),
            Design("the same, measured now", fetch, took, "scale.py", 1.0),
            Design("search, flat", power_law(flat), flat, search, 1.0),
            Design("search, sq", power_law(sq), sq, search, 1.0),
            Design("search, hnsw, in memory", power_law(hnsw), hnsw, search, 1.0),
        ],
    }


def measured(work: Path) -> dict[int, tuple[float, float]]:
    """Bytes of indexes of noise, and the median seconds that ten candidates take there."""
    from index.store import Store

    found = {}
    for items in (10_000, 100_000):
        path = work / f"scale-{items}.index"
        write_index(path, items, "f" * 64)
        rng, took = np.random.default_rng(1), []
        vectors = next(centroids(10))
        with Store.open(path) as store:
            for _ in range(200):
                ids = [item_id(number) for number in rng.integers(0, items, 10).tolist()]
                started = time.perf_counter()
                rows, _ = store.centroids(ids)
                (vectors @ rows.T).argmax(axis=1)
                took.append(time.perf_counter() - started)
        found[items] = (float(path.stat().st_size), float(np.median(took)))
    return found


def stops_at(design: Design) -> float:
    """The number of items, up to 1e12, at which a design costs more than it may."""
    sizes = np.logspace(4, 12, 4001)
    over = [items for items in sizes.tolist() if design.cost(items) > design.most]
    return over[0] if over else math.inf


def shown(value: float, what: str) -> str:
    """A cost with its unit."""
    if "bytes" in what:
        return f"{value / 1e9:,.2f} GB" if value < 1e12 else f"{value / 1e12:,.1f} TB"
    for unit, seconds in (("d", 86400.0), ("h", 3600.0), ("s", 1.0), ("ms", 1e-3)):
        if value >= seconds or unit == "ms":
            return f"{value / seconds:,.2f} {unit}"
    raise AssertionError


def draw(panels: dict[str, list[Design]], file: Path) -> None:
    """Curves, with what was measured as dots on them, and limits as crosses."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "scale", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
    sizes = np.logspace(3, 9, 31)
    for axis, (what, found) in zip(axes.flat, panels.items(), strict=True):
        for design in found:
            costs = [design.cost(items) for items in sizes.tolist()]
            (line,) = axis.loglog(sizes, costs, label=design.name, linewidth=1)
            colour = line.get_color()
            axis.plot(list(design.points), list(design.points.values()), "o", color=colour)
            if (end := stops_at(design)) <= 1e9:
                axis.plot([end], [design.most], "x", color=colour, markersize=9)
        axis.set(title=what, xlabel="items")
        axis.legend(fontsize=7)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    figure.suptitle("dots: measured; lines: projected; crosses: where it stops holding")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    fresh = measured(work)
    (few, (small, _)), (many, (large, _)) = sorted(fresh.items())
    each = (large - small) / (many - few)
    print(f"measured now: {each:.0f} bytes of an index for each item")
    for items, (_, seconds) in fresh.items():
        print(
            f"measured now: ten of {items:,} items fetched and compared in {seconds * 1e6:.0f} us"
        )
    panels = designs(each, fresh)
    for what, found in panels.items():
        print(f"\n{what:40}" + "".join(f"{items:>12.0e}" for items in SIZES) + "  holds to")
        for design in found:
            costs = "".join(f"{shown(design.cost(items), what):>12}" for items in SIZES)
            end = stops_at(design)
            print(f"{design.name:40}{costs}  {f'{end:.1e}' if end < 1e12 else 'more'}")
            for items, value in design.points.items():
                model = f"model {design.cost(items) / value:.2f}x"
                print(f"    {items:,} measured {shown(value, what)}, {model}; {design.source}")
    draw(panels, SVG)


if __name__ == "__main__":
    main()
