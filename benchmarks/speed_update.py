"""Bringing an index of a million photos up to date, and adding one item to ten million.

The catalogue is 10,000 folders of 100 links to a few small photos, so that the first build takes
minutes and not hours: an update looks at names, sizes and times, which are those of large photos.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import truediv
from pathlib import Path

import numpy as np
from PIL import Image
from processes import EMBED, run
from speed_data import DIM

from embedder import Embedder
from embedder.labelled_vectors import LabelledVectors
from embedder.model_files import Architecture, ModelInfo
from embedder.score_space import unit
from index import add_item, remove_items
from index.store_writing import WritableStore

ITEMS, PHOTOS, NEW, TURNS = 10_000, 100, 10, 5
SCAN = """
import os, sys
for folder in os.scandir(sys.argv[1]):
    for photo in os.scandir(folder.path):
        photo.stat()
"""


def write_catalogue(folder: Path, data: Path) -> list[Path]:
    """A million links, made under another name first; returns the photos they lead to."""
    sources = folder.with_name("sources")
    if not folder.exists():
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir(parents=True)
        photos = sorted((data / "grocery" / "train").rglob("*.jpg"))
        for number, photo in enumerate(photos[:: len(photos) // PHOTOS][:PHOTOS]):
            with Image.open(photo) as image:
                image.resize((64, 64)).save(sources / f"IMG_{number:04d}.jpg")
        partial = folder.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        for item in range(ITEMS):
            (partial / f"sku-{item:05d}").mkdir(parents=True)
            for photo in sources.iterdir():
                os.link(photo, partial / f"sku-{item:05d}" / photo.name)
        partial.rename(folder)
    return sorted(sources.iterdir())


def write_small_model(folder: Path) -> None:
    """A model that is quick to run, with photos held out and a score space, as trained ones."""
    from embedder.backend import keras
    from embedder.networks import build_network
    from embedder.saving import save_model

    keras.utils.set_random_seed(0)
    architecture = Architecture(size=32)
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    owners = tuple(f"sku-{number:05d}" for number in range(2000))
    held_out = LabelledVectors(unit(rng.normal(size=(2000, DIM)).astype(np.float32)), owners)
    info = ModelInfo(architecture, 0.1, whitened_temperature=0.1)
    save_model(build_network(architecture), info, photos, folder, held_out)


def measure_update(work: Path, data: Path, search: Path) -> None:
    """Print both."""
    work.mkdir(parents=True, exist_ok=True)
    sources = write_catalogue(work / "catalogue", data)
    if not (work / "items.model").exists():
        write_small_model(work / "items.model")
    print(f"\nupdate, {ITEMS:,} x {PHOTOS} photos; seconds, MB at most", flush=True)
    build = [EMBED, "build-index", "catalogue"]

    def show(what: str, command: list[str | Path]) -> float:
        spent = run(command, work)
        print(f"{what:<44}{spent.seconds:>8.2f}{spent.megabytes:>8.0f}", flush=True)
        return spent.seconds

    if not (work / "items.index").exists():
        show("first build", build)
    scans, updates, unchanged = [], [], []
    for turn in range(TURNS):  # by turns: the machine's speed goes up and down
        for number in range(NEW):
            folder = work / "catalogue" / f"sku-{number * 997:05d}"
            with Image.open(sources[number]) as image:
                image.rotate(90 + turn).save(folder / f"new-{turn}-{time.time_ns()}.jpg")
        time.sleep(3)  # until their times of change can be relied on
        scans.append(show("bare scan", [sys.executable, "-c", SCAN, "catalogue"]))
        updates.append(show(f"{NEW} new photos", build))
        unchanged.append(show("nothing new", build))
    for what, spent in ((f"{NEW} new photos", updates), ("nothing new", unchanged)):
        ratio = statistics.median(map(truediv, spent, scans))
        print(f"{what} / bare scan, median of {TURNS} turns: {ratio:.2f}")
    measure_adding(work / "items.model", sources[:10], search)


def measure_adding(model: Path, photos: list[Path], search: Path) -> None:
    """Print what adding an item takes beyond embedding its photos."""
    print(f"\nadd, an item of {len(photos)} photos; ms beyond embedding them, median of {TURNS}")
    embedder = Embedder.open(model)
    embedder.warm_up()
    embedding = sorted(milliseconds(lambda: list(embedder.embed(photos))) for _ in range(TURNS))[
        TURNS // 2
    ]
    for path in sorted(search.glob("*.index"), key=lambda path: path.stat().st_size):
        make_own(path, embedder.info.fingerprint)
        times = []
        for turn in range(TURNS):
            add = partial(add_item, path, embedder, f"new-{turn}", photos)
            times.append(milliseconds(add))
            remove_items(path, [f"new-{turn}"])
        print(f"{path.stem:>10} items {sorted(times)[TURNS // 2] - embedding:>8.1f}", flush=True)


def make_own(path: Path, fingerprint: str) -> None:
    """Make an index one of this model."""
    with WritableStore.open(path) as store:
        store.write_info(replace(store.info, fingerprint=fingerprint))


def milliseconds(work: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
