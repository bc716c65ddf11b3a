"""What `learning.py` trains on and asks about: development data only."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scores import CANDIDATES, DRAWS, among_items, right_of

from embedder import Catalogue, read_catalogue
from embedder.model_files import Architecture
from embedder.photo_cache import PhotoCache, open_cache
from embedder.photos import Pixels, prepare
from embedder.sample import write_sample
from embedder.sampling import Indices
from embedder.score_space import Floats
from embedder.training_options import Augmentation, TrainingOptions

HELD_ALPHABETS, DRAWERS, OF = ("Greek", "Latin"), 20, 20
ITEMS, PHOTOS = 600, 30  # generated


@dataclass(frozen=True)
class Data:
    """What to train on, and what to ask.

    Attributes:
        options: network, weights, learning rate and variation.
        cache: the photos to train on.
        asked: uint8 (photos, size, size, 3) that training does not see.
        judge: three figures, from 0 to 1, of scores (photos asked, trained items), or, where
            `new_items`, (photos asked, photos asked).
        figures: what those are.
        new_items: whether the photos asked are of items that training does not see either.
    """

    options: TrainingOptions
    cache: PhotoCache
    asked: Pixels
    judge: Callable[[Floats], list[float]]
    figures: str
    new_items: bool = False


def episodes(alphabets: Indices, scores: Floats) -> list[float]:
    """One drawing of each character known, one by another drawer asked.

    Top-1 of the characters of all alphabets held out, then of 20 of one alphabet: each by itself,
    and one to one.

    Args:
        alphabets: (characters,).
        scores: (drawings, drawings), each character's by drawer.
    """
    rng = np.random.default_rng(0)
    of_all = alone = together = 0
    for _ in range(DRAWS):
        known, asked = rng.choice(DRAWERS, 2, replace=False)
        between = scores[asked::DRAWERS, known::DRAWERS]
        of_all += right_of(between)[0]
        alphabet = rng.integers(alphabets.max() + 1)
        chosen = rng.choice(np.flatnonzero(alphabets == alphabet), OF, replace=False)
        right = right_of(between[np.ix_(chosen, chosen)])
        alone, together = alone + right[0], together + right[1]
    total = DRAWS * OF
    return [of_all / (DRAWS * len(alphabets)), alone / total, together / total]


def grocery(arguments: argparse.Namespace) -> Data:
    """Shop photos, fine-tuned from ImageNet weights; asked: those that hard_split.py held back."""
    size = 96
    options = TrainingOptions(
        architecture=Architecture("MobileNet", 0.25, size),
        weights=str(arguments.data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"),
        learning_rate=3e-3,
        augmentation=Augmentation(flip=True, zoom=0.6, shift=0.15),
    )
    cache = open_cache(read_catalogue(arguments.split / "train"), size, arguments.work / "grocery")
    asked = read_catalogue(arguments.split / "val")
    truth = [cache.items.index(item) for item, photos in asked.items.items() for _ in photos]
    judge = partial(among_items, np.array(truth))
    return Data(options, cache, _prepared(asked.paths(), size), judge, _among(cache))


def omniglot(arguments: argparse.Namespace) -> Data:
    """Drawn characters, each turned and mirrored into 8; asked: two alphabets never trained on."""
    size = 48
    whole = read_catalogue(arguments.data / "omniglot" / "images_background_small1")
    train, held = {}, {}
    for alphabet, drawings in whole.items.items():
        characters: dict[str, tuple[str, ...]] = {}
        for path in drawings:
            name = f"{alphabet}/{Path(path).parent.name}"
            characters[name] = (*characters.get(name, ()), path)
        (held if alphabet in HELD_ALPHABETS else train).update(characters)
    base = open_cache(Catalogue(whole.source, train), size, arguments.work / "omniglot")
    cache = _turned(base, arguments.work / f"omniglot-turned-{base.key[:12]}")
    alphabets = np.array([HELD_ALPHABETS.index(name.split("/")[0]) for name in held])
    asked = _prepared((path for paths in held.values() for path in paths), size)
    text = f"top-1 of {len(held)}, of {OF}, one to one; one drawing known"
    options = TrainingOptions(architecture=Architecture(size=size))
    return Data(options, cache, asked, partial(episodes, alphabets), text, new_items=True)


def _turned(base: PhotoCache, folder: Path) -> PhotoCache:
    """Each item turned by quarters and mirrored: 8 items."""
    pixels = np.asarray(base.pixels)
    ways = [
        np.rot90(way, turn, (1, 2)) for way in (pixels, pixels[:, :, ::-1]) for turn in range(4)
    ]
    file = folder / "photos.u8"
    # Left alone where it is there: another process may have it mapped.
    if not file.exists() or file.stat().st_size != 8 * pixels.nbytes:
        folder.mkdir(parents=True, exist_ok=True)
        np.concatenate(ways).tofile(file)
    labels = np.concatenate([base.labels + way * len(base.items) for way in range(8)])
    items = tuple(f"{item} {way}" for way in range(8) for item in base.items)
    return PhotoCache(folder, base.size, labels, items, (), base.key, np.full(len(labels), -1))


def sample(arguments: argparse.Namespace) -> Data:
    """A generated catalogue, every fifth item a look-alike of another; asked: new photos."""
    size, drawn = 64, arguments.work / "sample"
    if not (drawn / "truth.csv").exists():
        write_sample(drawn, items=ITEMS, photos=PHOTOS, queries=ITEMS, size=size)
    cache = open_cache(read_catalogue(drawn / "catalogue"), size, arguments.work / "sample-cache")
    with (drawn / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    asked = _prepared((drawn / "photos" / row["photo"] for row in rows), size)
    judge = partial(among_items, np.array([cache.items.index(row["item_id"]) for row in rows]))
    options = TrainingOptions(architecture=Architecture(size=size))
    return Data(options, cache, asked, judge, _among(cache))


def _prepared(paths: Iterable[str], size: int) -> Pixels:
    return np.stack([prepare(path, size) for path in paths])


def _among(cache: PhotoCache) -> str:
    return f"top-1 of {len(cache.items)}, of {CANDIDATES}, one to one"


SETS = {"grocery": (grocery, 90.0), "omniglot": (omniglot, 60.0), "sample": (sample, 100.0)}
