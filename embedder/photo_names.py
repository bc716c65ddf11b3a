"""Which files are photos, by their names; what is in them is not looked at."""

from __future__ import annotations

import os
from pathlib import Path

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif", ".hif"),
)


def is_photo(name: str) -> bool:
    """Whether a file's name ends as that of a photo."""
    return name.lower().endswith(PHOTO_SUFFIXES)


def list_photos(folder: Path) -> list[Path]:
    """The photo files directly in a folder, by name; hidden files and other files are left out.

    What is called like a photo and cannot be read is among them, so that somebody hears of it.
    """
    return sorted(
        path
        for path in folder.iterdir()
        # Not path.is_dir(), which raises where it may not look.
        if not path.name.startswith(".") and not os.path.isdir(path)  # noqa: PTH112
        if is_photo(path.name)
    )
