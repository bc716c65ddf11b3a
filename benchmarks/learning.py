"""Triplet losses beside other ways to train, on the same network, photos, batches and time.

Run `python benchmarks/hard_split.py SPLIT` once, then
`taskset -c 0 python benchmarks/learning.py --split SPLIT --work DIR [--data ../shared/data]`, on
one core, so that threads that wait for each other use up no time.

Each recipe of `learning_losses.py` trains the same network from the same weights for as many
seconds of processor time, photos and variation included; the learning rate follows the share of
them that is used up. The first step, which compiles, is not counted. Only development data is
asked about: the photos that hard_split.py keeps from training, whole alphabets of the Omniglot
background set, and new photos of a generated catalogue.

Finished rows are kept in DIR/learning.jsonl, so it can be stopped and started again, or given
`--sets`, `--only` some rows, other `--rates` (factors of the learning rate) or another `--seed`.
One seed a row: see what two seeds of one row differ by before two rows are said to.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from learning_data import SETS, Data
from learning_losses import RECIPES, Recipe

from embedder.backend import keras, layers
from embedder.mining import follow, nearest_items, worth_mining
from embedder.networks import build_network
from embedder.photos import Pixels
from embedder.sampling import Indices
from embedder.score_space import Floats, fit_score_space, within_scatter
from embedder.training_batches import batches
from embedder.training_step import learning_rate_at
from embedder.validation import centroids

STEPS = 50  # drawn at a time


def figures(data: Data, recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Train with one recipe, and judge."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(data.options.seed)
    network = build_network(data.options.architecture, data.options.weights)
    both = keras.Model(network.input, [network.output, network.get_layer("centre").output])
    rng = np.random.default_rng(data.options.seed)
    rows = rng.normal(
        size=(max(1, recipe.proxies * len(data.cache.items)), both.outputs[0].shape[1])
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    proxies = keras.Variable(rows.astype(np.float32))
    rate, pretraining = data.options.learning_rate, recipe.pretraining * seconds
    before = 0
    if pretraining:
        adam = keras.optimizers.Adam(rate)
        before, _ = spend(data, pretraining, reconstruction_step(both, adam), [(adam, rate)])
    adam, faster = keras.optimizers.Adam(rate), keras.optimizers.Adam(rate * recipe.faster)
    step = recipe_step(both, recipe, proxies, adam, faster)
    rates = [(adam, rate), (faster, rate * recipe.faster)]
    steps, loss = spend(data, seconds - pretraining, step, rates, recipe.mined)
    found = judged(data, recipe, both, np.asarray(proxies))
    return {"steps": before + steps, "loss": loss, **found}


def recipe_step(both: Any, recipe: Recipe, proxies: Any, adam: Any, faster: Any) -> Any:
    """A step of the recipe's loss; gives the loss and the batch's unit-norm vectors."""
    adam.build(both.trainable_variables)
    faster.build([proxies])

    def step(photos: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            unit, numbers = both(tf.cast(photos, tf.float32), training=True)
            loss = recipe.loss(unit if recipe.unit else numbers, labels, proxies)
        slopes = tape.gradient(loss, [*both.trainable_variables, proxies])
        adam.apply(slopes[:-1], both.trainable_variables)
        if recipe.proxies:
            faster.apply(slopes[-1:], [proxies])
        return loss, unit

    return tf.function(step, reduce_retracing=True)


def reconstruction_step(both: Any, adam: Any) -> Any:
    """A step of an autoencoder: the photo, at a quarter of its size, back from 100 numbers."""
    side = both.input_shape[1] // 16
    decoder = keras.Sequential(
        [
            layers.Dense(side * side * 64, activation="relu"),
            layers.Reshape((side, side, 64)),
            layers.Conv2DTranspose(32, 4, 2, padding="same", activation="relu"),
            layers.Conv2DTranspose(3, 4, 2, padding="same"),
        ]
    )
    decoder.build((None, both.outputs[1].shape[1]))
    # The last layer scales to unit norm and has no weights, so all of them are learned.
    weights = both.trainable_variables + decoder.trainable_variables
    adam.build(weights)

    def step(photos: Any, labels: Any) -> tuple[Any, Any]:
        given = tf.cast(photos, tf.float32)
        with tf.GradientTape() as tape:
            unit, numbers = both(given, training=True)
            wanted = tf.nn.avg_pool2d(given / 127.5 - 1.0, 4, 4, "VALID")
            loss = tf.reduce_mean(tf.square(decoder(numbers) - wanted))
        adam.apply(tape.gradient(loss, weights), weights)
        return loss, unit

    return tf.function(step, reduce_retracing=True)


def spend(
    data: Data, seconds: float, step: Any, rates: list[tuple[Any, float]], mined: bool = False
) -> tuple[int, float]:
    """Take steps for so many seconds of processor time; how many they were, and the last losses."""
    seen = np.zeros((len(data.cache.items), data.options.architecture.dim), np.float32)
    losses: list[float] = []
    started = 0.0
    with closing(endless(data, seen if mined else None)) as drawn:
        for photos, labels in drawn:
            done = (time.process_time() - started) / seconds if losses else 0.0
            if done >= 1:
                break
            for optimizer, rate in rates:
                optimizer.learning_rate.assign(rate * learning_rate_at(done))
            found, vectors = step(photos, labels)
            losses.append(float(found))
            if not math.isfinite(losses[-1]):
                raise SystemExit(f"the loss became {losses[-1]}: give lower --rates")
            if mined:
                follow(seen, labels, np.asarray(vectors))
            if len(losses) == 1:
                started = time.process_time()
    return len(losses), float(np.mean(losses[-STEPS:]))


def endless(data: Data, seen: Floats | None) -> Generator[tuple[Pixels, Indices], None, None]:
    """The batches of a training, from look-alikes by the centroids `seen` if those are given."""
    usable, number = np.arange(len(data.cache.labels)), 0
    while True:
        alike = None if seen is None else partial(nearest_items, seen.copy())
        yield from batches(data.options, data.cache, usable, STEPS, number, alike)
        number += 1


def judged(data: Data, recipe: Recipe, both: Any, proxies: Floats) -> dict[str, Any]:
    """The figures by cosine, by cosine of whitened vectors, and by the loss's own logits."""
    embed = tf.function(lambda photos: both(photos, training=False), reduce_retracing=True)

    def vectors(photos: Pixels) -> list[Floats]:
        cut = (photos[at : at + 128].astype(np.float32) for at in range(0, len(photos), 128))
        parts = [[np.asarray(output) for output in embed(part)] for part in cut]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    labels = data.cache.labels
    trained, (asked, numbers) = vectors(data.cache.pixels)[0], vectors(data.asked)
    centres = centroids(trained, labels, len(data.cache.items))
    against = asked if data.new_items else centres
    found: dict[str, Any] = {"plain": data.judge(asked @ against.T)}
    space = fit_score_space(*within_scatter(trained, labels), centres)
    if space is not None:
        found["whitened"] = data.judge(space.project(asked) @ space.project(against).T)
    if not recipe.unit and not data.new_items:
        found["by its own logits"] = data.judge(numbers @ proxies.T)
    return found


