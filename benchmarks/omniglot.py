"""One drawing of each of 20 new characters: which is which? Omniglot's small background set.

Run it as `python benchmarks/omniglot.py --work DIR [--data ../shared/data] [--seeds 0 1 2]`. For
each seed it trains a network from scratch on the drawings of `images_background_small1` alone, then
measures on `one-shot-runs`, whose characters are of other alphabets: the error of each test drawing
by itself, and of all 20 of a run matched one to one.

With `--develop ALPHABET ...` these alphabets are held out instead, the network is trained on the
others, and measured on runs within each of them: 20 characters, the known drawings of one drawer
and the asked ones of another, all pairs of drawers. Framing and views were chosen that way, in
short runs; bends, variation and length are first guesses.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omniglot_data import (
    Alphabet,
    Floats,
    Renderer,
    framed,
    random_matrix,
    read_alphabet,
    read_drawing,
    write_copies,
)
from scores import right_of

from embedder import Embedder, read_catalogue
from embedder.model_files import Architecture
from embedder.score_space import unit
from embedder.training import train
from embedder.training_options import Augmentation, EpochReport, Listener, TrainingOptions
from embedder.version import __version__

CLASSES = 20


@dataclass(frozen=True)
class Recipe:
    """How the figures come about.

    Attributes:
        size: of the photos.
        side: what the longer side of a drawing is scaled to, as a share of the photo's ...
        most: ... by this factor at most, up or down: size tells some characters apart.
        shapes: bent forms of each turned character, the unbent one among them.
        class_bend: how much, as a standard deviation; 2 is the side of the photo.
        own_bend: likewise, of each drawing.
        epochs: of 200 batches.
        views: of each drawing, the vectors of which are averaged.
        augmentation: how training photos vary.
    """

    size: int = 64
    side: float = 0.75
    most: float = 1.5
    shapes: int = 2
    class_bend: float = 0.12
    own_bend: float = 0.04
    epochs: int = 28
    views: int = 25
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation=15,
            zoom=0.2,
            stretch=0.3,
            shift=0.08,
            brightness=0,
            contrast=0,
            saturation=0,
            tint=0,
            perspective=0.15,
        )
    )


class Errors(NamedTuple):
    """Shares of asked drawings that are matched wrongly."""

    independent: float
    one_to_one: float


class Progress(Listener):
    """Prints an epoch a line."""

    def epoch(self, report: EpochReport) -> None:
        """Loss and speed."""
        print(
            f"  epoch {report.epoch}/{report.epochs}: loss {report.loss:.3f}, held-out top-1 "
            f"{report.top1:.3f}, {report.photos_per_second:.0f} photos/s, "
            f"{seconds():.0f} s",
            flush=True,
        )


def prepared(alphabet: Alphabet, recipe: Recipe) -> Alphabet:
    """Drawings (..., 105, 105), each in the middle of its frame."""
    flat = alphabet.reshape(-1, *alphabet.shape[-2:])
    moved = np.stack([framed(drawing, recipe.side, recipe.most) for drawing in flat])
    return moved.reshape(alphabet.shape)


def vectors_of(embedder: Embedder, drawings: Floats, recipe: Recipe) -> Floats:
    """The mean vector of some views of each drawing: (drawings, 105, 105) -> (drawings, dim)."""
    rng, renderer = np.random.default_rng(0), Renderer(recipe.size)
    still = np.eye(2, 3, dtype=np.float32)
    matrices = [still] + [random_matrix(rng, 15, 0.2, 0.25, 0.06) for _ in range(recipe.views - 1)]
    softened = (renderer.soft(drawing) for drawing in drawings)
    photos = (renderer.photo(drawing, matrix) for drawing in softened for matrix in matrices)
    vectors = np.stack([embedder.embed_pixels(photo) for photo in photos])
    return unit(vectors.reshape(len(drawings), len(matrices), -1).mean(axis=1))


def errors(known: Floats, asked: Floats) -> Errors:
    """Of one run: unit-norm vectors (classes, dim), the same class in the same row."""
    alone, together = right_of(asked @ known.T)
    return Errors((len(known) - alone) / len(known), (len(known) - together) / len(known))


def mean_errors(found: list[Errors]) -> Errors:
    """Of several runs of as many drawings."""
    return Errors(*np.mean(found, axis=0).tolist())


def within_alphabet(vectors: Floats) -> Errors:
    """Runs within one alphabet, all pairs of drawers: vectors (characters, drawers, dim)."""
    rng = np.random.default_rng(0)
    found = []
    for known, asked in permutations(range(vectors.shape[1]), 2):
        chosen = rng.permutation(len(vectors))[:CLASSES]
        found.append(errors(vectors[chosen, known], vectors[chosen, asked]))
    return mean_errors(found)


def one_shot_runs(embedder: Embedder, folder: Path, recipe: Recipe) -> Errors:
    """The mean over Omniglot's own runs."""
    found = []
    for run in sorted(folder.glob("run*")):
        pairs = [line.split() for line in (run / "class_labels.txt").read_text().splitlines()]
        vectors = []
        for column in (1, 0):
            paths = [run.parent / pair[column] for pair in pairs if pair]
            drawings = prepared(np.stack([read_drawing(path) for path in paths]), recipe)
            vectors.append(vectors_of(embedder, drawings, recipe))
        found.append(errors(*vectors))
    return mean_errors(found)


