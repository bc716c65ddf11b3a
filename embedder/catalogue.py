"""Reading a catalogue: which photos show which item."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from embedder.errors import CatalogueError
from embedder.manifests import is_manifest, manifest_rows, root_of
from embedder.photo_names import is_photo


@dataclass(frozen=True)
class Catalogue:
    """Items and their photos.

    Attributes:
        source: the folder or manifest it was read from.
        items: item id to the paths of its photos; ids and photos in sorted order. An item may have
            no photo. Plain texts: `Path` objects, a million of them, would take three times
            the memory.
    """

    source: Path
    items: dict[str, tuple[str, ...]]

    @property
    def photo_count(self) -> int:
        """Photos over all items."""
        return sum(map(len, self.items.values()))

    def paths(self) -> Iterator[str]:
        """All photos, item by item."""
        return chain.from_iterable(self.items.values())

    def within(self, photos: Sequence[str]) -> list[str]:
        """Photos' paths within the catalogue: the same wherever the catalogue is moved to."""
        root = self._root
        start = len(root)
        # What is between two paths that begin with it in order begins with it too.
        if photos and min(photos).startswith(root) and max(photos).startswith(root):
            return [photo[start:] for photo in photos]
        return [
            photo[start:] if photo.startswith(root) else _relative(photo, root) for photo in photos
        ]

    @cached_property
    def _root(self) -> str:
        return os.path.join(root_of(self.source), "")  # noqa: PTH118


def read_catalogue(source: str | os.PathLike[str]) -> Catalogue:
    """Read a folder with one folder of photos an item, or a manifest with item_id and path.

    A folder's name is the item's id; photos may lie in folders below it. Hidden files, and files
    that are not photos by their ending, are left out. A manifest is a .csv or .parquet file, its
    paths are relative to it.

    Raises:
        CatalogueError: there is no such catalogue, or no item in it.
        MissingExtraError: .parquet without the extra [parquet].
    """
    path = Path(source)
    if path.is_dir():
        items = _read_folder(path)
    elif is_manifest(path):
        items = _read_manifest(path)
    else:
        raise _no_catalogue(path)
    return catalogue_of(path, items)


def catalogue_of(source: Path, items: dict[str, tuple[str, ...]]) -> Catalogue:
    """A catalogue of what was found at its source: ids as they are there, and paths in order.

    Raises:
        CatalogueError: an id is not one that a list can hold, or two are the same.
    """
    return Catalogue(source, _checked_ids(source, items))


def _no_catalogue(path: Path) -> CatalogueError:
    found = "a file that is neither" if path.exists() else "nothing"
    return CatalogueError(
        f"{path}: expected a folder with one folder of photos an item, or a .csv or .parquet "
        f"manifest (item_id,path); found {found}: 'embed sample DIR' makes one to try"
    )


def same_form(item_id: str) -> str:
    """An id in Unicode's composed form (NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", item_id)


def checked_id(name: str, where: str) -> str:
    """An item's id in its composed form.

    Args:
        name: the id as it was given.
        where: what an error names.

    Raises:
        CatalogueError: a list of candidates could not hold it.
    """
    item = same_form(name)
    if not is_listable(item):
        raise CatalogueError(
            f"{where}: expected an item id that a list can hold, found {name!r}: rename it "
            "(one line of text, no '#' in front, no space around it)"
        )
    return item


def is_listable(item_id: str) -> bool:
    """Whether a list of candidates can hold an id: as one line, with nothing lost around it."""
    # A byte order mark in front would be taken for that of the list.
    bare = item_id.strip() == item_id and not item_id.startswith(("#", "\ufeff"))
    # What can be printed ends no line, and is what ids are made of.
    one_line = item_id.isprintable() or not any(map(_ends_lines, item_id))
    return bool(item_id) and bare and one_line


def _ends_lines(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _checked_ids(source: Path, items: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    checked: dict[str, tuple[str, ...]] = {}
    for name in sorted(items):
        item = checked_id(name, str(source))
        if item in checked:
            raise CatalogueError(f"{source}: two items are called '{item}', in two Unicode forms")
        checked[item] = items[name]
    return dict(sorted(checked.items()))


def photo_states(photos: Sequence[str]) -> list[tuple[int, int]]:
    """What changes when a photo file does: size, and time of change in ns; -1 without a file."""
    try:
        return [(status.st_size, status.st_mtime_ns) for status in map(os.stat, photos)]
    except OSError:
        return [_state(photo) for photo in photos]


def _state(photo: str) -> tuple[int, int]:
    try:
        status = Path(photo).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _relative(photo: str, root: str) -> str:
    try:
        return os.path.relpath(photo, root)
    except ValueError:  # on another drive
        return photo


def _read_folder(root: Path) -> dict[str, tuple[str, ...]]:
    items = photos_in(item_folders(root))
    if not items:
        loose = any(is_photo(name.name) for name in root.iterdir())
        found = "photos but no folder" if loose else "no folder"
        found += ": put the photos of each item into a folder named by its id"
        raise CatalogueError(
            f"{root}: expected one folder of photos an item ({root}/<item id>/*.jpg), found {found}"
        )
    return items


def item_folders(root: Path) -> dict[str, str]:
    """The folders in a folder, in order: names, and paths; no hidden ones.

    Raises:
        CatalogueError: it cannot be read.
    """
    with _read_errors(), os.scandir(root) as entries:
        found = {e.name: e.path for e in entries if not e.name.startswith(".") and e.is_dir()}
    return dict(sorted(found.items()))


def photos_in(folders: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The paths of the photos of each item, in order: names and folders.

    Raises:
        CatalogueError: a folder cannot be read.
    """
    with _read_errors():
        return {name: tuple(sorted(photos_below(folder))) for name, folder in folders.items()}


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CatalogueError(f"{error.filename}: cannot be read: {error.strerror}") from error


def photos_below(folder: str) -> list[str]:
    """The paths of the photos in a folder and the folders in it, in no order; no hidden ones."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    inner = (entry.path for entry in shown if entry.is_dir(follow_symlinks=False))
    folders = dict.fromkeys(inner)  # in order, and quick to look up
    photos = [entry.path for entry in shown if is_photo(entry.name)]
    if folders:
        photos = [path for path in photos if path not in folders]
        photos += chain.from_iterable(map(photos_below, folders))
    return photos


def catalogue_rows(source: Path) -> Iterator[tuple[str, str | None]]:
    """The items and photos of a catalogue one by one, as they come: it is never held whole.

    Args:
        source: a catalogue, as `read_catalogue` takes it.

    Yields:
        an id, not checked yet, and a photo's path, of a manifest as it is there; None of an item
        without a photo. Items of a folder come in sorted order.

    Raises:
        CatalogueError: there is no such catalogue, or a line of the manifest is not as expected.
    """
    if is_manifest(source):
        yield from manifest_rows(source)
        return
    if not source.is_dir():
        raise _no_catalogue(source)
    for name, folder in item_folders(source).items():
        (photos,) = photos_in({name: folder}).values()
        yield from ((name, photo) for photo in photos or (None,))


def _read_manifest(manifest: Path) -> dict[str, tuple[str, ...]]:
    items: dict[str, list[str]] = {}
    for item_id, photo in manifest_rows(manifest):
        items.setdefault(item_id, []).append(str(manifest.parent / photo))
    if not items:
        raise CatalogueError(f"{manifest}: expected rows of item_id,path; found none")
    return {item_id: tuple(sorted(photos)) for item_id, photos in items.items()}