def show(name: str, row: dict[str, Any]) -> None:
    """A line of the table for each space."""
    for space in ("plain", "whitened", "by its own logits"):
        if space in row:
            shares = "".join(f"{share:>8.1%}" for share in row[space])
            first = space == "plain"
            title = f"{name:<38}{row['rate']:>5g}{row['steps']:>7}" if first else ""
            note = f"  {RECIPES[name].note}" if first else ""
            print(f"{title:<50}  {space:<18}{shares}{note}".rstrip(), flush=True)


def main() -> None:
    """Run the rows that are not there yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, help="of hard_split.py; needed for grocery")
    parser.add_argument("--work", type=Path, required=True, help="folder for photos and results")
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--rates", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seconds", type=float, help="of processor time a row")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if "grocery" in arguments.sets and not arguments.split:
        parser.error("the set grocery needs --split")
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.sets:
        run(name, arguments)


def run(name: str, arguments: argparse.Namespace) -> None:
    """The table of one set."""
    kept = arguments.work / "learning.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    settings = ("set", "recipe", "seed", "seconds", "rate")
    done = {tuple(row[part] for part in settings): row for row in map(json.loads, lines)}
    seconds = arguments.seconds or SETS[name][1]
    data = SETS[name][0](arguments)
    options = replace(data.options, seed=arguments.seed)
    print(f"{name}: {len(data.cache.labels)} photos of {len(data.cache.items)} items to train on,")
    print(f"{seconds:g} s each, seed {arguments.seed}; {data.figures}")
    print(f"{'recipe':<38}{'rate':>5}{'steps':>7}")
    for recipe in arguments.only:
        enough = worth_mining(len(data.cache.items), options.items_per_batch)
        if RECIPES[recipe].mined and not enough:
            continue
        for rate in arguments.rates:
            key = (name, recipe, arguments.seed, seconds, rate)
            if key not in done:
                scaled = replace(options, learning_rate=options.learning_rate * rate)
                found = figures(replace(data, options=scaled), RECIPES[recipe], seconds)
                done[key] = dict(zip(settings, key, strict=True)) | found
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[key]) + "\n")
            show(recipe, done[key])


if __name__ == "__main__":
    main()
