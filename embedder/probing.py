"""Finding out in a process of its own whether a model runs: one from elsewhere may crash LiteRT."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from embedder.errors import ModelError
from embedder.inference import Embedder
from embedder.model_files import LITERT
from embedder.photos import FILL

_SECONDS = 30
# Beside what the model itself takes. It is address space: libraries take much of it unused.
_GIGABYTES = 4
_REFUSED = 3


def probe(folder: str | os.PathLike[str]) -> None:
    """Run a model on one grey photo in a process of its own, which may crash.

    Args:
        folder: the model folder.

    Raises:
        ModelError: there is no model, a file of it is damaged, or running it crashes, takes
            more than half a minute or much memory, or gives no vector of unit norm.
    """
    path = Path(folder)
    # Of the packages as they are here; never of the working folder, which may be a stranger's.
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "embedder.probing", str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        found = f"expected it to embed a photo in {_SECONDS} s, found it still at work"
        raise _unfit(path, found) from None
    if done.returncode == _REFUSED:
        raise ModelError(done.stdout.decode(errors="replace").strip())
    if done.returncode:
        raise _unfit(path, f"expected it to embed a photo, found that it {_end(done.returncode)}")


def _unfit(folder: Path, found: str) -> ModelError:
    return ModelError(
        f"{folder / LITERT}: {found}: do not use this model; train one, or get it again from "
        "where it came from"
    )


def _end(code: int) -> str:
    with suppress(ValueError):
        return f"crashes ({signal.Signals(-code).name})"
    return f"crashes (exit code {code})"


def _bound(folder: Path) -> None:
    """Take no more memory than a model can need, and leave no image of it behind in a crash."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    size = 0
    with suppress(OSError):
        size = (folder / LITERT).stat().st_size
    for kind, most in (
        (resource.RLIMIT_AS, (_GIGABYTES << 30) + 4 * size),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):  # a lower limit may be in force
            resource.setrlimit(kind, (most, most))


def _main(folder: Path) -> int:
    _bound(folder)
    try:
        embedder = Embedder.open(folder)
        embedder.warm_up()
        size = embedder.info.architecture.size
        embedder.embed_pixels(np.full((size, size, 3), FILL, np.uint8))
    except ModelError as error:
        said = str(error)
    except MemoryError:
        said = str(_unfit(folder, f"expected it to take {_GIGABYTES} GB or less, found more"))
    else:
        return 0
    sys.stdout.buffer.write(said.encode(errors="replace"))
    return _REFUSED


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
