"""What whitening the scores gives: frozen and trained networks, real photos and drawings.

Run hard_split.py and grocery.py first, then this, with the same data:

    python benchmarks/hard_split.py DIR/split
    python benchmarks/grocery.py --split DIR/split --work DIR/model --size 160 --epochs 10
    python benchmarks/whitening.py DIR

Grocery: the centroids are of DIR/split/train, the questions are DIR/split/val; the val photos of
the data set are never looked at. Omniglot: 136 characters of its background set, the first 14
drawings of each for the centroids and for a compact network, the other 6 for the questions.
Prints top-1 among all items, and 10 candidates with one photo each, independent and one to one.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from grocery import embedded, measure_vectors
from hard_split import frozen_features

from embedder import Catalogue, Embedder, read_catalogue
from embedder.model_files import Architecture
from embedder.score_space import ScoreSpace, fit_score_space, within_scatter
from embedder.training import train
from embedder.training_options import TrainingOptions
from embedder.validation import centroids, hold_out
from index import Matcher
from index.rows import Item
from index.schema import IndexInfo
from index.store_writing import WritableStore
from index.whitening import write_score_space

SHRINKAGES = (0.05, 0.1, 0.2, 0.3, 0.5)
DRAWINGS = 14  # of 20 of each character

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass
class Photos:
    """Vectors (photos, dim) of a catalogue's photos, and the number of each one's item."""

    ids: list[str]
    vectors: Floats
    labels: Labels


def photos_of(catalogue: Catalogue, vectors: Floats) -> Photos:
    """The vectors of all photos, item by item, with their items."""
    counts = [len(photos) for photos in catalogue.items.values()]
    return Photos(list(catalogue.items), vectors, np.repeat(np.arange(len(counts)), counts))


def figures(
    centres: Floats, space: ScoreSpace | None, ids: list[str], asked: Photos
) -> list[float]:
    """What `Matcher` answers with an index that has these centroids and this score space."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.index"
        info = IndexInfo("", centres.shape[1], 0.1, "", whitened=space is not None)
        with WritableStore.create(path, info) as store:
            for item, centre in zip(ids, centres, strict=True):
                store.put(Item(item, centre, 1, 0.0, "", b""))
            if space is not None:
                write_score_space(store, space)
            store.commit()
        with Matcher.open(path) as matcher:
            truth = [asked.ids[label] for label in asked.labels]
            return list(measure_vectors(matcher, asked.vectors, truth, ids).values())


def show(name: str, shares: list[float]) -> None:
    """One line of the table."""
    print(f"{name:<44}" + "".join(f"{share:>9.1%}" for share in shares), flush=True)


def table(title: str, known: Photos, asked: Photos) -> None:
    """Plain, centred, and whitened with every shrinkage, by the covariance of the known photos."""
    print(f"{title}: {len(known.vectors)} photos known, {len(asked.vectors)} asked")
    centres = centroids(known.vectors, known.labels, len(known.ids))
    show("plain cosine", figures(centres, None, known.ids, asked))
    scatter = within_scatter(known.vectors, known.labels)
    for shrinkage in (1.0, *SHRINKAGES):
        space = fit_score_space(*scatter, centres, shrinkage)
        name = "centred only" if shrinkage == 1 else f"whitened, shrinkage {shrinkage}"
        show(name, figures(centres, space, known.ids, asked))


