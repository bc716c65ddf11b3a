"""What `embed match` was asked to match: files, folders, objects of several photos."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from index import Views

_NAME = "name some at the end of the command"
_KINDS = "their names have to end in .jpg, .png or the like"


def objects_in(paths: Sequence[Path], views: int | None) -> list[Path | Views]:
    """The photos of files, folders and CSV files, those of one object together.

    Args:
        paths: as given by the user.
        views: so many photos that follow each other by name show one object.

    Raises:
        click.ClickException: there is no photo, or a CSV file is not as expected.
    """
    from index import Views

    if not paths:
        raise click.ClickException(
            f"expected photos or folders of photos to match, found none: {_NAME}"
        )
    objects: list[Path | Views] = []
    for path in paths:
        if path.is_dir():
            with _folder_errors():
                objects += _in_folder(path)
        elif path.suffix.lower() == ".csv":
            objects += _in_csv(path)
        else:
            objects.append(path)
    if views is None:
        return objects
    single = sorted(entry for entry in objects if isinstance(entry, Path))
    if len(single) < len(objects):
        raise click.ClickException(
            "--views cannot be used with folders or groups of one object: leave it out"
        )
    if len(single) % views:
        raise click.ClickException(
            f"--views {views}: expected a multiple of {views} photos, found {len(single)}: "
            "add or leave out some, or put those of each object into a folder"
        )
    parts = (tuple(single[at : at + views]) for at in range(0, len(single), views))
    return [Views(str(some[0]), some) for some in parts]


def photos_of_item(paths: Sequence[Path]) -> list[str]:
    """The photos of files and folders, all of one item.

    Raises:
        click.ClickException: there is none.
    """
    from embedder.catalogue import photos_below

    photos: list[str] = []
    for path in paths:
        with _folder_errors():
            found = sorted(photos_below(str(path))) if path.is_dir() else [str(path)]
        if not found:
            raise click.ClickException(f"{path}: expected photos, found none: {_KINDS}")
        photos += found
    if not photos:
        raise click.ClickException(
            f"expected photos or folders of photos of the item, found none: {_NAME}"
        )
    return photos


@contextmanager
def _folder_errors() -> Iterator[None]:
    """A folder that may not be listed: its photos would be left out without a word."""
    try:
        yield
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        raise click.ClickException(f"{error.filename}: {why}") from error


def _in_folder(folder: Path) -> list[Path | Views]:
    """The photos in a folder, and each folder in it as one object."""
    from embedder.photo_names import list_photos
    from index import Views

    objects: list[Path | Views] = [*list_photos(folder)]
    for inner in sorted(folder.iterdir()):
        photos = list_photos(inner) if _is_object(inner) else []
        if photos:
            objects.append(Views(str(inner), tuple(photos)))
    if not objects:
        raise click.ClickException(f"{folder}: expected photos, found none: {_KINDS}")
    return objects


def _is_object(inner: Path) -> bool:
    """Whether something in a folder of photos is a folder, and no link back to it or above it."""
    if inner.name.startswith(".") or not os.path.isdir(inner):  # noqa: PTH112 - as in list_photos
        return False
    return not inner.parent.resolve().is_relative_to(inner.resolve())


def _in_csv(file: Path) -> list[Path | Views]:
    """Photos by the columns `photo` and `group`; paths are relative to the file's folder."""
    from index import Views

    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns, rows = reader.fieldnames or [], list(reader)
    except FileNotFoundError:
        raise click.ClickException(
            f"{file}: expected a CSV file of photos, found none: name another"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{file}: cannot be read as CSV: {error}") from error
    if "photo" not in columns:
        raise click.ClickException(
            f"{file}: expected a column 'photo', found {', '.join(columns) or 'nothing'}: "
            "name the columns in the first line"
        )
    groups: dict[str, list[Path]] = {}
    for number, row in enumerate(rows, start=2):
        photo, group = (row["photo"] or "").strip(), (row.get("group") or "").strip()
        if not photo:
            raise click.ClickException(f"{file}:{number}: expected the path of a photo, found none")
        # A photo without a group is an object by itself, whatever others are called.
        groups.setdefault(group or f"{number}\0", []).append(file.parent / photo)
    if not groups:
        raise click.ClickException(f"{file}: expected photos, found none: write one a line")
    return [
        photos[0] if name.endswith("\0") else Views(name, tuple(photos))
        for name, photos in groups.items()
    ]
