"""Pictures to encode, and image files that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture, so that JPEG and scaling change it little."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image | np.ndarray, form: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


# How the stored picture has to be turned to be upright, by the EXIF orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, laced: int = 0) -> bytes:
    body = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, laced)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", body)


def empty_png(width: int, height: int) -> bytes:
    """A PNG of which the header promises more pixels than there are."""
    return png_header(width, height) + png_chunk(b"IDAT", zlib.compress(b""))


def png(header: bytes, rows: bytes, *before: bytes) -> bytes:
    """A PNG of rows, each with its filter byte in front; with chunks before them."""
    data = png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"".join([header, *before, data, png_chunk(b"IEND", b"")])


def png_rows(samples: np.ndarray) -> bytes:
    """Unfiltered rows of samples (height, width, channels), as bytes or big-endian 16-bit."""
    wide = samples.astype(">u2") if samples.dtype == np.uint16 else samples
    return b"".join(b"\0" + row.tobytes() for row in wide)


def interlaced_png(array: np.ndarray) -> bytes:
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    parts = [array[top::down, left::right] for top, left, down, right in [*starts, (1, 0, 2, 1)]]
    header = png_header(array.shape[1], array.shape[0], laced=1)
    return png(header, b"".join(png_rows(part) for part in parts if part.size))


def ycck_jpeg(array: np.ndarray) -> bytes:
    """A JPEG as Photoshop writes CMYK, in luma and chroma, that looks like the array.

    Pillow writes plain CMYK alone, inverted; so it is given what, inverted, is YCCK, and the Adobe
    marker is made to say so.
    """
    cyan = Image.fromarray(array).convert("CMYK")
    inks = np.asarray(cyan)
    luma = np.asarray(Image.fromarray(np.ascontiguousarray(inks[..., :3])).convert("YCbCr"))
    stored = np.dstack([255 - luma, inks[..., 3:]])
    data = encoded(Image.fromarray(stored, "CMYK"), "JPEG", quality=98, subsampling=0)
    at = data.index(b"Adobe") + len(b"Adobe") + 6
    assert data[at] == 0
    return data[:at] + b"\x02" + data[at + 1 :]


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header promises another size."""
    at = next(found for mark in (b"\xff\xc0", b"\xff\xc2") if (found := data.find(mark)) >= 0)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def with_more_scans(data: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * times + data[end:]
