"""The pictures of a report: small JPEGs that lie in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from embedder.errors import IndexFileError, PhotoError
from embedder.parallel import ordered_map
from embedder.photos import Photo, flat, opened
from index.stores import AnyStore

# So many pictures take 15 MB at the larger size; 4,000 take 30 MB at the smaller one, which still
# is more than a card of a matched photo shows.
_MANY = 1000
_LARGE, _SMALL = 240, 160
_QUALITY = 70


class Picture(NamedTuple):
    """A photo made small.

    Attributes:
        uri: a JPEG as a `data:` address.
        width: in pixels.
        height: in pixels.
    """

    uri: str
    width: int
    height: int


Drawn = Picture | PhotoError  # a picture, or why there is none


def side_of(pictures: int) -> int:
    """How many pixels the longer side of so many pictures has: the page must not grow too large."""
    return _LARGE if pictures <= _MANY else _SMALL


def shrunk(photo: Photo, side: int, most: int | None = None) -> tuple[bytes, int, int]:
    """A photo made small and upright: a JPEG, its width and its height.

    Args:
        photo: in any form.
        side: the most pixels of its longer side; a smaller photo stays as it is.
        most: pixels that it may have; as many as any photo unless given.

    Raises:
        PhotoError: it cannot be read.
    """
    with opened(photo, side, most=most) as image:
        small = flat(image)
        small.thumbnail((side, side))
        content = io.BytesIO()
        # What a camera says about itself, and where it was, stays out of the report.
        small.info.clear()
        small.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue(), *small.size


def thumbnail(photo: Photo, side: int, most: int | None = None) -> Drawn:
    """A photo as `shrunk` makes it, or why it cannot be."""
    try:
        content, width, height = shrunk(photo, side, most)
    except PhotoError as error:
        return error
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}", width, height)


def thumbnails(
    photos: Sequence[str], side: int, jobs: int | None, on_done: Callable[[], None]
) -> dict[str, Drawn]:
    """Photos made small, by their paths, or why they cannot be."""
    found = {}
    drawn = ordered_map(partial(thumbnail, side=side), photos, jobs)
    for path, picture in zip(photos, drawn, strict=True):
        found[path] = picture
        on_done()
    return found


def reference_pictures(
    store: AnyStore, ids: Sequence[str], side: int, jobs: int | None, on_done: Callable[[], None]
) -> dict[str, Drawn]:
    """A picture of each item, or why there is none."""
    places = _places(store, ids)
    there = [item_id for item_id in ids if item_id in places]
    found: dict[str, Drawn] = {}
    draw = partial(thumbnail, side=side)
    pictures = ordered_map(draw, (places[item_id] for item_id in there), jobs)
    for item_id, picture in zip(there, pictures, strict=True):
        found[item_id] = picture
        on_done()
    for item_id in ids:
        if item_id not in found:
            found[item_id] = PhotoError(item_id, "its row in the index is damaged: 'embed verify'")
            on_done()
    return found


def _places(store: AnyStore, ids: Iterable[str]) -> dict[str, Path]:
    """Where the reference photos are, of those items whose rows are whole."""
    wanted = list(ids)
    try:
        return store.references(wanted)
    except IndexFileError:  # a match does not look at that part of a row: it has come out well
        found: dict[str, Path] = {}
        for item_id in wanted:
            with suppress(IndexFileError):
                found |= store.references([item_id])
        return found
