"""Mistakes planted into a catalogue: photos under another item's id, copies, and useless photos.

Which photos, what is done with them and where they go follows from the seed. What was done is
written to a CSV file, to measure `embed audit` with.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from embedder import read_catalogue

UNDER_ANOTHER_ITEM = 0.25  # of the copies

_Random = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A photo that was moved or added.

    Attributes:
        kind: "swapped", "copy" or "outlier".
        photo: within the polluted catalogue.
        item_id: the item it is filed under.
        true_item: the item it shows; "" of a photo of something else.
        of: the photo that it is a copy of; "" of others.
        how: what was done to the photo.
    """

    kind: str
    photo: str
    item_id: str
    true_item: str
    of: str
    how: str


def plant(
    source: Path, folder: Path, truth: Path, share: float, foreign: Sequence[Path], seed: int
) -> list[Planted]:
    """Copy a catalogue with mistakes in it.

    Args:
        source: the catalogue: a folder of folders of JPEGs.
        folder: where the polluted one is written.
        truth: where it is written what was planted.
        share: of the photos that are swapped, of those that get a copy, and half as many
            the outliers that are added: foreign photos, black ones and blurred ones.
        foreign: photos of other things.
        seed: decides which.
    """
    rng = np.random.default_rng([seed, 20])
    catalogue = read_catalogue(source)
    photos = [(item, Path(path)) for item, paths in catalogue.items.items() for path in paths]
    ids = list(catalogue.items)
    count = round(share * len(photos))
    chosen = rng.permutation(len(photos))
    swapped, copied = chosen[:count], chosen[count : 2 * count]
    planted = []
    places = [item for item, _ in photos]
    for at in swapped:
        places[at] = _other(ids, places[at], rng)
    for at, ((item, path), place) in enumerate(zip(photos, places, strict=True)):
        target = folder / place / _name(path, at)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if place != item:
            found = str(target.relative_to(folder))
            planted.append(Planted("swapped", found, place, item, "", ""))
    for number, at in enumerate(copied):
        item, path = photos[at]
        place = _other(ids, item, rng) if rng.random() < UNDER_ANOTHER_ITEM else item
        how = list(CHANGES)[number % len(CHANGES)]
        target = folder / place / f"c{number:05d}.jpg"
        target.write_bytes(CHANGES[how](path.read_bytes(), rng))
        of = Path(item, _name(path, at))
        found = str(target.relative_to(folder))
        planted.append(Planted("copy", found, place, item, str(of), how))
    for number in range(count // 2):
        place, at = str(rng.choice(ids)), int(rng.integers(len(photos)))
        how = ("foreign", "black", "foreign", "blurred")[number % 4]
        target = folder / place / f"o{number:05d}.jpg"
        if how == "foreign":
            content = foreign[int(rng.integers(len(foreign)))].read_bytes()
        else:
            content = _USELESS[how](photos[at][1].read_bytes())
        target.write_bytes(content)
        planted.append(Planted("outlier", str(target.relative_to(folder)), place, "", "", how))
    with truth.open("w", newline="") as file:
        writer = csv.DictWriter(file, [part.name for part in fields(Planted)])
        writer.writeheader()
        writer.writerows(map(asdict, planted))
    return planted


def read_planted(truth: Path) -> list[Planted]:
    """What `plant` wrote."""
    with truth.open(newline="") as file:
        return [Planted(**row) for row in csv.DictReader(file)]


def _name(path: Path, at: int) -> str:
    return f"p{at:06d}{path.suffix}"  # says nothing about the item


def _other(ids: list[str], item: str, rng: _Random) -> str:
    return str(rng.choice([other for other in ids if other != item]))


def _as_jpeg(image: Image.Image, quality: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _same_bytes(content: bytes, rng: _Random) -> bytes:
    return content


def _encoded_again(content: bytes, rng: _Random) -> bytes:
    return _as_jpeg(_opened(content), int(rng.integers(50, 90)))


def _smaller(content: bytes, rng: _Random) -> bytes:
    image = _opened(content)
    scale = float(rng.uniform(0.5, 0.9))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return _as_jpeg(image.resize(size, Image.Resampling.LANCZOS), 85)


def _brighter_or_darker(content: bytes, rng: _Random) -> bytes:
    amount = float(rng.choice([0.9, 1.1]))
    return _as_jpeg(ImageEnhance.Brightness(_opened(content)).enhance(amount), 90)


def _cropped(content: bytes, rng: _Random) -> bytes:
    """Without 2 % of its width and of its height."""
    image = _opened(content)
    width, height = round(0.98 * image.width), round(0.98 * image.height)
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return _as_jpeg(image.crop((left, top, left + width, top + height)), 90)


def _black(content: bytes) -> bytes:
    return _as_jpeg(ImageEnhance.Brightness(_opened(content)).enhance(0.04), 85)


def _blurred(content: bytes) -> bytes:
    image = _opened(content)
    return _as_jpeg(image.filter(ImageFilter.GaussianBlur(max(image.size) / 12)), 85)


_USELESS = {"black": _black, "blurred": _blurred}
CHANGES: dict[str, Callable[[bytes, _Random], bytes]] = {
    "same bytes": _same_bytes,
    "encoded again": _encoded_again,
    "smaller": _smaller,
    "brighter or darker": _brighter_or_darker,
    "cropped by 2 %": _cropped,
}
