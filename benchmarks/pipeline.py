"""What a training step costs beside the bare network: data, augmentation, loss and update.

Run it as `python benchmarks/pipeline.py [--data ../shared/data]`, on an otherwise idle machine.

Bare is forward and backward through the network alone, of one batch that is there already, without
a loss and without an update. A step is what `embed train` does for each batch: read 128 photos,
vary them as by default, forward, triplet loss, backward, Adam. The two are timed in turn, and each
turn of steps includes its start. Prints the median of the ratios.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from embedder import read_catalogue
from embedder.backend import keras
from embedder.model_files import Architecture
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, open_cache
from embedder.training_batches import batches
from embedder.training_options import TrainingOptions
from embedder.training_step import training_step

NETWORKS = {
    "compact, 96 px": Architecture(size=96),
    "MobileNet 0.25, 96 px": Architecture("MobileNet", 0.25, 96),
    "MobileNet 0.25, 160 px": Architecture("MobileNet", 0.25, 160),
}
STEPS, TURNS = 20, 7


def bare_step(network: Any) -> Callable[[Any], Any]:
    """Forward and backward of a batch."""

    def step(photos: Any) -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(network(tf.cast(photos, tf.float32), training=True))
        return tape.gradient(total, network.trainable_variables)

    return tf.function(step)  # type: ignore[no-any-return]


def seconds(do: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def compare(name: str, options: TrainingOptions, cache: PhotoCache) -> None:
    """One line of the table."""
    network = build_network(options.architecture)
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(network.trainable_variables)
    bare, whole = bare_step(network), training_step(network, optimizer, options)
    usable = np.arange(len(cache.labels))
    photos, labels = next(batches(options, cache, usable, 1, 0))

    def steps() -> None:
        for batch in batches(options, cache, usable, STEPS, 0):
            float(whole(*batch)[0])

    def bare_steps() -> None:
        for _ in range(STEPS):
            bare(photos)[0].numpy()

    bare(photos), whole(photos, labels)
    found = np.array([[seconds(bare_steps), seconds(steps)] for _ in range(TURNS)]) / STEPS * 1000
    alone, together = np.median(found, axis=0)
    ratio = np.median(found[:, 1] / found[:, 0])
    print(f"{name:<24} {alone:>7.1f}  {together:>7.1f}  {ratio:>6.3f}x", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    arguments = parser.parse_args()
    catalogue = read_catalogue(arguments.data / "grocery" / "train")
    print(f"{os.cpu_count()} cores, batches of 128, medians of {TURNS} turns of {STEPS}")
    print(f"{'ms':<24} {'bare':>7}  {'step':>7}  {'ratio':>7}")
    for name, architecture in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            cache = open_cache(catalogue, architecture.size, Path(folder))
            compare(name, TrainingOptions(architecture), cache)


if __name__ == "__main__":
    main()
