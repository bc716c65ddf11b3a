"""Finding out in a process of its own whether a model runs: one from elsewhere may crash."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from embedder.children import GIGABYTES, REFUSED, bound, ending, run_apart
from embedder.errors import EmbedError, ModelError
from embedder.inference import Embedder
from embedder.model_files import LITERT
from embedder.photos import FILL

_SECONDS = 30


def probe(model: str | os.PathLike[str]) -> None:
    """Run a model on one grey photo in a process of its own, which may crash.

    Args:
        model: the model folder, or the file of another network.

    Raises:
        ModelError: there is no model, a file of it is damaged, or running it crashes, takes
            more than half a minute or much memory, or gives no vector.
    """
    path = Path(model)
    with tempfile.TemporaryFile() as said:
        status = run_apart("embedder.probing", [str(path)], _SECONDS, said)
        said.seek(0)
        if status == REFUSED:
            raise ModelError(said.read().decode(errors="replace").strip())
    if status is None:
        raise _unfit(path, f"expected it to embed a photo in {_SECONDS} s, found it still at work")
    if status:
        raise _unfit(path, f"expected it to embed a photo, found that it {ending(status)}")


def _network(model: Path) -> Path:
    return model if model.is_file() else model / LITERT


def _unfit(model: Path, found: str) -> ModelError:
    return ModelError(
        f"{_network(model)}: {found}: do not use this model; train one, or get it again from "
        "where it came from"
    )


def _main(model: Path) -> int:
    size = 0
    with suppress(OSError):
        size = _network(model).stat().st_size
    bound(size)
    try:
        embedder = Embedder.open(model)
        embedder.warm_up()
        size = embedder.info.architecture.size
        embedder.embed_pixels(np.full((size, size, 3), FILL, np.uint8))
    except EmbedError as error:
        said = str(error)
    except MemoryError:
        said = str(_unfit(model, f"expected it to take {GIGABYTES} GB or less, found more"))
    else:
        return 0
    sys.stdout.buffer.write(said.encode(errors="replace"))
    return REFUSED


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
