"""Which formats photos may have, and what opening one may cost.

The format is told from the content, never from the file's name, and only that one decoder of Pillow
is given the file: Pillow knows forty formats, among them one that runs another program.
"""

from __future__ import annotations

import io
import re

from PIL import Image

from embedder.errors import MissingExtraError, PhotoError

# A photo of 100 megapixels takes 400 MB as RGB. JPEGs count at the size they are decoded at, which
# is less; above Image.MAX_IMAGE_PIXELS * 2, or 179 megapixels, Pillow refuses any photo.
MAX_DECODED_PIXELS = 100_000_000

# How often a JPEG may go over its pixels, summed over all pixels. Cameras write ten scans at most.
_MAX_SCANNED_PIXELS = 50 * MAX_DECODED_PIXELS

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_HEIF_BRANDS = {*(b"heic", b"heix", b"heim", b"heis"), *(b"hevc", b"hevx", b"hevm", b"hevs")}
# What has a length and a content: decoders pass over anything else, and over what is in a scan.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START, _END, _START_OF_SCAN = 0xD8, 0xD9, 0xDA


def open_image(content: bytes) -> Image.Image:
    """Open an image file, without decoding it.

    Raises:
        PhotoError: it has none of the formats, too many pixels, or needs an extra.
    """
    kind = _format_of(content)
    if kind is None:
        raise PhotoError("", "not an image that can be read")
    if kind == "HEIF":
        return _open_heif(content)
    try:
        image = Image.open(io.BytesIO(content), formats=[kind])
    except KeyError:
        raise PhotoError("", f"this version of Pillow cannot read {kind}") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PhotoError("", f"expected at most {most:,} pixels, found more") from None
    if kind == "JPEG":
        _refuse_scans(content, image)
    return image


def refuse_pixels(size: tuple[int, int], most: int | None = None) -> None:
    """Refuse an image that is too large.

    Args:
        size: width and height.
        most: pixels that it may have; `MAX_DECODED_PIXELS` unless given.

    Raises:
        PhotoError: it has more.
    """
    most = MAX_DECODED_PIXELS if most is None else most
    width, height = size
    if width * height > most:
        found = f"{width} x {height}"
        raise PhotoError("", f"expected at most {most:,} pixels, found {found}")


def _format_of(content: bytes) -> str | None:
    for beginning, kind in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(content[:4], "big"), 256)
    brands = {content[at : at + 4] for at in (8, *range(16, length, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & (_HEIF_BRANDS | {b"mif1", b"msf1"}) else None


def _open_heif(content: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise PhotoError("", str(MissingExtraError("reading HEIC photos", "heic"))) from None
    try:
        image: Image.Image = HeifImageFile(io.BytesIO(content))
    except SyntaxError:
        raise PhotoError("", "not an image that can be read") from None
    return image


def _refuse_scans(content: bytes, image: Image.Image) -> None:
    """Refuse a JPEG in several scans that would take too much.

    All its coefficients are held until the last scan, whatever size it is decoded at, and each scan
    goes over all of them.
    """
    scans = _scans(content)
    if scans > 1:
        refuse_pixels(image.size)
        if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
            found = f"{scans} scans of {image.width} x {image.height} pixels"
            raise PhotoError("", f"expected a JPEG of few scans, found {found}")


def _scans(content: bytes) -> int:
    """How many scans a JPEG has, without what follows its end."""
    scans, at = 0, 2
    while found := _MARKER.search(content, at):
        marker = content[found.start() + 1]
        if marker in (_START, _END):  # decoders go no further
            break
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
        scans += marker == _START_OF_SCAN
    return scans
