"""A split of the grocery train photos to choose recipes on, so that val is only ever measured.

Run it as `python benchmarks/hard_split.py OUT [--data ../shared/data]`; it writes OUT/train and
OUT/val (links), for `python benchmarks/grocery.py --split OUT`.

The photos of a product come in bursts, so photos held out at random are nearly copies of others
and say little about other shops and days. Here each product gives up the cluster of its photos
(k-means on frozen ImageNet features, 12 to 40 % of them) that is least like the rest.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2

from embedder import read_catalogue
from embedder.backend import keras
from embedder.photos import prepare

SIZE = 160
CLUSTERS, TRIES = 3, 20


def frozen_features(paths: Sequence[str], size: int, weights: Path) -> npt.NDArray[np.float32]:
    """Unit-norm features (photos, 256) of MobileNet 0.25 as ImageNet left it."""
    network = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"
    )
    network.load_weights(weights)
    parts = [
        network.predict_on_batch(
            np.stack([prepare(path, size) for path in paths[start : start + 64]]) / 127.5 - 1
        )
        for start in range(0, len(paths), 64)
    ]
    features = np.concatenate(parts).astype(np.float32)
    unit: npt.NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def odd_ones(features: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which photos to give up: unit-norm features (photos, dim) -> bool (photos,)."""
    centred = features - features.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[:, :8] * scale[:8]
    best, chosen = np.inf, np.zeros(len(features), dtype=bool)
    for seed in range(TRIES):
        _, cluster = kmeans2(plane, CLUSTERS, seed=seed, minit="++")
        for number in range(CLUSTERS):
            inside = cluster == number
            if 0.12 <= inside.mean() <= 0.4:
                likeness = float((features[inside] @ features[~inside].T).mean())
                if likeness < best:
                    best, chosen = likeness, inside
    return chosen


def link(photo: Path, folder: Path) -> None:
    """Have a photo in a folder too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / photo.name).symlink_to(photo.absolute())


def products(
    description: str,
) -> tuple[Path, Iterator[tuple[str, list[Path], npt.NDArray[np.float32]]]]:
    """What the command line says: where to write; products, their photos and frozen features."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path)
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    arguments = parser.parse_args()
    weights = arguments.data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    catalogue = read_catalogue(arguments.data / "grocery" / "train")
    features = iter(frozen_features(list(catalogue.paths()), SIZE, weights))
    found = (
        (item, list(map(Path, photos)), np.stack(list(islice(features, len(photos)))))
        for item, photos in catalogue.items.items()
    )
    return arguments.out, found


def main() -> None:
    """Write the split."""
    out, found = products(__doc__.splitlines()[0])
    counts = {"train": 0, "val": 0}
    for item, photos, own in found:
        for path, odd in zip(photos, odd_ones(own), strict=True):
            part = "val" if odd else "train"
            link(path, out / part / item)
            counts[part] += 1
    print(f"{out}: {counts['train']} photos to train on, {counts['val']} to choose by")


if __name__ == "__main__":
    main()
