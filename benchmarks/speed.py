"""How fast users get what they wait for, beside a naive script, bare libraries and bounds.

Run `python benchmarks/speed.py --work DIR [cold] [search] [build] [update]` on an otherwise idle
machine; all parts unless named. Needs the development dependencies, and the real photos of
EMBED_REAL_DATA (default ../shared/data). With 10,000,000 items (`--items`, the default) `search`
takes 16 GB of disk and 12 GB of memory; what was written to DIR is used again.
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

from speed_build import measure_build
from speed_cold import measure_cold
from speed_search import measure_search
from speed_update import measure_update

PARTS = ("cold", "search", "build", "update")
LIBRARIES = ("numpy", "faiss-cpu", "ai-edge-litert", "Pillow", "click", "tensorflow")


def machine() -> str:
    """Processor, cores, and versions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def main() -> None:
    """Print all parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], metavar="PART")
    parser.add_argument("--work", type=Path, required=True)
    data = Path(os.environ.get("EMBED_REAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--items", type=int, default=10_000_000)
    arguments = parser.parse_args()
    if not (arguments.data / "grocery").is_dir():
        parser.error(f"{arguments.data}: expected the real photos there, found none: name --data")
    arguments.work.mkdir(parents=True, exist_ok=True)
    parts = arguments.parts or PARTS
    print(machine(), flush=True)
    if "cold" in parts:
        measure_cold(arguments.work / "cold", arguments.data)
    if "search" in parts:
        measure_search(arguments.work / "search", arguments.items)
    if "build" in parts:
        measure_build(arguments.work / "build", arguments.data)
    if "update" in parts:
        measure_update(arguments.work / "update", arguments.data, arguments.work / "search")


if __name__ == "__main__":
    main()
