"""From a stock picture to photos in a shop, for products that training never saw.

Run it as `python benchmarks/stock_to_real.py --work DIR [--data ../shared/data] [--final]`.

Trains on 40 of the grocery products (their train photos, and their stock pictures for a quarter of
the draws), without and with background replacement. Then each of the other 41 products has nothing
but its stock picture on white, and their train photos are matched to those; the same with frozen
ImageNet features. `--final` matches their val photos instead, which nothing may be chosen by.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from embedder import Embedder, PhotoError, read_catalogue
from embedder.backend import keras
from embedder.catalogue import Catalogue
from embedder.model_files import Architecture
from embedder.photos import prepare
from embedder.training import train
from embedder.training_options import Augmentation, TrainingOptions

TRAINED, DRAWS, CANDIDATES = 40, 1000, 10
Vectors = npt.NDArray[np.float32]


def figures(queries: Vectors, truth: npt.NDArray[np.int64], stock: Vectors) -> list[float]:
    """Top-1, accuracy with 10 candidates, and one to one; by cosine, for unit-norm vectors."""
    cosines = queries @ stock.T
    rng = np.random.default_rng(0)
    products = np.unique(truth)
    alone = together = 0
    for _ in range(DRAWS):
        chosen = rng.choice(products, CANDIDATES, replace=False)
        photos = [rng.choice(np.flatnonzero(truth == product)) for product in chosen]
        scores = cosines[np.ix_(photos, chosen)]
        right = np.arange(CANDIDATES)
        alone += int((scores.argmax(axis=1) == right).sum())
        together += int((linear_sum_assignment(-scores)[1] == right).sum())
    draws = DRAWS * CANDIDATES
    return [float((cosines.argmax(axis=1) == truth).mean()), alone / draws, together / draws]


def frozen_features(weights: Path, size: int, photos: list[Path]) -> Vectors:
    """What the backbone gives with ImageNet weights, pooled and of unit norm."""
    network = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"
    )
    network.load_weights(weights)
    pixels = np.stack([prepare(path, size) for path in photos]).astype(np.float32)
    features: Vectors = network.predict(pixels / 127.5 - 1, verbose=0)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def embedded(model: Path, photos: list[Path]) -> Vectors:
    """Their vectors by a trained model."""
    found = list(Embedder.open(model).embed(photos))
    return np.stack([vector for vector in found if not isinstance(vector, PhotoError)])


def training_catalogue(real: Catalogue, stock: Catalogue, products: list[str]) -> Catalogue:
    """Real photos of products, and their stock pictures repeated to a quarter of all."""
    items = {
        name: (*real.items[name], *(stock.items[name] * (len(real.items[name]) // 3)))
        for name in products
    }
    return Catalogue(real.source, items)


def main() -> None:
    """Train twice, match three times, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models")
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--final", action="store_true", help="match val photos")
    arguments = parser.parse_args()
    grocery = arguments.data / "grocery"
    weights = arguments.data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    real, stock = read_catalogue(grocery / "train"), read_catalogue(grocery / "iconic")
    order = np.random.default_rng(arguments.seed).permutation(sorted(real.items)).tolist()
    seen, unseen = sorted(order[:TRAINED]), sorted(order[TRAINED:])
    asked = read_catalogue(grocery / "val") if arguments.final else real
    queries = [path for name in unseen for path in asked.items.get(name, ())]
    truth = np.repeat(np.arange(len(unseen)), [len(asked.items.get(n, ())) for n in unseen])
    pictures = [stock.items[name][0] for name in unseen]
    print(f"{len(queries)} photos of {len(np.unique(truth))} products, {len(pictures)} candidates")
    print(f"{'':<32} top-1  of 10  one to one")

    def report(name: str, vectors: Vectors) -> None:
        top1, alone, together = figures(vectors[: len(queries)], truth, vectors[len(queries) :])
        print(f"{name:<32} {top1:>5.1%}  {alone:>5.1%}  {together:>10.1%}", flush=True)

    both = queries + pictures
    report("frozen ImageNet features", frozen_features(weights, arguments.size, both))
    for name, share in (("without", 0.0), ("with", 0.5)):
        options = TrainingOptions(
            architecture=Architecture("MobileNet", 0.25, arguments.size),
            weights=str(weights),
            epochs=arguments.epochs,
            patience=arguments.epochs,
            learning_rate=arguments.learning_rate,
            seed=arguments.seed,
            augmentation=Augmentation(flip=True, zoom=0.6, shift=0.15, background=share),
        )
        model = arguments.work / f"{name}.model"
        train(training_catalogue(real, stock, seen), model, options, replace_existing=True)
        report(f"trained {name} other backgrounds", embedded(model, both))


if __name__ == "__main__":
    main()
