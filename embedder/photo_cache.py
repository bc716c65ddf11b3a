"""Training photos, decoded once into a memory-mapped file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue, photo_state
from embedder.errors import PhotoError, TrainingError
from embedder.parallel import ordered_map
from embedder.photos import Pixels, prepare

_PIXELS = "photos.u8"
_CONTENTS = "photos.json"


@dataclass(frozen=True)
class PhotoCache:
    """The readable photos of a catalogue, prepared.

    Attributes:
        pixels: uint8 (photos, size, size, 3), read from the disk as needed.
        labels: int64 (photos,), positions in `items`.
        items: the ids of the items with a readable photo.
        unreadable: what could not be read, and why.
        key: changes when any photo or the size does.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    items: tuple[str, ...]
    unreadable: tuple[PhotoError, ...]
    key: str


def open_cache(
    catalogue: Catalogue,
    size: int,
    folder: Path,
    on_decoded: Callable[[int, int], None] = lambda done, total: None,
) -> PhotoCache:
    """Decode a catalogue into `folder`, or take what an earlier call left there if it still fits.

    Args:
        catalogue: whose photos.
        size: side of the prepared photos.
        folder: where the cache lies; made if needed.
        on_decoded: called with (photos done, photos in all).

    Raises:
        TrainingError: the cache cannot be written, for instance because the disk is full.
    """
    key = cache_key(catalogue, size)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = _read_contents(folder / _CONTENTS)
        if contents.get("key") != key or not _is_whole(catalogue, size, folder, contents):
            contents = {"key": key, "unreadable": _decode(catalogue, size, folder, on_decoded)}
            (folder / _CONTENTS).write_text(json.dumps(contents), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{folder}: cannot keep decoded photos: {error.strerror}") from error
    return _map(catalogue, size, folder, contents["unreadable"], key)


def cache_key(catalogue: Catalogue, size: int) -> str:
    """A text that changes when any photo, or the size, does."""
    digest = hashlib.sha256(f"{size}\n".encode())
    for item, photos in catalogue.items.items():
        for path in photos:
            digest.update(f"{item!r} {os.fspath(path)!r} {photo_state(path)}\n".encode())
    return digest.hexdigest()


def _read_contents(path: Path) -> dict[str, object]:
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _is_whole(catalogue: Catalogue, size: int, folder: Path, contents: dict[str, object]) -> bool:
    unreadable = contents.get("unreadable")
    if not isinstance(unreadable, list) or not (folder / _PIXELS).is_file():
        return False
    readable = catalogue.photo_count - len(unreadable)
    return (folder / _PIXELS).stat().st_size == readable * size * size * 3


def _decode(
    catalogue: Catalogue, size: int, folder: Path, on_decoded: Callable[[int, int], None]
) -> list[tuple[int, str, str]]:
    def decode(path: Path) -> Pixels | PhotoError:
        try:
            return prepare(path, size)
        except PhotoError as error:
            return error

    unreadable: list[tuple[int, str, str]] = []
    (folder / _CONTENTS).unlink(missing_ok=True)
    (folder / _PIXELS).unlink(missing_ok=True)  # rather than change a file that may be mapped
    # Written, not mapped: a full disk is then an error here instead of a signal that kills.
    with (folder / _PIXELS).open("wb") as file:
        for position, photo in enumerate(ordered_map(decode, catalogue.paths())):
            if isinstance(photo, PhotoError):
                unreadable.append((position, photo.photo, photo.reason))
            else:
                file.write(photo.tobytes())
            on_decoded(position + 1, catalogue.photo_count)
    return unreadable


def _map(catalogue: Catalogue, size: int, folder: Path, unreadable: object, key: str) -> PhotoCache:
    errors = {int(at): PhotoError(name, why) for at, name, why in unreadable}  # type: ignore[attr-defined]
    owners = [item for item, photos in catalogue.items.items() for _ in photos]
    readable = [item for at, item in enumerate(owners) if at not in errors]
    items = tuple(dict.fromkeys(readable))
    numbers = {item: number for number, item in enumerate(items)}
    labels = np.array([numbers[item] for item in readable], dtype=np.int64)
    shape = (len(readable), size, size, 3)
    if not readable:
        pixels: Pixels = np.zeros(shape, dtype=np.uint8)
    else:
        pixels = np.memmap(folder / _PIXELS, np.uint8, "r", shape=shape)
    return PhotoCache(pixels, labels, items, tuple(errors.values()), key)