def trained(alphabets: dict[str, Alphabet], work: Path, recipe: Recipe, seed: int) -> Embedder:
    """A network that has learned from these alphabets."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_copies(
        alphabets,
        work / "copies",
        recipe.size,
        recipe.shapes,
        recipe.class_bend,
        recipe.own_bend,
        seed,
    )
    print(f"  drawn: {seconds():.0f} s", flush=True)
    options = TrainingOptions(
        Architecture(size=recipe.size),
        epochs=recipe.epochs,
        patience=recipe.epochs,
        mining=False,  # the characters asked about are others
        seed=seed,
        augmentation=recipe.augmentation,
    )
    train(read_catalogue(work / "copies"), work / "model", options, Progress())
    return Embedder.open(work / "model")


def seconds() -> float:
    """Processor time of this process and its children so far, all cores."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measured(
    alphabets: dict[str, Alphabet],
    held: list[str],
    runs: Path,
    work: Path,
    recipe: Recipe,
    seed: int,
) -> tuple[Errors, float]:
    """Errors of one seed, and the processor time its training took.

    Args:
        alphabets: of the background set, prepared.
        held: alphabets to hold out of training and measure on; the runs are left alone then.
        runs: the folder of Omniglot's own runs.
        work: where to train.
        recipe: how.
        seed: decides everything random but the views.
    """
    started = seconds()
    learned = {name: alphabet for name, alphabet in alphabets.items() if name not in held}
    embedder = trained(learned, work, recipe, seed)
    spent = seconds() - started
    if not held:
        return one_shot_runs(embedder, runs, recipe), spent
    found = []
    for name in held:
        drawings = alphabets[name]
        flat = vectors_of(embedder, drawings.reshape(-1, *drawings.shape[2:]), recipe)
        found.append(within_alphabet(flat.reshape(*drawings.shape[:2], -1)))
        print(f"  {name}: {shown(found[-1])}", flush=True)
    return mean_errors(found), spent


def shown(found: Errors) -> str:
    """For people."""
    return f"error {found.independent:.2%} independent, {found.one_to_one:.2%} one to one"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--develop", nargs="+", default=[], metavar="ALPHABET")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs, help="fewer for a quick look")
    arguments = parser.parse_args()
    recipe = replace(Recipe(), epochs=arguments.epochs)
    folders = sorted((arguments.data / "omniglot" / "images_background_small1").iterdir())
    unknown = set(arguments.develop) - {folder.name for folder in folders}
    if unknown:
        parser.error(f"no such alphabet: {', '.join(sorted(unknown))}")
    alphabets = {folder.name: prepared(read_alphabet(folder), recipe) for folder in folders}
    versions = {name: version(name) for name in ("keras", "tensorflow", "numpy", "pillow")}
    print(f"embed {__version__}, {versions}; {recipe}", flush=True)
    found = []
    for seed in arguments.seeds:
        print(f"seed {seed}", flush=True)
        work = arguments.work / f"seed{seed}"
        runs = arguments.data / "omniglot" / "one-shot-runs"
        errors_found, spent = measured(alphabets, arguments.develop, runs, work, recipe, seed)
        found.append(errors_found)
        print(f"seed {seed}: {shown(found[-1])}; {spent:.0f} s of processor time", flush=True)
    print(f"mean of {len(found)} seeds: {shown(mean_errors(found))}")


if __name__ == "__main__":
    main()
