"""Work on files from elsewhere in a process of its own, which may crash, hang or take too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

# Beside what a file itself takes. It is address space: libraries take much of it unused.
GIGABYTES = 4
REFUSED = 3  # a child says why on its standard output


def run_apart(
    module: str, arguments: Sequence[str], seconds: float | None, output: IO[bytes]
) -> int | None:
    """Run a module of ours in a process of its own.

    Args:
        module: its name.
        arguments: of its command line.
        seconds: after which it is given up; None for never.
        output: an open file, which gets its standard output.

    Returns:
        its exit status; None if it was given up.
    """
    try:
        done = subprocess.run(
            _command(module, arguments),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def start_apart(module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a module of ours in a process of its own, to talk to through pipes.

    Args:
        module: its name.
        arguments: of its command line.

    Raises:
        OSError: there is no room for another process.
    """
    return subprocess.Popen(
        _command(module, arguments),
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", module, *arguments]


def _environment() -> dict[str, str]:
    # Of the packages as they are here; never of the working folder, which may be a stranger's.
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def ending(status: int) -> str:
    """How a process ended that was not to end so."""
    with suppress(ValueError):
        return f"crashes ({signal.Signals(-status).name})"
    return f"crashes (exit code {status})"


def bound(size: int) -> None:
    """In a child: take no more memory than a file can need, and leave no image of it in a crash.

    Args:
        size: of the file, in bytes.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for kind, most in (
        (resource.RLIMIT_AS, (GIGABYTES << 30) + 4 * size),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):  # a lower limit may be in force
            resource.setrlimit(kind, (most, most))
