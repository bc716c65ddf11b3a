"""In a process that embeds photos for the server: what it does, one photo after another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.synchronize import Barrier

import numpy as np
from PIL import PngImagePlugin

from embedder import Embedder, EmbedError, Photo, PhotoError
from embedder.inference import Vector
from embedder.quiet import native_output_silenced

_BEHIND = 10  # a "nice" value

# Of the texts in a PNG, unpacked. Pillow's own limit takes 0.1 s to reach.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000

_model: Embedder
_pixels: int
_together: Barrier


def begin(model: Embedder, pixels: int, together: Barrier) -> None:
    """Make this process ready, before anything else.

    Args:
        model: that embeds.
        pixels: the most of one photo.
        together: of all processes.
    """
    global _model, _pixels, _together
    _model, _pixels, _together = model, pixels, together
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server ends them
    threading.Thread(target=_end_with_server, daemon=True).start()
    if sys.platform == "linux":
        _give_way()
    with native_output_silenced(), suppress(EmbedError):  # it is said when it is asked to embed
        model.warm_up()


def embed_one() -> None:
    """Embed a grey photo, once all processes do so: each has loaded the model then.

    Raises:
        ModelError: it cannot be loaded.
    """
    _together.wait()
    size = _model.info.architecture.size
    _model.embed_pixels(np.full((size, size, 3), 128, np.uint8))


def embed_few(part: list[tuple[Photo, str]]) -> list[Vector | PhotoError]:
    """Embed photos with their names, as `Embedder.embed_one` does."""
    return [_model.embed_one(photo, name, _pixels) for photo, name in part]


def _give_way() -> None:
    """Let the server have the processor before this process.

    Photos keep all cores busy; a request that is refused is to hear of that at once.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(_BEHIND, os.getpriority(os.PRIO_PROCESS, 0)))


def _end_with_server() -> None:
    """A server that was killed ends nobody."""
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(1)
