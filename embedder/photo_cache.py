"""Training photos, decoded once into memory-mapped files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.advice import with_advice
from embedder.backgrounds import Mask, prepare_masked
from embedder.catalogue import Catalogue, photo_states
from embedder.errors import PhotoError, TrainingError
from embedder.parallel import ordered_map
from embedder.photos import Pixels, prepare

_PIXELS = "photos.u8"
_MASKS = "masks.u8"
_CONTENTS = "photos.json"
_UNREADABLE = [int, str, str]  # its number among the photos, its path, why


@dataclass(frozen=True)
class PhotoCache:
    """The readable photos of a catalogue, prepared.

    Attributes:
        folder: where the prepared photos lie.
        size: their side.
        labels: int64 (photos,), positions in `items`.
        items: the ids of the items with a readable photo.
        unreadable: what could not be read, and why.
        key: changes when any photo or the size does.
        mask_rows: int64 (photos,), the row of each photo in `masks`; -1 for one without.
        pictures: uint8 (pictures, side, side, 3) to put behind items; empty for other photos.
    """

    folder: Path
    size: int
    labels: npt.NDArray[np.int64]
    items: tuple[str, ...]
    unreadable: tuple[PhotoError, ...]
    key: str
    mask_rows: npt.NDArray[np.int64]
    pictures: Pixels = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))

    # Mapped anew at each use: what was read is then given back, so that a training on more photos
    # than fit into memory stays at a steady size.
    @property
    def pixels(self) -> Pixels:
        """uint8 (photos, size, size, 3), read from the disk as needed; cannot be changed."""
        return _mapped(self.folder / _PIXELS, (len(self.labels), self.size, self.size, 3))

    @property
    def masks(self) -> Mask:
        """uint8 (photos on a plain or transparent background, size, size).

        0 behind the item to 255; none unless asked for.
        """
        masked = int((self.mask_rows >= 0).sum())
        return _mapped(self.folder / _MASKS, (masked, self.size, self.size))


def open_cache(
    catalogue: Catalogue,
    size: int,
    folder: Path,
    on_decoded: Callable[[int, int], None] = lambda done, total: None,
    masks: bool = False,
) -> PhotoCache:
    """Decode a catalogue into `folder`, or take what an earlier call left there if it still fits.

    Args:
        catalogue: whose photos.
        size: side of the prepared photos.
        folder: where the cache lies; made if needed.
        on_decoded: called with (photos done, photos in all).
        masks: whether to look for plain and transparent backgrounds.

    Raises:
        TrainingError: the cache cannot be written, for instance because the disk is full.
    """
    key = cache_key(catalogue, size, masks)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = _read_contents(folder / _CONTENTS)
        if contents.get("key") != key or not _is_whole(catalogue, size, folder, contents):
            contents = {"key": key, **_decode(catalogue, size, folder, on_decoded, masks)}
            (folder / _CONTENTS).write_text(json.dumps(contents), encoding="utf-8")
    except OSError as error:
        where = error.filename or folder
        raise TrainingError(f"{where}: cannot keep decoded photos: {with_advice(error)}") from error
    return _map(catalogue, size, folder, contents)


def cache_key(catalogue: Catalogue, size: int, masks: bool = False) -> str:
    """A text that changes when any photo, the size, or what is kept does."""
    digest = hashlib.sha256(f"{size} {masks}\n".encode())
    for item, photos in catalogue.items.items():
        digest.update(repr((item, photos, photo_states(photos))).encode())
    return digest.hexdigest()


def _read_contents(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _is_whole(catalogue: Catalogue, size: int, folder: Path, contents: dict[str, Any]) -> bool:
    unreadable, masked = contents.get("unreadable"), contents.get("masked")
    if not isinstance(unreadable, list) or not isinstance(masked, list):
        return False
    if not all(isinstance(one, list) and list(map(type, one)) == _UNREADABLE for one in unreadable):
        return False
    readable = catalogue.photo_count - len(unreadable)
    if not all(type(at) is int and 0 <= at < readable for at in masked):
        return False
    if len({at for at, _, _ in unreadable} & set(range(catalogue.photo_count))) < len(unreadable):
        return False
    lengths = {_PIXELS: readable * size * size * 3, _MASKS: len(masked) * size * size}
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == length
        for name, length in lengths.items()
    )


def _decode(
    catalogue: Catalogue,
    size: int,
    folder: Path,
    on_decoded: Callable[[int, int], None],
    masks: bool,
) -> dict[str, list[Any]]:
    def decode(path: str) -> tuple[Pixels, Mask | None] | PhotoError:
        try:
            return prepare_masked(path, size) if masks else (prepare(path, size), None)
        except PhotoError as error:
            return error

    unreadable: list[tuple[int, str, str]] = []
    masked: list[int] = []  # positions among the readable photos
    for name in (_CONTENTS, _PIXELS, _MASKS):  # rather than change a file that may be mapped
        (folder / name).unlink(missing_ok=True)
    # Written, not mapped: a full disk is then an error here instead of a signal that kills.
    with (folder / _PIXELS).open("wb") as pixels, (folder / _MASKS).open("wb") as covers:
        for position, photo in enumerate(ordered_map(decode, catalogue.paths())):
            if isinstance(photo, PhotoError):
                unreadable.append((position, photo.photo, photo.reason))
            else:
                pixels.write(photo[0].tobytes())
                if photo[1] is not None:
                    covers.write(photo[1].tobytes())
                    masked.append(position - len(unreadable))
            on_decoded(position + 1, catalogue.photo_count)
    return {"unreadable": unreadable, "masked": masked}


def _map(catalogue: Catalogue, size: int, folder: Path, contents: dict[str, Any]) -> PhotoCache:
    errors = {int(at): PhotoError(name, why) for at, name, why in contents["unreadable"]}
    owners = [item for item, photos in catalogue.items.items() for _ in photos]
    readable = [item for at, item in enumerate(owners) if at not in errors]
    items = tuple(dict.fromkeys(readable))
    numbers = {item: number for number, item in enumerate(items)}
    labels = np.array([numbers[item] for item in readable], dtype=np.int64)
    mask_rows = np.full(len(readable), -1, dtype=np.int64)
    mask_rows[np.array(contents["masked"], dtype=np.int64)] = range(len(contents["masked"]))
    unreadable = tuple(errors.values())
    return PhotoCache(folder, size, labels, items, unreadable, contents["key"], mask_rows)


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels:
    if not shape[0]:  # an empty file cannot be mapped
        return np.zeros(shape, dtype=np.uint8)
    return np.memmap(path, np.uint8, "r", shape=shape)
