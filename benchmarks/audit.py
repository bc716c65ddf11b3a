"""Plant mistakes into a catalogue, train on it as it is, and see what the audit finds of them.

Run it as `python benchmarks/audit.py --work DIR --source generated|grocery [--seed N]`; with
`--trained` it audits with the model that is there.

2 % of the photos are moved to another item, drawn at random. 2 % are copied, by bytes, encoded
again, smaller, lighter or darker, or cropped by 2 %; a quarter of the copies lie under another
item. And 1 % are added that show none: photos of other things, black ones and blurred ones.

Printed is precision, strictly: whatever was not planted counts as wrong, though catalogues have
mistakes of their own; what that was is printed, to be looked at. And recall of what was planted.
Look-alikes are measured on new photos, which show which pairs of items are taken for each other.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import grocery
import numpy as np
from audit_figures import Truth, print_look_alikes, report
from audit_planting import plant, read_planted
from grocery import Lines, versions

from embedder import Catalogue, Embedder, PhotoError, read_catalogue
from embedder.model_files import Architecture
from embedder.sample import item_id, write_sample
from embedder.sample_drawing import draw_item, photograph
from embedder.training import train
from embedder.training_options import TrainingOptions
from index import audit, build_index
from index.store import Store
from index.whitening import read_score_space

SHARE = 0.02
NEW_PHOTOS = 20  # of each generated item


def polluted(arguments: argparse.Namespace) -> Catalogue:
    """The catalogue with mistakes in it, made unless it is there."""
    work: Path = arguments.work
    source = arguments.data / "grocery" / "train"
    if not (work / "planted.csv").exists():
        generated = arguments.source == "generated"
        write_sample(
            work / "sample",
            items=arguments.items if generated else 50,
            photos=arguments.photos if generated else 2,
            queries=0,
            size=96,
            seed=arguments.seed,
            jobs=1,
        )
        sources = [source, work / "sample" / "catalogue"]
        if generated:
            sources.reverse()
        foreign = [Path(path) for path in read_catalogue(sources[1]).paths()]
        target, truth = work / "catalogue", work / "planted.csv"
        plant(sources[0], target, truth, SHARE, foreign, arguments.seed)
    return read_catalogue(work / "catalogue")


def recipe(arguments: argparse.Namespace) -> TrainingOptions:
    """The defaults for generated photos, the recipe of grocery.py for those."""
    if arguments.source == "generated":
        return TrainingOptions(
            architecture=Architecture(size=96), seed=arguments.seed, epochs=arguments.epochs or 40
        )
    epochs = ["--epochs", str(arguments.epochs)] if arguments.epochs else []
    places = ["--work", str(arguments.work), "--data", str(arguments.data)]
    given = grocery.parser().parse_args([*places, "--seed", str(arguments.seed), *epochs])
    return grocery.recipe(given)


def new_photos(arguments: argparse.Namespace) -> tuple[list[str] | list[bytes], list[str]]:
    """Photos that are not in the catalogue, and the items they show."""
    if arguments.source == "grocery":
        val = read_catalogue(arguments.data / "grocery" / "val")
        return list(val.paths()), [item for item, paths in val.items.items() for _ in paths]
    photos: list[bytes] = []
    for item in range(arguments.items):
        drawing = draw_item(arguments.seed, item, 96)
        numbers = range(arguments.photos + 1, arguments.photos + 1 + NEW_PHOTOS)
        photos += [photograph(drawing, arguments.seed, item, number) for number in numbers]
    return photos, [item_id(item) for item in range(arguments.items) for _ in range(NEW_PHOTOS)]


def main() -> None:
    """Plant, train, index, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--source", choices=["generated", "grocery"], required=True)
    data = os.environ.get("EMBED_REAL_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--epochs", type=int, help="as the recipe says unless given")
    parser.add_argument("--trained", action="store_true", help="audit with the model that is there")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(versions(), flush=True)
    catalogue = polluted(arguments)
    if not arguments.trained:
        started = time.perf_counter()
        train(
            catalogue,
            arguments.work / "items.model",
            recipe(arguments),
            Lines(),
            replace_existing=True,
        )
        print(f"trained in {time.perf_counter() - started:.0f} s", flush=True)
    embedder = Embedder.open(arguments.work / "items.model")
    build_index(catalogue, embedder, arguments.work / "items.index")
    with Store.open(arguments.work / "items.index") as store:
        started = time.perf_counter()
        found = audit(catalogue, embedder, store)
        print(f"audited in {time.perf_counter() - started:.1f} s")
        truth = Truth.of(read_planted(arguments.work / "planted.csv"), arguments.work / "catalogue")
        items = sorted(catalogue.items)
        report(found, truth, "all items", set(items))
        for half in (0, 1):
            report(found, truth, f"every second item, from {half}", set(items[half::2]))
        photos, shown = new_photos(arguments)
        vectors = np.stack(
            [one for one in embedder.embed(photos) if not isinstance(one, PhotoError)]
        )
        space = read_score_space(store)
        project = space.project if space is not None else lambda rows: rows
        centroids, _ = store.centroids(items)
        print_look_alikes(found, project(centroids), items, project(vectors), shown)


if __name__ == "__main__":
    main()
