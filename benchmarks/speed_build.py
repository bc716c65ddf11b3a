"""`embed build-index` beside its bound, and beside the Keras way, on real photos.

The bound is 1 / (1 / decode + 1 / infer): decoding and inference alone, each on all cores, with
nothing between the photos.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from processes import EMBED, Spent, run
from speed_data import MODELS, write_models

from embedder import Embedder, read_catalogue
from embedder.parallel import default_jobs
from embedder.photos import FILL, pad, prepare
from index import build_index

NAIVE = Path(__file__).with_name("naive_build.py").resolve()
LARGE, LARGE_PHOTOS = (4000, 3000), 120
FEW, MANY = 1_000, 100_000
TURNS = 5


def rate(work: Callable[[object], object], things: Sequence[object]) -> float:
    """Things a second on all cores, each with an equal share."""
    jobs = default_jobs()
    threads = [
        threading.Thread(target=lambda part: [work(thing) for thing in part], args=(part,))
        for part in (things[first::jobs] for first in range(jobs))
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(things) / (time.perf_counter() - started)


def fully_decoded(path: str, size: int) -> np.ndarray:
    """A photo prepared without decoding it at a reduced size."""
    with Image.open(path) as image:
        image.load()
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pad(small, size, FILL))


def cosine(embedder: Embedder, paths: Sequence[str]) -> tuple[float, float]:
    """Mean and lowest cosine of embeddings of photos decoded as ours are, and fully."""
    size = embedder.info.architecture.size
    found = [
        float(
            embedder.embed_pixels(prepare(p, size)) @ embedder.embed_pixels(fully_decoded(p, size))
        )
        for p in paths
    ]
    return float(np.mean(found)), min(found)


class Turn(NamedTuple):
    """How many photos; photos a second; seconds and megabytes of whole commands."""

    photos: int
    decode: float
    infer: float
    ours: float
    keras: float
    command: Spent
    keras_command: Spent

    @property
    def bound(self) -> float:
        """Photos a second of decoding and inference with nothing between them."""
        return 1 / (1 / self.decode + 1 / self.infer)

    @property
    def most(self) -> float:
        """How many times as fast as Keras' a whole command would be that decodes and no more."""
        return self.keras_command.seconds * self.decode / self.photos


def one_turn(work: Path, catalogue: Path, embedder: Embedder, paths: Sequence[str]) -> Turn:
    """All of it once: the machine's speed goes up and down."""
    size = embedder.info.architecture.size
    pixels = [prepare(path, size) for path in paths[:500]]
    decode = rate(lambda path: prepare(path, size), paths)  # type: ignore[arg-type]
    infer = rate(embedder.embed_pixels, pixels * max(1, 2000 // len(pixels)))  # type: ignore[arg-type]
    remove_index(work)
    started = time.perf_counter()
    build_index(read_catalogue(catalogue), embedder, work / "items.index")
    ours = len(paths) / (time.perf_counter() - started)
    remove_index(work)
    command = run([EMBED, "build-index", catalogue], work)
    naive = run([sys.executable, NAIVE, "items.keras", catalogue, "out.npz"], work)
    with np.load(work / "out.npz") as found:
        keras = float(found["photos"] / found["seconds"])
    return Turn(len(paths), decode, infer, ours, keras, command, naive)


def remove_index(work: Path) -> None:
    """For a build from nothing."""
    for name in ("items.index", "items.index.photos"):
        (work / name).unlink(missing_ok=True)


def compare(work: Path, catalogue: Path) -> None:
    """Print the rates of one model on one catalogue: medians of some turns, and their ratios'."""
    embedder = Embedder.open(work / "items.model")
    paths = list(read_catalogue(catalogue).paths())
    turns = [one_turn(work, catalogue, embedder, paths) for _ in range(TURNS)]

    def of(figure: Callable[[Turn], float]) -> float:
        return statistics.median(map(figure, turns))

    print(
        f"{len(paths):>6} photos: decode {of(lambda t: t.decode):,.0f}/s, infer "
        f"{of(lambda t: t.infer):,.0f}/s, bound {of(lambda t: t.bound):,.0f}/s; ours "
        f"{of(lambda t: t.ours):,.0f}/s = {of(lambda t: t.ours / t.bound):.2f} of it; Keras "
        f"{of(lambda t: t.keras):,.0f}/s, ours {of(lambda t: t.ours / t.keras):.2f}x"
    )
    mean, lowest = cosine(embedder, paths[:: max(1, len(paths) // 500)])
    print(
        f"{'':>6} whole commands {of(lambda t: t.command.seconds):.2f} s, "
        f"{of(lambda t: t.command.megabytes):.0f} MB; Keras "
        f"{of(lambda t: t.keras_command.seconds):.2f} s, "
        f"{of(lambda t: t.keras_command.megabytes):.0f} MB: "
        f"{of(lambda t: t.keras_command.seconds / t.command.seconds):.2f}x, with decoding "
        f"alone {of(lambda t: t.most):.2f}x; cosine to full decoding: mean {mean:.5f}, lowest "
        f"{lowest:.4f}",
        flush=True,
    )


def write_large(folder: Path, data: Path) -> None:
    """Photos as large as a telephone takes, with its noise: 3 MB each."""
    rng = np.random.default_rng(0)
    photos = sorted((data / "grocery" / "train").rglob("*.jpg"))
    for number, path in enumerate(photos[:: len(photos) // LARGE_PHOTOS][:LARGE_PHOTOS]):
        item = folder / f"sku-{number % 12:02d}"
        item.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            large = np.asarray(image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC))
        noisy = large + rng.normal(0, 4, (*large.shape[:2], 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            item / f"{number}.jpg", quality=90
        )


def measure_memory(work: Path, data: Path) -> None:
    """Print the peak memory of builds of few and of many photos."""
    photos = sorted((data / "grocery" / "train").rglob("*.jpg"))
    (work / "sources").mkdir(exist_ok=True)
    sources = [
        Path(shutil.copy(path, work / "sources" / f"{n}.jpg")) for n, path in enumerate(photos)
    ]
    for count in (FEW, MANY):
        folder = work / f"links-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        for number, source in zip(range(count), itertools.cycle(sources), strict=False):
            (folder / f"sku-{number // 100:05d}").mkdir(parents=True, exist_ok=True)
            os.link(source, folder / f"sku-{number // 100:05d}" / f"{number % 100:03d}.jpg")
        spent = run([EMBED, "build-index", folder, "--index", f"{count}.index"], work)
        print(f"{count:>8,} photos: {spent.seconds:.1f} s, {spent.megabytes:.0f} MB", flush=True)


def measure_build(work: Path, data: Path) -> None:
    """Print all of it."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    work, data = work.resolve(), data.resolve()
    write_large(work / "large", data)
    for name in MODELS:
        write_models(work, data, name)
        print(f"\nbuild-index; {name}; photos of 348 px, then of {LARGE[0]} px", flush=True)
        compare(work, data / "grocery" / "train")
        compare(work, work / "large")
    print(f"\nmemory of build-index; {name}")
    measure_memory(work, data)
