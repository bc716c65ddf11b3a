"""What each variation of training photos is worth, on real photos.

Run `python benchmarks/hard_split.py SPLIT` once, then
`python benchmarks/ablation.py --split SPLIT --work DIR [--data ../shared/data]`.

Trains MobileNet 0.25 from ImageNet weights a row: with a basic variation, with one variation added
to it or left out, and with the default; always with the same seed. Finished rows are kept in
DIR/ablation.jsonl, so it can be stopped and started again, or given `--only` some rows and another
`--seed`. One seed a row: differences below about a point, and on so few photos often of two or
three, are noise.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

from grocery import STRONGER_COLOURS as COLOURS
from grocery import measure

from embedder import Embedder, read_catalogue
from embedder.model_files import Architecture
from embedder.training import train
from embedder.training_options import Augmentation, TrainingOptions
from index import Matcher, build_index

BASIC = Augmentation(
    flip=False, perspective=0.0, cover=0.0, blur=0.0, jpeg=0, background=0.0, **COLOURS
)
ADDED = {"flip": True, "perspective": 0.1, "cover": 0.2, "blur": 0.01, "jpeg": 30}
GEOMETRY = ("rotation", "zoom", "stretch", "shift")


def recipes() -> dict[str, Augmentation]:
    """The rows by name."""
    rows = {"basic": BASIC}
    for name, value in ADDED.items():
        rows[f"with {name} {value}"] = replace(BASIC, **{name: value})
    rows["with all of these"] = replace(BASIC, **ADDED)
    for title, share in (("without", 0.0), ("a third of", 1 / 3)):
        less = {name: round(share * amount, 2) for name, amount in COLOURS.items()}
        rows[f"{title} colours"] = replace(BASIC, **less)
    for name in GEOMETRY:
        rows[f"without {name}"] = replace(BASIC, **{name: 0})
    rows["nothing"] = Augmentation(**dict.fromkeys(asdict(BASIC), 0))
    rows["default"] = Augmentation()
    return rows


def figures(name: str, variation: Augmentation, arguments: argparse.Namespace) -> dict[str, object]:
    """Train, index and match with one recipe."""
    model, index = arguments.work / "items.model", arguments.work / "items.index"
    options = TrainingOptions(
        architecture=Architecture("MobileNet", 0.25, arguments.size),
        weights=str(arguments.data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"),
        epochs=arguments.epochs,
        patience=arguments.epochs,
        learning_rate=3e-3,
        seed=arguments.seed,
        augmentation=variation,
    )
    started = time.perf_counter()
    catalogue = read_catalogue(arguments.split / "train")
    train(catalogue, model, options, replace_existing=True)
    seconds = round(time.perf_counter() - started)
    build_index(catalogue, Embedder.open(model), index)
    with Matcher.open(index) as matcher:
        found = measure(matcher, arguments.split / "val")
    return {"recipe": name, **asdict(variation), "seconds": seconds, "found": list(found.values())}


def main() -> None:
    """Run the rows that are not there yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True, help="of hard_split.py")
    parser.add_argument("--work", type=Path, required=True, help="folder for results")
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(recipes()), help="these rows")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    kept = arguments.work / "ablation.jsonl"
    setting = {name: getattr(arguments, name) for name in ("epochs", "size", "seed")}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    done = {
        json.dumps([row[name] for name in (*setting, *asdict(Augmentation()))]): row
        for row in map(json.loads, lines)
    }
    print(f"{setting}\n{'recipe':<24} top-1  of 10  one to one  seconds")
    for name in arguments.only:
        variation = recipes()[name]
        key = json.dumps([*setting.values(), *asdict(variation).values()])
        if key not in done:
            done[key] = setting | figures(name, variation, arguments)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[key]) + "\n")
        top1, independent, one_to_one = done[key]["found"]
        seconds = done[key]["seconds"]
        print(
            f"{name:<24} {top1:>5.1%}  {independent:>5.1%}  {one_to_one:>10.1%}  {seconds:>7}",
            flush=True,
        )


if __name__ == "__main__":
    main()
