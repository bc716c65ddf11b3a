"""From a photo in any form to the square uint8 array that the network sees.

`prepare` is the only way in, for training and for matching alike, so that a photo looks the same
to both.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from embedder.errors import PhotoError
from embedder.photo_formats import open_image, refuse_pixels

Photo = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]
"""A path, the bytes of an image file, a PIL image, or an RGB array (height, width, 3) of uint8."""

Pixels = npt.NDArray[np.uint8]

MAX_FILE_BYTES = 500_000_000  # they are read as a whole

# The mean colour of ImageNet: what the padding of a photo that is not square, and what lies
# behind transparent pixels, should not stand out from.
FILL = (124, 116, 104)

# The few that are larger once decoded take 0.4 to 1.5 GB each, so they take turns.
_LARGE_PIXELS = 30_000_000
_one_large: AbstractContextManager[object] = threading.RLock()
_PIXELS_AT_ONCE = 1 << 20

_ORIENTATION = 0x0112
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def photo_name(photo: Photo, position: int = 0) -> str:
    """A name for messages: the path, or `photo 3` for the third (position 2) without a path."""
    if isinstance(photo, str | os.PathLike):
        # A file name may hold bytes that are not Unicode, which no output can show.
        return os.fspath(photo).encode(errors="replace").decode()
    return f"photo {position + 1}"


def prepare(photo: Photo, size: int, name: str | None = None, most: int | None = None) -> Pixels:
    """Decode a photo, turn it upright, and fit it into a square without changing its proportions.

    Args:
        photo: a path, file bytes, PIL image, or uint8 array (height, width, 3).
        size: side of the square in pixels.
        name: what to call the photo in an error, if it has no path.
        most: pixels that it may have as it is, before a JPEG is decoded at a smaller size.

    Returns:
        uint8 array (size, size, 3), RGB, padded with `FILL` where the photo is not square.

    Raises:
        PhotoError: it cannot be decoded, or has more than `MAX_DECODED_PIXELS`.
    """
    with opened(photo, size, name, most) as image:
        return np.asarray(pad(scaled(flat(image), size), size, FILL))


@contextmanager
def opened(
    photo: Photo, size: int, name: str | None = None, most: int | None = None
) -> Iterator[Image.Image]:
    """A photo as an upright PIL image, RGB or (where pixels are transparent) RGBA.

    Args:
        photo: in any of the forms of `Photo`.
        size: JPEGs are decoded no larger than this needs.
        name: what messages call the photo.
        most: as for `prepare`.

    Raises:
        PhotoError: it cannot be read, or what was done with it raised something.
    """
    with _photo_errors(name or photo_name(photo)), _open(photo) as image:
        if most is not None:
            refuse_pixels(image.size, most)
        _reduce(image, size)
        refuse_pixels(image.size)
        with _one_large if image.width * image.height > _LARGE_PIXELS else nullcontext():
            yield _upright(image)


def take_turns(turn: AbstractContextManager[object]) -> None:
    """Have the large photos of this process wait for those of others, too.

    Args:
        turn: held while one is decoded; asked for again by each.
    """
    global _one_large
    _one_large = turn


def read_photo(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a photo file, for those who need them besides the photo.

    Raises:
        PhotoError: it cannot be read, or has more than `MAX_FILE_BYTES`.
    """
    with _photo_errors(photo_name(path)):
        return _content(path)


def flat(image: Image.Image) -> Image.Image:
    """An RGB or RGBA image as RGB: `FILL` lies behind what is transparent."""
    if image.mode == "RGB":
        return image
    width, height = image.size
    rows = max(1, _PIXELS_AT_ONCE // width)  # by parts: as a whole it would be held three times
    rgb = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        part = image.crop((0, top, width, min(top + rows, height)))
        behind = Image.new("RGBA", part.size, FILL)
        rgb.paste(Image.alpha_composite(behind, part).convert("RGB"), (0, top))
    return rgb


def scaled(image: Image.Image, size: int) -> Image.Image:
    """An image made smaller or larger, so that its longer side is `size`."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def pad(image: Image.Image, size: int, fill: int | tuple[int, ...]) -> Image.Image:
    """An image in the middle of a square of `size` that is `fill` elsewhere."""
    if image.size == (size, size):
        return image
    width, height = image.size
    square = Image.new(image.mode, (size, size), fill)
    square.paste(image, ((size - width) // 2, (size - height) // 2))
    return square


@contextmanager
def _photo_errors(label: str) -> Iterator[None]:
    try:
        yield
    except PhotoError as error:
        raise PhotoError(label, error.reason) from None
    except Exception as error:  # image decoders raise whatever they like on damaged files
        raise PhotoError(label, _reason(error)) from error


def _open(photo: Photo) -> Image.Image:
    if isinstance(photo, Image.Image):
        refuse_pixels(photo.size)  # before copying decodes it
        return photo.copy()
    if isinstance(photo, bytes):
        return open_image(photo)
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            found = f"{photo.dtype} {photo.shape}"
            raise PhotoError("", f"expected a uint8 array (height, width, 3), found {found}")
        return Image.fromarray(photo)
    return open_image(_content(photo))


def _content(photo: str | os.PathLike[str]) -> bytes:
    # With threads each call costs more than it takes alone, as another may hold the interpreter
    # when it returns: Path and a buffered file make twice as many, which is 5 % of embedding.
    path = os.fspath(photo)  # a number would be taken for an open file
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise PhotoError("", "expected a photo, found a folder or a special file")
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        if (found := os.fstat(file.fileno()).st_size) > MAX_FILE_BYTES:
            raise PhotoError("", f"expected at most {MAX_FILE_BYTES:,} bytes, found {found:,}")
        content = file.read(found)
        while len(content) < found and (more := file.read(found - len(content))):
            content += more
        return content


def _reduce(image: Image.Image, size: int) -> None:
    """Let a JPEG decode at 1/2, 1/4 or 1/8 where that is enough.

    Of a HEIC the same would take the preview in it, which need not show the photo.
    """
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (size, size))


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    way = _TO_UPRIGHT.get(_orientation(image))
    if way is not None:
        image = image.transpose(way)
    if image.mode.startswith("I;16") or image.mode == "I":
        # convert() would clip 16-bit grey to white instead of scaling it.
        grey = np.asarray(image)
        if image.mode == "I":
            grey = grey.clip(0, 65535)
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing about the pixels
        return 1


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnidentifiedImageError):
        return "not an image that can be read"
    return " ".join(str(error).split()) or type(error).__name__
