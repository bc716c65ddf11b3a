"""How fast `embed sample` draws, process start included.

Run it as `python benchmarks/sample.py [--items 1000] [--photos 20] [--size 96]`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

EMBED = Path(sysconfig.get_path("scripts")) / "embed"


def main() -> None:
    """Draw a catalogue three times into folders that are deleted, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    total = arguments.items * arguments.photos
    print(f"{os.cpu_count()} cores; {total:,} photos of {arguments.size} px")
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            options = [f"--{name}={value}" for name, value in vars(arguments).items()]
            started = time.perf_counter()
            subprocess.run([EMBED, "sample", folder, *options, "--queries=0"], check=True)
            seconds = time.perf_counter() - started
        print(f"{seconds:.1f} s, {total / seconds:,.0f} photos/s", flush=True)


if __name__ == "__main__":
    main()
