"""Photos that are small to send and would cost much to decode."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from pictures import (
    empty_png,
    encoded,
    picture,
    png,
    png_chunk,
    png_header,
    resized_jpeg,
    with_more_scans,
)
from PIL import Image

SMALL = picture(24, 48, seed=3)


def bombs() -> Iterator[tuple[str, bytes]]:
    """What each is, and its bytes: all have to be refused."""
    yield from _promising()
    yield from _packed()
    yield from _slow()


def large_png(megapixels: int) -> bytes:
    """A PNG of one colour, 7,000 pixels wide: a thousandth of what it decodes to."""
    height = megapixels * 1_000_000 // 7_000
    row = b"\0" + bytes([90, 120, 200]) * 7_000
    return png(png_header(7_000, height), row * height)


def scans_jpeg(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose header promises a size, with so many scans more."""
    return with_more_scans(
        resized_jpeg(encoded(SMALL, "JPEG", progressive=True), width, height), scans
    )


def _promising() -> Iterator[tuple[str, bytes]]:
    """Headers alone: hardly any pixels follow."""
    side = 20_000
    yield "PNG of 400 megapixels", empty_png(side, side)
    yield "PNG of 4 gigapixels a side", empty_png(2**31 - 1, 2**31 - 1)
    yield "JPEG of 400 megapixels", resized_jpeg(encoded(SMALL, "JPEG"), side, side)
    yield "JPEG of 4,225 megapixels", resized_jpeg(encoded(SMALL, "JPEG"), 65_000, 65_000)
    gif = bytearray(encoded(SMALL, "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "GIF of 4,295 megapixels", bytes(gif)
    frame = bytearray(encoded(SMALL, "GIF"))
    at = frame.index(b",\0\0\0\0") + 5
    frame[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    yield "GIF with a frame of 4,295 megapixels", bytes(frame)
    bmp = bytearray(encoded(SMALL, "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    yield "BMP of 400 megapixels", bytes(bmp)
    # A lossless WebP of one colour, 14 bits a side.
    yield (
        "WebP of 268 megapixels",
        bytes.fromhex("524946461a000000574542505650384c0e0000002fffffff0f071011fd0f4444ff03"),
    )
    bits = Image.new("1", (13_000, 13_000))
    yield "TIFF of 169 megapixels", encoded(bits, "TIFF", compression="group4")


def _packed() -> Iterator[tuple[str, bytes]]:
    """Much in little, by deflate."""
    zeros = zlib.compress(bytes(100_000_000), 9)
    yield "PNG of 51 megapixels", large_png(51)
    yield "PNG of 169 megapixels", png(png_header(13_000, 13_000, 1, 0), bytes(13_000 * 1_626))
    for name, begin in (("zTXt", b"n\0\0"), ("iTXt", b"n\0\1\0\0\0"), ("iCCP", b"n\0\0")):
        chunk = png_chunk(name.encode(), begin + zeros)
        yield f"PNG with 100 MB in {name}", png(png_header(1, 1), b"\0" * 4, chunk)
    many = png_chunk(b"zTXt", b"n\0\0" + zlib.compress(bytes(1_000_000), 9)) * 200
    yield "PNG with 200 MB in 200 zTXt", png(png_header(1, 1), b"\0" * 4, many)


def _slow() -> Iterator[tuple[str, bytes]]:
    """What goes over its pixels again and again."""
    yield "JPEG of 500 scans", scans_jpeg(9_000, 9_000, 500)
    yield "JPEG of 300 scans", scans_jpeg(7_000, 7_000, 300)


def heif_bombs() -> Iterator[tuple[str, bytes]]:
    """HEIC and AVIF, where Pillow and its plugin can write them."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(SMALL)).save(buffer, quality=90)
    yield "HEIC of 400 megapixels", _sized(buffer.getvalue(), 20_000)
    yield "AVIF of 400 megapixels", _sized(encoded(np.ascontiguousarray(SMALL), "AVIF"), 20_000)


def _sized(content: bytes, side: int) -> bytes:
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", side, side) + content[at + 8 :]
