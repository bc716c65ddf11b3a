"""What changes when photo files do: their states, and of an item's photos a signature."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Sequence
from itertools import chain

from embedder.catalogue import Catalogue, photo_states

# A file that was changed in the last moments may change again without its time telling.
_SETTLED_AFTER_NS = 2_000_000_000
_EARLIEST = -(2**63)  # that SQLite can hold: some file systems know the Middle Ages

State = tuple[int, int]


def settled_states(photos: Sequence[str]) -> list[State]:
    """Sizes and times of change of photo files, to compare with those of an earlier build.

    A file that was changed just before gets the present time instead of its own, and so is looked
    at again next time; as is one whose time is no 64-bit number.
    """
    now = time.time_ns()
    settled = now - _SETTLED_AFTER_NS
    return [
        state if _EARLIEST < state[1] < settled else (state[0], now)
        for state in photo_states(photos)
    ]


def signatures_of(catalogue: Catalogue) -> dict[str, bytes]:
    """Of each item, what changes when its photo files do: 16 bytes."""
    return {item: signature_now(catalogue, photos) for item, photos in catalogue.items.items()}


def signature_now(catalogue: Catalogue, photos: Sequence[str]) -> bytes:
    """`signature` of some photos of a catalogue, by their files as they are now."""
    return signature(catalogue.within(photos), settled_states(photos))


def signature(names: Sequence[str], states: Sequence[State]) -> bytes:
    """Of an item, by what its photos are called in the catalogue and the states of their files."""
    # There may be a million of them: `repr` of all takes twice as long. No name holds a NUL.
    called = "\0".join(names).encode(errors="surrogatepass")
    numbers = struct.pack(f"={2 * len(states)}q", *chain.from_iterable(states))
    return hashlib.blake2b(called + numbers, digest_size=16).digest()
