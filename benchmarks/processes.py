"""Whole commands: how long they take, and how much memory at most.

Each is started by a small process of its own (this file, run as a script): the memory that Linux
reports of a process counts that of the process that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

Command = Sequence[str | Path]

EMBED = Path(sys.executable).with_name("embed")


class Spent(NamedTuple):
    """What a process took.

    Attributes:
        seconds: from start to end.
        megabytes: highest resident memory.
    """

    seconds: float
    megabytes: float


def run(command: Command, folder: Path) -> Spent:
    """Run a command once in a folder, its results thrown away; stop if it fails."""
    words = [sys.executable, "-I", "-S", __file__, *map(str, command)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    return Spent(*json.loads(done.stdout))


def in_turn(commands: Mapping[str, Command], folder: Path, turns: int) -> dict[str, Spent]:
    """The medians of several commands, run one after the other, turn by turn."""
    found: dict[str, list[Spent]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            spent = run(command, folder)
            if turn:  # in the first, files come from the disk
                found[name].append(spent)
    return {
        name: Spent(*(sorted(column)[turns // 2] for column in zip(*runs, strict=True)))
        for name, runs in found.items()
    }


def resident_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Run the command given and print its seconds and megabytes as JSON."""
    started = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps([seconds, usage.ru_maxrss / 1024]))
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
