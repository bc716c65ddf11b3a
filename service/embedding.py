"""In a process that embeds photos for the server: it does what it is sent, one photo at a time."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from PIL import PngImagePlugin

from embedder import Embedder, EmbedError, ModelError, Photo, PhotoError
from embedder.inference import Vector
from embedder.photos import take_turns
from embedder.quiet import native_output_silenced

TURN = "a large photo is to be decoded"

_BEHIND = 10  # a "nice" value

# Of the texts in a PNG, unpacked. Pillow's own limit takes 0.1 s to reach.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000


def embed_what_comes(server: Connection, pixels: int) -> None:
    """Answer until the server hangs up, or is no more.

    First comes an `Embedder`, whose answer is None; then lists of photos with their names, whose
    answers are those of `Embedder.embed_one`; an `EmbedError` where there is none. Before a large
    photo `TURN` is sent, and anything is to come back.

    Args:
        server: the other end.
        pixels: the most of one photo.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server hangs up
    if sys.platform == "linux":
        _give_way()
    take_turns(_Turn(server))
    with suppress(EOFError, OSError):
        model: Embedder = server.recv()
        server.send(_loaded(model))
        while True:
            server.send(_embedded(model, server.recv(), pixels))


def _loaded(model: Embedder) -> EmbedError | None:
    try:
        with native_output_silenced():
            model.warm_up()
    except EmbedError as error:
        return ModelError(str(error))
    return None


def _embedded(
    model: Embedder, part: list[tuple[Photo, str]], pixels: int
) -> list[Vector | PhotoError] | EmbedError:
    try:
        return [model.embed_one(photo, name, pixels) for photo, name in part]
    except EmbedError as error:
        return ModelError(str(error))


class _Turn:
    """Held while one large photo is decoded; the server gives it back when it has the answer."""

    def __init__(self, server: Connection) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.send(TURN)
        self._server.recv()

    def __exit__(self, *exception: object) -> None:
        pass


def _give_way() -> None:
    """Let the server have the processor before this process.

    Photos keep all cores busy; a request that is refused is to hear of that at once.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(_BEHIND, os.getpriority(os.PRIO_PROCESS, 0)))
