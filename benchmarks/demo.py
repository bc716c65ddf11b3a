"""The main job on generated photos, from nothing: sample, train, build-index, match.

    python benchmarks/demo.py DIR

Runs the four commands as a user would, then prints each match beside the truth. Fails unless at
least nine of ten photos are right. DIR is made anew.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

EMBED = Path(sysconfig.get_path("scripts")) / "embed"
MARK = ".embed-demo"  # in folders made here, which may be deleted


def run(*arguments: str | Path, folder: Path) -> str:
    """Run `embed` in a folder, say so, and return what it wrote to standard output."""
    command = [str(argument) for argument in arguments]
    print(f"\n$ embed {' '.join(command)}", flush=True)
    # The demo's own files, whatever the user has set for work.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
    done = subprocess.run(
        [EMBED, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"embed {command[0]} failed with exit status {done.returncode}")
    return done.stdout


def fresh(folder: Path) -> None:
    """Make the folder empty, if it is missing, empty, or of an earlier demo."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        sys.exit(f"{folder}: expected an empty folder or an earlier demo, found other files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def main() -> None:
    """Run the demo in the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/demo.py DIR")
    folder = Path(sys.argv[1])
    fresh(folder)
    started = time.monotonic()
    run("sample", ".", folder=folder)
    run("train", "catalogue", "--epochs", "20", folder=folder)
    run("build-index", "catalogue", folder=folder)
    print(run("match", "--candidates", "ids.txt", "photos", folder=folder))
    output = run("match", "--candidates", "ids.txt", "photos", "--format", "csv", folder=folder)
    with (folder / "truth.csv").open(newline="") as file:
        truth = {row["photo"]: row["item_id"] for row in csv.DictReader(file)}
    right = 0
    print(f"{'photo':<14}{'matched':<12}{'truth':<12}")
    for row in csv.DictReader(output.splitlines()):
        name = Path(row["photo"]).name
        same = row["item_id"] == truth[name]
        right += same
        print(f"{name:<14}{row['item_id']:<12}{truth[name]:<12}{'right' if same else 'WRONG'}")
    seconds = time.monotonic() - started
    print(f"\n{right} of {len(truth)} right, {seconds:.0f} s in all")
    if right < 0.9 * len(truth):
        sys.exit("expected at least nine of ten photos to be right")


if __name__ == "__main__":
    main()
