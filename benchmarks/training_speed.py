"""Photos a second in training, beside pytorch-metric-learning and tensorflow-addons.

Run it as `python benchmarks/training_speed.py [--torch PYTHON] [--tfa PYTHON] [--network NAME]`, on
an otherwise idle machine. The first PYTHON belongs to an environment with torch 2.13.0 (CPU) and
pytorch-metric-learning 2.9.0, the second to one with tensorflow-cpu 2.15.1 and tensorflow-addons
0.23.0 (`make .venv-tfa/.ready`); without them only ours is measured.

All train the same network on the same batches, 32 items of 4 uint8 photos that are in memory:
forward, batch-hard triplets with the soft margin of the Euclidean distance, backward, Adam. That
the networks have as many numbers and that the losses agree is checked. `whole loop` is what
`embed train` does: ours with photos read from its cache and varied as by default, on the same
cores. Each contestant is a process of its own; they take turns, and the median turn counts.

PyTorch is given three settings. It pads evenly where Keras pads on the right and at the bottom,
which spares it a copy, and it gets each layout as it wants it. Its Adam is the fused one. A turn
during which other processes used a tenth of a core is taken again, up to five times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from training_speed_networks import DIM, keras2_network, torch_network

ITEMS, PHOTOS_PER_ITEM, BATCHES = 32, 4, 4
BATCH = ITEMS * PHOTOS_PER_ITEM
STEPS, TURNS = 6, 5
MOST_BY_OTHERS = 0.1  # of a core, by other processes meanwhile

# Backbone, width multiplier, side.
NETWORKS: dict[str, tuple[str, float | None, int]] = {
    "compact-96": ("compact", None, 96),
    "mobilenet-96": ("MobileNet", 0.25, 96),
    "mobilenet-160": ("MobileNet", 0.25, 160),
}
TORCH = ("torch", "torch-last", "torch-compiled")
NAMES = {
    "ours": "embed",
    "loop": "embed, whole loop",
    "tfa": "tensorflow-addons, Keras 2",
    "torch": "pytorch-metric-learning",
    "torch-last": "  channels_last",
    "torch-compiled": "  torch.compile",
}
Steps = Callable[[], object]
"""Trains STEPS batches and waits for the last."""


def photos(side: int) -> list[Any]:
    """Batches uint8 (batch, side, side, 3)."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8) for _ in range(BATCHES)]


def labels() -> Any:
    """The items of every batch, int64 (batch,)."""
    return np.repeat(np.arange(ITEMS), PHOTOS_PER_ITEM)


def some_vectors() -> Any:
    """Of unit norm, float32 (batch, DIM), to compare the losses on."""
    vectors = np.random.default_rng(0).normal(size=(BATCH, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_turn(step: Callable[[Any, Any], Any], given: list[Any], items: Any) -> Steps:
    """STEPS steps on batches that are there already."""

    def steps() -> None:
        for number in range(STEPS):
            loss = step(given[number % len(given)], items)
            float(loss[0] if isinstance(loss, tuple) else loss)

    return steps


def our_steps(network: str, whole_loop: bool) -> tuple[Steps, dict[str, Any]]:
    """The step of `embed train`, and facts about it."""
    from embedder.backend import keras
    from embedder.losses import triplet_hard_loss
    from embedder.model_files import Architecture
    from embedder.networks import build_network
    from embedder.training_options import TrainingOptions
    from embedder.training_step import training_step

    options = TrainingOptions(replace(Architecture(*NETWORKS[network]), dim=DIM))
    options = replace(options, items_per_batch=ITEMS, photos_per_item=PHOTOS_PER_ITEM)
    model = build_network(options.architecture)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    step = training_step(model, optimizer, options)
    facts = keras_facts(model, triplet_hard_loss(labels(), some_vectors(), soft=True))
    if whole_loop:
        return our_loop(step, options), facts
    return in_turn(step, photos(options.architecture.size), labels()), facts


def our_loop(step: Callable[[Any, Any], Any], options: Any) -> Steps:
    """The same on batches of photos that are read and varied meanwhile."""
    from embedder.photo_cache import PhotoCache
    from embedder.training_batches import batches

    # Deleted when the process ends.
    folder = tempfile.TemporaryDirectory()
    side, kept = options.architecture.size, photos(options.architecture.size)
    (Path(folder.name) / "photos.u8").write_bytes(b"".join(part.tobytes() for part in kept))
    of = np.tile(labels(), len(kept))
    items = tuple(str(item) for item in range(ITEMS))
    cache = PhotoCache(Path(folder.name), side, of, items, (), "", np.full(len(of), -1))

    def steps(held: Any = folder) -> None:
        for batch in batches(options, cache, np.arange(len(of)), STEPS, 0):
            float(step(*batch)[0])

    return steps


def keras_facts(model: Any, loss: Any) -> dict[str, Any]:
    """What has to be the same for all, and the versions."""
    import keras
    import tensorflow as tf

    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    versions = f"tensorflow {tf.__version__}, keras {keras.__version__}"
    return {
        "numbers": [trained, model.count_params()],
        "loss": float(loss),
        "versions": versions,
    }


def tfa_steps(network: str) -> tuple[Steps, dict[str, Any]]:
    """The same in Keras 2 with the loss of tensorflow-addons."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    model = keras2_network(*NETWORKS[network])
    optimizer = tf.keras.optimizers.Adam(1e-3)
    loss_of = tfa.losses.TripletHardLoss(soft=True)

    @tf.function
    def step(given: Any, items: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(items, model(tf.cast(given, tf.float32), training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    facts = keras_facts(model, loss_of(labels(), some_vectors()))
    facts["versions"] += f", tensorflow-addons {tfa.__version__}"
    return in_turn(step, photos(NETWORKS[network][2]), labels()), facts


def torch_steps(network: str, setting: str) -> tuple[Steps, dict[str, Any]]:
    """The same in PyTorch with miner and loss of pytorch-metric-learning."""
    import pytorch_metric_learning as pml
    import torch
    from pytorch_metric_learning import distances, losses, miners

    model = torch_network(*NETWORKS[network])
    numbers = [sum(weight.numel() for weight in model.parameters())]
    kept = sum(b.numel() for b in model.buffers() if b.is_floating_point())
    if "last" in setting:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-7, fused=True)
    run = torch.compile(model) if "compiled" in setting else model
    distance = distances.LpDistance(normalize_embeddings=False)
    miner = miners.BatchHardMiner(distance=distance)
    loss_of = losses.TripletMarginLoss(margin=0.0, smooth_loss=True, distance=distance)

    def step(given: Any, items: Any) -> Any:
        optimizer.zero_grad()
        vectors = run(given)
        loss = loss_of(vectors, items, miner(vectors, items))
        loss.backward()
        optimizer.step()
        return loss.detach()

    items, vectors = torch.from_numpy(labels()), torch.from_numpy(some_vectors())
    given = [torch.from_numpy(part).permute(0, 3, 1, 2) for part in photos(NETWORKS[network][2])]
    if "last" not in setting:
        given = [part.contiguous() for part in given]
    versions = f"torch {torch.__version__}, pytorch-metric-learning {pml.__version__}"
    loss = float(loss_of(vectors, items, miner(vectors, items)))
    facts = {"numbers": [*numbers, numbers[0] + kept], "loss": loss, "versions": versions}
    return in_turn(step, given, items), facts


def child(whose: str, network: str) -> None:
    """Print facts as JSON, then for each line that is read the time and CPU time of a turn."""
    if whose.startswith("torch"):
        steps, facts = torch_steps(network, whose)
    else:
        ours = whose in ("ours", "loop")
        steps, facts = our_steps(network, whose == "loop") if ours else tfa_steps(network)
    steps()
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        steps()
        print(time.perf_counter() - started, time.process_time() - used, flush=True)


def start(python: str, whose: str, network: str) -> tuple[Any, dict[str, Any]]:
    """A contestant's process, after its first steps, and facts about it."""
    command = [python, __file__, "--child", whose, network]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, text=True, env=environment, **pipes)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"{' '.join(command)} failed; run it to see why")
    facts: dict[str, Any] = json.loads(line)
    return process, facts


