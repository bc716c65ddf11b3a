"""What a service is told when it starts."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from embedder.parallel import default_jobs
from index.places import Place

_FEWEST_CHARACTERS = 16  # of a token: it must not be guessed


@dataclass(frozen=True)
class Settings:
    """Of a service.

    Attributes:
        index: the index file, or the URL of a database.
        model: the model folder, or the file of another network.
        token: that requests must bear; none is asked for unless given.
        write_token: that adding and removing must bear; they are refused unless given.
        photos: the most of one request.
        photo_bytes: the most of one photo.
        body_bytes: the most of a request.
        pixels: the most of one photo.
        queue: the most requests that are worked on or wait for that.
        jobs: processes that embed photos.
    """

    index: Place
    model: Path
    token: str | None = None
    write_token: str | None = None
    photos: int = 100
    photo_bytes: int = 20_000_000
    body_bytes: int = 64_000_000
    pixels: int = 50_000_000
    queue: int = 32
    jobs: int = default_jobs()

    @property
    def memory(self) -> int:
        """The most bytes that all requests together may hold."""
        return 4 * self.body_bytes


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_token(given: str, expected: str | None) -> bool:
    """Compare tokens; how long that takes says nothing about where they differ."""
    return expected is not None and hmac.compare_digest(given.encode(), expected.encode())


def weakness(token: str) -> str | None:
    """What is wrong with a token that was chosen, in a few words."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "expected a token of ASCII characters without blanks, found others"
    if len(token) < _FEWEST_CHARACTERS:
        return f"expected a token of {_FEWEST_CHARACTERS} characters or more, found {len(token)}"
    return None
