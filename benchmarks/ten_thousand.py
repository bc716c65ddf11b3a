"""10,000 items with 100 photos each: memory, speed and accuracy of training at that scale.

Run it as `python benchmarks/ten_thousand.py --work DIR` (about 20 GB of disk).

Draws the catalogue as `embed sample` does unless it is there, trains as `embed train` does,
indexes all photos, and matches one new photo of each item, which neither training nor the index
saw: top-1 among all items, and sets of 10 candidates with one photo each, one to one. Options
are the defaults of `embed train` but --size, --epochs and colours that vary as they did then.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
from grocery import STRONGER_COLOURS, embedded, right_matches, versions

from embedder import Catalogue, Embedder, read_catalogue
from embedder.model_files import Architecture
from embedder.sample import write_sample
from embedder.training import train
from embedder.training_options import Augmentation, EpochReport, Listener, TrainingOptions
from index import Matcher, build_index

DRAWS, CANDIDATES = 5000, 10
BATCH = TrainingOptions().items_per_batch * TrainingOptions().photos_per_item


def memory() -> str:
    """The process's own memory now and at most, without mapped files: GB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    now, peak = int(sizes["RssAnon"]) / 1e6, int(sizes["VmHWM"]) / 1e6
    return f"{now:.2f} GB (peak with mapped files {peak:.2f} GB)"


class Lines(Listener):
    """Prints a line an epoch."""

    photos = 0

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Count the photos of a batch."""
        self.photos += BATCH

    def epoch(self, report: EpochReport) -> None:
        """Print the figures of one epoch."""
        print(
            f"epoch {report.epoch:>2}/{report.epochs} loss {report.loss:.4f} "
            f"right of 10 {report.candidate_accuracy or 0:.4f} of 500 {report.top1 or 0:.4f} "
            f"{report.photos_per_second:.0f} photos/s, {memory()}, "
            f"CPU {time.process_time() / 60:.1f} min",
            flush=True,
        )


def measure(matcher: Matcher, photos: Catalogue, truth: list[str]) -> None:
    """Print the figures of the new photos, of which `truth` names the items."""
    vectors = embedded(matcher.embedder, photos)
    ids = sorted(truth)
    right = 0
    for start in range(0, len(truth), 500):
        part = slice(start, start + 500)
        matches = matcher.match_vectors(vectors[part], ids, independent=True, unknown=0)
        right += sum(m.item_id == item for m, item in zip(matches, truth[part], strict=True))
    print(f"top-1 of {len(ids):,}: {right / len(truth):.2%}", flush=True)
    rng = np.random.default_rng(0)
    found = {True: 0, False: 0}
    for _ in range(DRAWS):
        rows = rng.choice(len(truth), CANDIDATES, replace=False)
        chosen = [truth[row] for row in rows]
        for independent in found:
            found[independent] += right_matches(matcher, vectors[rows], chosen, independent)
    print(f"{CANDIDATES} candidates, independent: {found[True] / DRAWS / CANDIDATES:.3%}")
    print(f"{CANDIDATES} candidates, one to one: {found[False] / DRAWS / CANDIDATES:.3%}")


def main() -> None:
    """Draw, train, index, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    numbers = {name: getattr(arguments, name) for name in ("items", "photos", "size", "seed")}
    work = arguments.work
    sample = work / "-".join(map(str, ["sample", *numbers.values()]))
    print(f"{os.cpu_count()} cores; {versions()}")
    if not sample.exists():
        write_sample(sample, queries=arguments.items, **numbers)
        children = os.times().children_user + os.times().children_system
        print(f"drawn in {children / 60:.1f} min of CPU", flush=True)
    catalogue = read_catalogue(sample / "catalogue")
    options = TrainingOptions(
        Architecture(size=arguments.size),
        epochs=arguments.epochs,
        patience=arguments.epochs,
        seed=arguments.seed,
        augmentation=Augmentation(**STRONGER_COLOURS),
    )
    started, before = time.perf_counter(), time.process_time()
    lines = Lines()
    info = train(catalogue, work / "items.model", options, lines, replace_existing=True)
    seconds, used = time.perf_counter() - started, time.process_time() - before
    millions = lines.photos / 1e6
    print(
        f"trained in {seconds / 60:.1f} min, {used / 60:.1f} min of CPU, decoding included: "
        f"{millions:.2f} million photos, {info.training['seconds'] / 60 / millions:.1f} min each"
    )
    report = build_index(catalogue, Embedder.open(work / "items.model"), work / "items.index")
    print(f"indexed {report.photos:,} photos of {report.items:,} items; {memory()}")
    print(f"training and index: {(time.process_time() - before) / 60:.1f} min of CPU")
    with (sample / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    asked = Catalogue(
        sample, {row["photo"]: (str(sample / "photos" / row["photo"]),) for row in rows}
    )
    with Matcher.open(work / "items.index") as matcher:
        measure(matcher, asked, [row["item_id"] for row in rows])


if __name__ == "__main__":
    main()
