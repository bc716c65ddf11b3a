"""`embed build-index` beside its bound, and beside the Keras way, on real photos.

The bound is 1 / (1 / decode + 1 / infer): decoding and inference alone, each on all cores, with
nothing between the photos.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from processes import EMBED, run
from speed_data import MODELS, write_models

from embedder import Embedder, read_catalogue
from embedder.parallel import default_jobs
from embedder.photos import FILL, pad, prepare
from index import build_index

NAIVE = Path(__file__).with_name("naive_build.py").resolve()
LARGE, LARGE_PHOTOS = (4000, 3000), 120
FEW, MANY = 1_000, 100_000
TURNS = 3


def rate(work: Callable[[object], object], things: Sequence[object]) -> float:
    """Things a second on all cores, each with an equal share; the best of some turns."""
    jobs = default_jobs()
    best = 0.0
    for _ in range(TURNS):
        threads = [
            threading.Thread(target=lambda part: [work(thing) for thing in part], args=(part,))
            for part in (things[first::jobs] for first in range(jobs))
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = max(best, len(things) / (time.perf_counter() - started))
    return best


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


def compare(work: Path, catalogue: Path) -> None:
    """Print the rates of one model on one catalogue."""
    embedder = Embedder.open(work / "items.model")
    size, paths = embedder.info.architecture.size, list(read_catalogue(catalogue).paths())
    pixels = [prepare(path, size) for path in paths[:500]]
    decode = rate(lambda path: prepare(path, size), paths)  # type: ignore[arg-type]
    infer = rate(embedder.embed_pixels, pixels * 4)  # type: ignore[arg-type]
    bound = 1 / (1 / decode + 1 / infer)
    ours, theirs, whole, naive = 0.0, 0.0, [], []
    for _ in range(TURNS):
        for name in ("items.index", "items.index.photos"):
            (work / name).unlink(missing_ok=True)
        started = time.perf_counter()
        build_index(read_catalogue(catalogue), embedder, work / "items.index")
        ours = max(ours, len(paths) / (time.perf_counter() - started))
        for name in ("items.index", "items.index.photos"):
            (work / name).unlink()
        whole.append(run([EMBED, "build-index", catalogue], work))
        naive.append(run([sys.executable, NAIVE, "items.keras", catalogue, "out.npz"], work))
        with np.load(work / "out.npz") as found:
            theirs = max(theirs, float(found["photos"] / found["seconds"]))
    print(
        f"{len(paths):>6} photos: decode {decode:,.0f}/s, infer {infer:,.0f}/s, bound "
        f"{bound:,.0f}/s; ours {ours:,.0f}/s = {ours / bound:.2f} of it; Keras {theirs:,.0f}/s, "
        f"ours {ours / theirs:.2f}x"
    )
    mean, lowest = cosine(embedder, paths[:: max(1, len(paths) // 500)])
    (ours_s, ours_mb), (naive_s, naive_mb) = min(whole), min(naive)
    print(
        f"{'':>6} whole commands {ours_s:.2f} s, {ours_mb:.0f} MB; Keras {naive_s:.2f} s, "
        f"{naive_mb:.0f} MB: {naive_s / ours_s:.2f}x; cosine to full decoding: mean {mean:.5f}, "
        f"lowest {lowest:.4f}",
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
