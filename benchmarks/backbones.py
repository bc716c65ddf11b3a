"""Backbones beside each other: size, speed, and what a little training makes of each.

Run it as `taskset -c 0 python benchmarks/backbones.py --work DIR [--data ../shared/data]`, on one
core, so that threads that wait for each other use up no time. All seconds are of processor time.

`scratch`: each backbone of `--backbones` from random weights at 96 px, for `--seconds` of training
on a generated catalogue, variation included; judged by photos of it that training did not see. Its
model folder is written as `embed train` does, so LiteRT was found to agree; photos/s are those of
that file on one thread. Batch normalisation follows the last few batches in all of them, as in the
compact network, because some take fewer steps than Keras' own averages need to arrive.

`grocery`: MobileNet 0.25 with ImageNet weights at 160 px, on the train photos: features as they
are, a head trained on frozen ones, and all of it trained for `--epochs`, about as long. Everything
else is the recipe of grocery.py. The photos of val are only measured. Seconds are those of features
and epochs: decoding photos before, and saving after them, is the same for all.

Finished rows are kept in DIR/backbones.jsonl, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from grocery import Lines, parser, recipe, versions
from learning import spend
from learning_data import Data
from scores import among_items
from whitening import Photos, figures

from embedder import Catalogue, Embedder, read_catalogue
from embedder.backend import keras
from embedder.frozen import learner_of_features, split
from embedder.learner import learner_of_photos
from embedder.model_files import LITERT, Architecture, ModelInfo
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, open_cache
from embedder.photos import Pixels, prepare
from embedder.sample import write_sample
from embedder.saving import save_model
from embedder.score_space import Floats, fit_score_space, unit, within_scatter
from embedder.training_options import TrainingOptions
from embedder.training_run import start, train_epochs
from embedder.training_step import embedding_function, training_step
from embedder.validation import centroids, hold_out

ITEMS, PHOTOS, ASKED, KNOWN = 100, 30, 4, 5  # of each item: to learn from, to ask, in its centroid
SIZE, GROCERY_SIZE = 96, 160
MOMENTUM = 0.9
SPEED_SECONDS = 2.0
RATE = 1e-3

# The file that Keras publishes for each, without its top; MobileNets have more, for other sizes.
BACKBONES = {
    "compact": "",
    "MobileNet-0.25": "mobilenet_2_5_224_tf_no_top.h5",
    "MobileNetV3Small": "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    "NASNetMobile": "NASNet-mobile-no-top.h5",
    "DenseNet121": "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
}


def generated(work: Path) -> Data:
    """The catalogue that each backbone is trained on, and the photos it is asked about."""
    drawn = work / "sample"
    if not (drawn / "truth.csv").exists():
        write_sample(drawn, items=ITEMS, photos=PHOTOS + ASKED, queries=0, size=SIZE)
    whole = read_catalogue(drawn / "catalogue")
    known = {item: photos[:PHOTOS] for item, photos in whole.items.items()}
    asked = [path for photos in whole.items.values() for path in photos[PHOTOS:]]
    cache = open_cache(Catalogue(whole.source, known), SIZE, work / "sample-cache")
    judge = partial(among_items, np.repeat(np.arange(ITEMS), ASKED))
    options = TrainingOptions(learning_rate=RATE)
    return Data(options, cache, np.stack([prepare(path, SIZE) for path in asked]), judge, "")


def from_scratch(name: str, data: Data, seconds: float, work: Path) -> dict[str, Any]:
    """Train a backbone, judge it, write its model folder, and time that."""
    backbone, _, alpha = name.partition("-")
    architecture = Architecture(backbone, float(alpha) if alpha else None, SIZE)
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    network = build_network(architecture)
    for part in (part for layer in network.layers for part in getattr(layer, "layers", [layer])):
        if isinstance(part, keras.layers.BatchNormalization):
            part.momentum = MOMENTUM
    options = replace(data.options, architecture=architecture)
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build(network.trainable_variables)
    step = training_step(network, optimizer, options)
    steps, _ = spend(replace(data, options=options), seconds, step, [(optimizer, RATE)])
    embed = embedding_function(network)
    places = np.arange(len(data.cache.labels)).reshape(ITEMS, PHOTOS)[:, :KNOWN].ravel()
    known = in_parts(embed, data.cache.pixels[places])
    centres = centroids(known, data.cache.labels[places], ITEMS)
    top1, of_ten, _ = data.judge(in_parts(embed, data.asked) @ centres.T)
    model = work / "models" / name
    save_model(network, ModelInfo(architecture, 0.1), data.asked[::40], model)
    return {
        "parameters": network.count_params(),
        "bytes": (model / LITERT).stat().st_size,
        "embedded": embedding_speed(model, data.asked),
        "trained": (steps - 1) * options.items_per_batch * options.photos_per_item / seconds,
        "steps": steps,
        "top1": top1,
        "of ten": of_ten,
    }


def in_parts(embed: Callable[[Pixels], Any], photos: Pixels) -> Floats:
    """The vectors of many photos, few at a time."""
    return np.concatenate(
        [np.asarray(embed(photos[at : at + 32])) for at in range(0, len(photos), 32)]
    )


def embedding_speed(model: Path, photos: Pixels) -> float:
    """Prepared photos that the LiteRT file takes in a second of processor time."""
    embedder = Embedder.open(model)
    embedder.embed_pixels(photos[0])
    started, count = time.process_time(), 0
    while time.process_time() - started < SPEED_SECONDS:
        embedder.embed_pixels(photos[count % len(photos)])
        count += 1
    return count / (time.process_time() - started)


WAYS = ("as they are", "head trained, frozen", "all of it trained")


def on_grocery(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What val is answered after one way to use the ImageNet weights."""
    caches, photos = [], arguments.data / "grocery"
    for part in ("train", "val"):
        folder = arguments.work / f"grocery-{part}"
        caches.append(open_cache(read_catalogue(photos / part), GROCERY_SIZE, folder))
    given = parser().parse_args(["--work", "", "--data", str(arguments.data)])
    options, frozen = recipe(given), way == WAYS[1]
    architecture = replace(options.architecture, size=GROCERY_SIZE)
    epochs = arguments.head_epochs if frozen else arguments.epochs
    options = replace(
        options, architecture=architecture, training_size=None, epochs=epochs, patience=epochs
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(options.seed)
    started = time.process_time()
    if way == WAYS[0]:
        mean = replace(architecture, pooling="mean")
        network = split(build_network(mean, options.weights))[0]
    else:
        network = trained(replace(options, frozen=frozen), caches[0])
    seconds = time.process_time() - started
    embed = embedding_function(network)
    known, asked = (
        Photos(list(cache.items), unit(in_parts(embed, cache.pixels)), cache.labels)
        for cache in caches
    )
    centres = centroids(known.vectors, known.labels, len(known.ids))
    space = fit_score_space(*within_scatter(known.vectors, known.labels), centres)
    # Only the items that val has are asked about, as in grocery.py.
    rows = [known.ids.index(item) for item in asked.ids]
    plain, whitened = (figures(centres[rows], one, asked.ids, asked) for one in (None, space))
    return {"seconds": seconds, "plain": plain, "whitened": whitened}


def trained(options: TrainingOptions, cache: PhotoCache) -> Any:
    """The network after `embed train`, without what comes before and after its epochs."""
    network = build_network(options.architecture, options.weights)
    if options.frozen:
        usable = np.flatnonzero(~hold_out(cache.labels, options.seed))
        learner = learner_of_features(options, "grocery", cache, network, usable)
    else:
        learner = learner_of_photos(options, cache, network)
    run = start(options, "", cache, learner, None)
    train_epochs(run, cache.folder, Lines())
    learner.asked.set_weights(run.best)
    return learner.whole


def show(name: str, row: dict[str, Any]) -> None:
    """A line of a table."""
    if "plain" in row:
        shares = "".join(f"{share:>8.1%}" for share in [*row["plain"], *row["whitened"]])
        print(f"{name:<22}{row['seconds']:>7.0f}{shares}", flush=True)
        return
    print(
        f"{name:<18}{row['parameters'] / 1e6:>7.2f}{row['bytes'] / 1e6:>7.1f}"
        f"{row['embedded']:>9.0f}{row['trained']:>9.0f}{row['steps']:>7}"
        f"{row['top1']:>8.1%}{row['of ten']:>8.1%}  {BACKBONES[name]}".rstrip(),
        flush=True,
    )


def main() -> None:
    """Run the rows that are not there yet; print the tables."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--work", type=Path, required=True, help="folder for photos and models")
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    found.add_argument("--data", type=Path, default=data)
    found.add_argument("--backbones", nargs="*", choices=BACKBONES, default=list(BACKBONES))
    found.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    found.add_argument("--seconds", type=float, default=30.0, help="to train each from scratch")
    found.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    found.add_argument("--head-epochs", type=int, default=20)
    arguments = found.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    kept = arguments.work / "backbones.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    done = {tuple(key): row for key, row in map(json.loads, lines)}

    def row(key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in done:
            done[key] = make()
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, done[key]]) + "\n")
        return done[key]

    print(versions())
    print(f"scratch, {arguments.seconds:g} s each, {ITEMS} items x {PHOTOS} photos at {SIZE} px")
    print(f"{'':<18}{'Mnumb.':>7}{'MB':>7}{'embed/s':>9}{'train/s':>9}{'steps':>7}", end="")
    print(f"{'top-1':>8}{'of 10':>8}  weights")
    sample = generated(arguments.work)
    for name in arguments.backbones:
        make = partial(from_scratch, name, sample, arguments.seconds, arguments.work)
        show(name, row((name, arguments.seconds), make))
    print(f"grocery val, MobileNet 0.25 at {GROCERY_SIZE} px: top-1 of 60, of 10, one to one")
    print(f"{'':<22}{'s':>7}{'plain':>24}{'whitened':>24}")
    for way in arguments.ways:
        epochs = {WAYS[1]: arguments.head_epochs, WAYS[2]: arguments.epochs}.get(way, 0)
        show(way, row((way, epochs), partial(on_grocery, way, arguments)))


if __name__ == "__main__":
    main()
