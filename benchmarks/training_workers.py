"""Training steps of one process and of two workers: how fast, and how much they differ.

    python benchmarks/training_workers.py [--steps 40]

32 items of 4 photos a batch, at 96 px, on loopback. Each worker is a process on a core of its own
and embeds half of each batch. One process on one core makes the same steps with another number of
threads: what that changes is rounding, which training magnifies; in double precision it is gone.
Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ITEMS, PHOTOS, SIDE, BATCHES, WARM_UP = 32, 4, 96, 4, 4
ROWS = {  # the cores of each process
    "one process, two cores": ("0,1",),
    "one process, one core": ("0",),
    "two workers, a core each": ("0", "1"),
}


NETWORKS: dict[str, tuple[str, float | None]] = {
    "compact": ("compact", None),
    "MobileNet 0.25": ("MobileNet", 0.25),
}


def train(out: Path, network_name: str, precision: str, steps: int) -> None:
    """Make some steps in this process, one of the workers of TF_CONFIG perhaps."""
    from embedder.backend import keras
    from embedder.model_files import Architecture
    from embedder.networks import build_network
    from embedder.replicas import replicas_of
    from embedder.training_options import TrainingOptions
    from embedder.training_step import training_step
    from embedder.workers import workers_from_environment

    keras.config.set_floatx(precision)
    replicas = replicas_of(workers_from_environment())
    keras.utils.set_random_seed(0)
    with replicas.strategy.scope():
        network = build_network(Architecture(*NETWORKS[network_name], SIDE))
        optimizer = keras.optimizers.Adam(1e-3)
        optimizer.build(network.trainable_variables)
    step = training_step(network, optimizer, TrainingOptions(), replicas=replicas)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(ITEMS), PHOTOS)
    shape = (BATCHES, len(labels), SIDE, SIDE, 3)
    photos = rng.integers(0, 256, shape, dtype=np.uint8)[:, replicas.share(len(labels))]
    began = time.perf_counter()
    for number in range(steps):
        if number == WARM_UP:
            began = time.perf_counter()
        float(step(photos[number % BATCHES], labels)[0])
    rate = (steps - WARM_UP) * len(labels) / (time.perf_counter() - began)
    np.savez(out, *network.get_weights(), rate=rate)


def run(
    cores: tuple[str, ...], network: str, precision: str, steps: int, work: Path
) -> dict[str, Any]:
    """Train in a process for each entry of `cores`; what the first one found."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(cores))]
    processes = []
    for number, own in enumerate(cores):
        task = {"type": "worker", "index": number}
        variables = {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        child = ["--out", str(work / f"{number}.npz"), "--precision", precision]
        child += ["--network", network]
        command = ["taskset", "-c", own, sys.executable, __file__, *child, "--steps", str(steps)]
        processes.append(subprocess.Popen(command, env={**os.environ, **variables}))
    for process in processes:
        if process.wait():
            sys.exit("a process failed")
    with np.load(work / "0.npz") as found:
        return dict(found)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest between weights."""
    names = [name for name in one if name.startswith("arr")]
    return max(float(np.abs(one[name] - other[name]).max()) for name in names)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--network", choices=NETWORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out:
        return train(arguments.out, arguments.network, arguments.precision, arguments.steps)
    libraries = " ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(libraries)
    short, every = 3 * WARM_UP, arguments.steps
    kinds = (("float32", short), ("float32", every), ("float64", short))
    print("the largest difference of a weight from the first row, after so many steps")
    names = "".join(f"{f'{precision}, {steps}':>14}" for precision, steps in kinds)
    print(f"{'':<42}{'photos/s':>9}{names}")
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            first: list[dict[str, Any]] = []
            for name, cores in ROWS.items():
                found = [
                    run(cores, network, precision, steps, Path(folder))
                    for precision, steps in kinds
                ]
                first = first or found
                apart = [difference(one, other) for one, other in zip(first, found, strict=True)]
                columns = "".join(f"{one:>14.1e}" for one in apart)
                rate = float(found[1]["rate"])
                print(f"{network + ', ' + name:<42}{rate:>9.0f}{columns}", flush=True)


if __name__ == "__main__":
    main()
