"""A fresh process: `embed match` beside the naive script and bare imports, `embed --help`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import faiss
from processes import EMBED, in_turn
from speed_data import DIM, MODELS, centroids, item_id, write_index, write_models

ITEMS, PHOTOS, TURNS = 10_000, 10, 11
IMPORTS = "import numpy, faiss, ai_edge_litert.interpreter, PIL.Image, click"


def prepare_cold(work: Path, data: Path, name: str) -> list[Path]:
    """Write what the commands read; returns the photos."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "photos").mkdir(parents=True)
    write_index(work / "items.index", ITEMS, write_models(work, data, name))
    flat = faiss.IndexFlatIP(DIM)
    for block in centroids(ITEMS):
        flat.add(block)
    faiss.write_index(flat, str(work / "items.faiss"))
    (work / "all.txt").write_text("\n".join(map(item_id, range(ITEMS))), encoding="utf-8")
    chosen = map(item_id, range(0, ITEMS, ITEMS // 10))
    (work / "ids.txt").write_text("\n".join(chosen), encoding="utf-8")
    found = sorted((data / "grocery" / "val").rglob("*.jpg"))
    for photo in found[:: len(found) // PHOTOS][:PHOTOS]:
        shutil.copy(photo, work / "photos" / f"{photo.parent.name}-{photo.name}")
    return sorted((work / "photos").iterdir())


def measure_cold(work: Path, data: Path) -> None:
    """Print the tables."""
    naive = Path(__file__).with_name("naive_match.py").resolve()
    python = Path(sys.executable)
    for name in MODELS:
        photos = prepare_cold(work, data, name)
        names = [photo.relative_to(work) for photo in photos]
        found = in_turn(
            {
                "naive": [
                    python,
                    naive,
                    "items.keras",
                    "items.faiss",
                    "all.txt",
                    "ids.txt",
                    *names,
                ],
                "embed match": [EMBED, "match", "--candidates", "ids.txt", "photos"],
                "imports": [python, "-c", IMPORTS],
                "embed --help": [EMBED, "--help"],
                "import click": [python, "-c", "import click"],
            },
            work,
            TURNS,
        )
        print(f"\ncold, {PHOTOS} photos, 10 candidates, {ITEMS:,} items; {name}; {TURNS} turns")
        for label, spent in found.items():
            print(f"{label:<16}{spent.seconds * 1000:>8.0f} ms{spent.megabytes:>8.0f} MB")
        ours, theirs = found["embed match"], found["naive"]
        bare, helps = found["imports"].seconds, found["embed --help"].seconds
        print(
            f"naive / embed match: time {theirs.seconds / ours.seconds:.1f}, memory "
            f"{theirs.megabytes / ours.megabytes:.1f}; embed match / imports "
            f"{ours.seconds / bare:.2f}; help / click {helps / found['import click'].seconds:.2f}",
            flush=True,
        )
