"""What varying the photos of a batch costs beside learning from it.

Run it as `python benchmarks/variation.py [--data ../shared/data] [--size 128]`. In processor time,
which other work on the machine disturbs less than the clock; varying runs on one core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from embedder import read_catalogue
from embedder.augmentation import change_photos, draw_changes
from embedder.backend import keras
from embedder.backgrounds import draw_background, prepare_masked
from embedder.model_files import Architecture
from embedder.networks import build_network
from embedder.photos import prepare
from embedder.training_options import Augmentation, TrainingOptions
from embedder.training_step import training_step

BATCH, REPEATS = 128, 8
EACH = {
    "geometry": {"rotation": 15, "zoom": 0.25, "stretch": 0.1, "shift": 0.1},
    "perspective": {"perspective": 0.1},
    "colours": {"brightness": 0.15, "contrast": 0.25, "saturation": 0.3, "tint": 0.08},
    "cover": {"cover": 0.2},
    "blur": {"blur": 0.01},
    "jpeg": {"jpeg": 30},
}


def milliseconds(do: Callable[[], object]) -> float:
    """Processor time of one call, all threads together: the median of several."""
    do()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        do()
        times.append(time.process_time() - started)
    return float(np.median(times)) * 1000


def main() -> None:
    """Print a line for the step and one for each variation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    size, grocery = arguments.size, arguments.data / "grocery"
    rng = np.random.default_rng(0)
    paths = [photos[0] for photos in read_catalogue(grocery / "train").items.values()]
    photos = np.stack([prepare(paths[at % len(paths)], size) for at in range(BATCH)])
    stock = [photos[0] for photos in read_catalogue(grocery / "iconic").items.values()]
    masks = [prepare_masked(stock[at % len(stock)], size)[1] for at in range(BATCH)]
    network = build_network(Architecture("MobileNet", 0.25, size))
    learn = training_step(network, keras.optimizers.Adam(1e-3), TrainingOptions())
    labels = np.repeat(np.arange(BATCH // 4), 4)
    learning = milliseconds(lambda: float(learn(photos, labels)[0]))
    print(f"{BATCH} photos of {size} px, ms of processor time; share of learning")
    print(f"{'learning (MobileNet 0.25)':<28} {learning:>7.1f}")

    def vary(options: Augmentation) -> None:
        changes = draw_changes(rng, BATCH, size, options)
        behind = [
            (mask, draw_background(rng, size, photos))
            if mask is not None and rng.random() < options.background
            else None
            for mask in masks
        ]
        change_photos(photos, changes, behind)

    none = Augmentation(**dict.fromkeys(asdict(Augmentation()), 0))
    bare = milliseconds(lambda: vary(none))
    rows = {name: replace(none, **fields) for name, fields in EACH.items()}
    rows["another background for all"] = replace(none, background=1.0)
    print(f"{'nothing, but all the work':<28} {bare:>7.1f}  {bare / learning:>6.1%}")
    for name, options in rows.items():
        more = milliseconds(lambda options=options: vary(options)) - bare  # type: ignore[misc]
        print(f"{'+ ' + name:<28} {more:>+7.1f}  {more / learning:>+6.1%}")
    default = milliseconds(lambda: vary(Augmentation()))
    print(f"{'default':<28} {default:>7.1f}  {default / learning:>6.1%}")
    default = milliseconds(lambda: vary(replace(Augmentation(), background=0.5)))
    print(f"{'default, half of backgrounds':<28} {default:>7.1f}  {default / learning:>6.1%}")


if __name__ == "__main__":
    main()
