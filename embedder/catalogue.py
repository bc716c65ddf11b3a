"""Reading a catalogue: which photos show which item."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from embedder.errors import CatalogueError
from embedder.photos import PHOTO_SUFFIXES


@dataclass(frozen=True)
class Catalogue:
    """Items and their photos.

    Attributes:
        source: the folder or manifest it was read from.
        items: item id to its photos; ids and photos in sorted order. An item may have no photo.
    """

    source: Path
    items: dict[str, tuple[Path, ...]]

    @property
    def photo_count(self) -> int:
        """Photos over all items."""
        return sum(map(len, self.items.values()))

    def paths(self) -> Iterator[Path]:
        """All photos, item by item."""
        return chain.from_iterable(self.items.values())


def read_catalogue(source: str | os.PathLike[str]) -> Catalogue:
    """Read a folder with one folder of photos an item, or a CSV manifest `item_id,path`.

    A folder's name is the item's id; photos may lie in folders below it. Hidden files, and files
    that are not photos by their ending, are left out. A manifest's paths are relative to it.

    Raises:
        CatalogueError: there is no such catalogue, or no item in it.
    """
    path = Path(source)
    if path.is_dir():
        items = _read_folder(path)
    elif path.suffix.lower() == ".csv" and path.is_file():
        items = _read_manifest(path)
    else:
        found = "a file that is neither" if path.exists() else "nothing"
        raise CatalogueError(
            f"{path}: expected a folder with one folder of photos an item, or a .csv manifest "
            f"(item_id,path); found {found}"
        )
    return Catalogue(path, _checked_ids(path, items))


def same_form(item_id: str) -> str:
    """An id in Unicode's composed form (NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", item_id)


def _checked_ids(source: Path, items: dict[str, list[Path]]) -> dict[str, tuple[Path, ...]]:
    checked: dict[str, tuple[Path, ...]] = {}
    for name in sorted(items):
        item = same_form(name)
        odd = any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in item)
        if odd or item != item.strip() or item.startswith("#"):
            raise CatalogueError(
                f"{source}: expected an item id that a list can hold, found {name!r}: rename it "
                "(one line of text, no '#' in front, no space around it)"
            )
        if item in checked:
            raise CatalogueError(f"{source}: two items are called '{item}', in two Unicode forms")
        checked[item] = tuple(sorted(items[name]))
    return dict(sorted(checked.items()))


def photo_state(photo: Path) -> str:
    """A text that changes when a photo file does: its size and time of change."""
    try:
        status = photo.stat()
    except OSError:
        return "unreadable"
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_folder(root: Path) -> dict[str, list[Path]]:
    try:
        folders = [e for e in os.scandir(root) if e.is_dir() and not e.name.startswith(".")]
        items = {folder.name: _photos_below(folder.path) for folder in folders}
    except OSError as error:
        raise CatalogueError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if not items:
        loose = any(_is_photo(name.name) for name in root.iterdir())
        found = "photos but no folder" if loose else "no folder"
        raise CatalogueError(
            f"{root}: expected one folder of photos an item ({root}/<item id>/*.jpg), found {found}"
        )
    return items


def _photos_below(folder: str) -> list[Path]:
    photos: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                photos += _photos_below(entry.path)
            elif _is_photo(entry.name):
                photos.append(Path(entry.path))
    return photos


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122 (a million names)


def _read_manifest(manifest: Path) -> dict[str, list[Path]]:
    items: dict[str, list[Path]] = {}
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            if [name.strip() for name in header[:2]] != ["item_id", "path"]:
                found = " ".join(",".join(header).split()) or "nothing"
                raise CatalogueError(f"{manifest}:1: expected 'item_id,path', found '{found}'")
            for row in rows:
                if not row:
                    continue
                if len(row) < 2 or not row[0].strip() or not row[1].strip():
                    where = f"{manifest}:{rows.line_num}"
                    raise CatalogueError(f"{where}: expected 'item_id,path', found {row}")
                items.setdefault(row[0].strip(), []).append(manifest.parent / row[1].strip())
    except csv.Error as error:
        raise CatalogueError(f"{manifest}:{rows.line_num}: not valid CSV: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{manifest}: cannot be read as UTF-8 text: {error}") from error
    if not items:
        raise CatalogueError(f"{manifest}: expected rows of item_id,path; found none")
    return items