def turn(process: Any) -> float:
    """Photos a second in one turn that other processes left alone, if one of five was."""
    rates = []
    for _ in range(5):
        before = busy()
        print(file=process.stdin, flush=True)
        seconds, own = map(float, process.stdout.readline().split())
        rates.append(STEPS * BATCH / seconds)
        if busy() - before - own < MOST_BY_OTHERS * seconds:
            return rates[-1]
    return max(rates)


def busy() -> float:
    """Seconds that all cores have worked, for anyone; 0 where it is not known."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system = map(int, stat.read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def compare(network: str, contestants: dict[str, str]) -> str:
    """Print a network's part of the table; returns the versions."""
    started = {whose: start(python, whose, network) for whose, python in contestants.items()}
    facts = {whose: facts for whose, (_, facts) in started.items()}
    ours = facts["ours"]
    for whose, found in facts.items():
        if found["numbers"] != ours["numbers"] or abs(found["loss"] - ours["loss"]) > 1e-4:
            raise SystemExit(f"{whose} is not the same as ours: {found}, {ours}")
    rates: dict[str, list[float]] = {whose: [] for whose in started}
    for _ in range(TURNS):
        for whose, (process, _) in started.items():
            rates[whose].append(turn(process))
    for process, _ in started.values():
        process.communicate()
    trained, numbers = ours["numbers"]
    print(f"{network}: {numbers:,} numbers, {trained:,} of them trained, in each")
    middle = {whose: statistics.median(found) for whose, found in rates.items()}
    for whose, found in rates.items():
        ratio = middle["ours"] / middle[whose]
        spread = f"{min(found):>7,.0f} to {max(found):>5,.0f}"
        print(f"  {NAMES[whose]:<32} {middle[whose]:>7,.0f} {spread}  {ratio:>6.2f}x", flush=True)
    return "\n".join(dict.fromkeys(found["versions"] for found in facts.values()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="a Python with pytorch-metric-learning")
    parser.add_argument("--tfa", help="a Python with tensorflow-addons")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only this one")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    contestants = {"ours": sys.executable, "loop": sys.executable}
    contestants |= {"tfa": arguments.tfa} if arguments.tfa else {}
    contestants |= dict.fromkeys(TORCH, arguments.torch) if arguments.torch else {}
    print(f"{os.cpu_count()} cores, batches of {BATCH}, medians of {TURNS} turns of {STEPS} steps")
    print(f"  {'photos/s':<32} {'median':>7} {'slowest, fastest':>16}  embed/it")
    for network in arguments.network or NETWORKS:
        versions = compare(network, contestants)
    print(versions)


if __name__ == "__main__":
    main()
