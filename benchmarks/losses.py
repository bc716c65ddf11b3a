"""Speed and memory of the semi-hard triplet loss beside tensorflow-addons' own.

Run it as `python benchmarks/losses.py [--oracle PYTHON]`, where PYTHON belongs to an environment
with tensorflow-cpu 2.15.1 and tensorflow-addons 0.23.0; without it, only ours is measured.

Forward and gradient inside `tf.function`, float32, 100 numbers a photo, 4 photos an item. Each
batch size runs in a process of its own, so that its peak memory is its own: `growth` is the peak
after the batch less the peak after a batch of 8.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

SIZES = (128, 256, 512, 1024, 4096)
LARGEST_THEIRS = 1024


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(whose: str, size: int) -> None:
    """Print one measurement as JSON; runs in a child process."""
    import numpy as np
    import tensorflow as tf

    if whose == "ours":
        from embedder.losses import triplet_semihard_loss
    else:
        from tensorflow_addons.losses import triplet_semihard_loss

    @tf.function(reduce_retracing=True)
    def step(labels: Any, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = triplet_semihard_loss(labels, x)
        return loss, tape.gradient(loss, x)

    def batch(count: int) -> tuple[Any, Any]:
        x = np.random.default_rng(0).normal(size=(count, 100)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return tf.constant(np.repeat(np.arange(count // 4), 4)), tf.constant(x)

    step(*batch(8))
    before = peak_mb()
    given = batch(size)
    loss = float(step(*given)[0])
    seconds = []
    while len(seconds) < 5 or (sum(seconds) < 2 and len(seconds) < 100):
        started = time.perf_counter()
        step(*given)[1].numpy()
        seconds.append(time.perf_counter() - started)
    print(json.dumps([statistics.median(seconds), peak_mb() - before, peak_mb(), loss]))


def child(python: str, whose: str, size: int) -> list[float]:
    """Time in seconds, growth and peak in MB, and the loss."""
    command = [python, __file__, "--child", whose, str(size)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", help="a Python with tensorflow-addons")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.child[0], int(arguments.child[1]))
        return
    print("batch   ours ms  theirs ms  faster   growth MB ours/theirs   peak MB ours/theirs")
    for size in SIZES:
        ours = child(sys.executable, "ours", size)
        line = f"{size:>5} {ours[0] * 1e3:>9.1f}"
        if arguments.oracle and size <= LARGEST_THEIRS:
            theirs = child(arguments.oracle, "theirs", size)
            line += f" {theirs[0] * 1e3:>10.1f} {theirs[0] / ours[0]:>6.1f}x"
            line += f"   {ours[1]:>9.0f} / {theirs[1]:<9.0f} {ours[2]:>9.0f} / {theirs[2]:.0f}"
            if abs(ours[3] - theirs[3]) > 1e-4:
                raise SystemExit(f"the losses differ at {size}: {ours[3]} and {theirs[3]}")
        else:
            line += f" {'-':>10} {'-':>7}   {ours[1]:>9.0f} / {'-':<9} {ours[2]:>9.0f} / -"
        print(line, flush=True)


if __name__ == "__main__":
    main()