def table_of_sources(known: Photos, asked: Photos, held: npt.NDArray[np.bool_]) -> None:
    """Whose photos the covariance should be of: those trained on, those held out, or new ones.

    Covariances of new photos are of the asked photos of one half of the items, and measured on the
    other half; the means of the two halves. The others are measured in the same way.
    """
    print("covariance of what, shrinkage 0.2 (questions by halves of the items)")
    centres = centroids(known.vectors, known.labels, len(known.ids))
    halves = [asked.labels % 2 == half for half in (0, 1)]

    def averaged(name: str, spaces: list[ScoreSpace | None]) -> None:
        found = [
            figures(
                centres,
                space,
                known.ids,
                Photos(asked.ids, asked.vectors[rows], asked.labels[rows]),
            )
            for space, rows in zip(spaces, halves, strict=True)
        ]
        show(name, np.mean(found, axis=0).tolist())

    averaged("plain cosine", [None, None])
    for name, rows in (
        ("photos trained on", ~held),
        ("photos held out of training", held),
        ("all photos of the index", held | True),
    ):
        scatter, freedom = within_scatter(known.vectors[rows], known.labels[rows])
        if freedom == 0:
            continue
        # Few photos are held out; with less freedom than is asked for, it is tried all the same.
        space = fit_score_space(scatter, max(freedom, 2 * len(scatter)), centres)
        averaged(f"{name} ({freedom} deviations)", [space, space])
    spaces: list[ScoreSpace | None] = []
    for rows in reversed(halves):
        scatter, freedom = within_scatter(asked.vectors[rows], asked.labels[rows])
        spaces.append(fit_score_space(scatter, max(freedom, 2 * len(scatter)), centres))
    averaged("new photos of other items", spaces)


def tables(
    name: str, parts: tuple[Catalogue, Catalogue], weights: Path, sizes: list[int], model: Path
) -> None:
    """All tables of a data set: frozen features at some sizes, then the trained model."""
    for size in sizes:
        known, asked = (
            photos_of(part, frozen_features(list(part.paths()), size, weights)) for part in parts
        )
        table(f"{name}, frozen ImageNet features at {size} px", known, asked)
    embedder = Embedder.open(model)
    known, asked = (photos_of(part, embedded(embedder, part)) for part in parts)
    info = embedder.info
    described = f"{info.architecture.backbone} trained at {info.architecture.size} px"
    table(f"{name}, {described}", known, asked)
    facts = info.training
    print(
        "its own held-out photos: right of 10 / of all: "
        f"plain {facts['candidate_accuracy']} / {facts['top1']}, "
        f"whitened {facts['whitened_candidate_accuracy']} / {facts['whitened_top1']}: "
        f"{'whiten' if info.whitened_temperature else 'do not whiten'}"
    )
    table_of_sources(known, asked, hold_out(known.labels, facts["options"]["seed"]))


def split_omniglot(data: Path, out: Path) -> tuple[Catalogue, Catalogue]:
    """Links to the drawings as two catalogues."""
    for character in sorted((data / "omniglot" / "images_background_small1").glob("*/*")):
        drawings = sorted(character.iterdir())
        for part, (start, stop) in zip(
            ("train", "val"), pairwise((0, DRAWINGS, len(drawings))), strict=True
        ):
            folder = out / part / f"{character.parent.name}-{character.name}"
            folder.mkdir(parents=True, exist_ok=True)
            for drawing in drawings[start:stop]:
                link = folder / drawing.name
                if not link.exists():
                    link.symlink_to(drawing.absolute())
    return read_catalogue(out / "train"), read_catalogue(out / "val")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--model", type=Path, help="WORK/model/items.model unless given")
    arguments = parser.parse_args()
    work, data = arguments.work, arguments.data
    weights = data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    model = arguments.model or work / "model" / "items.model"
    print(f"{'':<44}{'top-1':>9}{'of 10':>9}{'1 to 1':>9}")
    split = read_catalogue(work / "split" / "train"), read_catalogue(work / "split" / "val")
    tables("Grocery, hard split", split, weights, [160, 192], model)
    drawings = split_omniglot(data, work / "omniglot")
    compact = work / "omniglot.model"
    if not compact.exists():
        train(drawings[0], compact, TrainingOptions(Architecture(size=64), epochs=15))
    tables("Omniglot", drawings, weights, [160], compact)


if __name__ == "__main__":
    main()
