"""Photos as the world has them: files, and what has to become of each.

`write_corpus` writes them into a folder; its answer says of each how it has to look, or why it has
to be refused. Tests build indexes of them and match them.
"""

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from pictures import (
    UPRIGHT,
    empty_png,
    encoded,
    interlaced_png,
    oriented,
    picture,
    png,
    png_chunk,
    png_header,
    png_rows,
    resized_jpeg,
    with_more_scans,
    ycck_jpeg,
)
from PIL import Image, features

from embedder.photos import FILL

SIDE = 48
"""Photos of the corpus that can be read fit into a square of this side without being scaled."""

# By how much a channel may be off. Lossless formats: not at all. JPEG, WebP and AVIF at their best
# quality, without chroma subsampling, round each of 64 coefficients: 4 at most was seen; with CMYK
# the colours are rounded twice. With chroma at half the size (lossy WebP, HEIC) it is the slope of
# the picture over two pixels. Other orientations of the same picture are off by 150 and more.
EXACT, LOSSY, SUBSAMPLED = 0, 6, 40


@dataclass(frozen=True)
class Case:
    """A file of the corpus.

    Attributes:
        name: of the file.
        pixels: uint8 (height, width, 3), how it has to look upright; None if it is refused.
        tolerance: by how much a channel may be off.
        reason: of the refusal, a part of it.
    """

    name: str
    pixels: np.ndarray | None = None
    tolerance: int = EXACT
    reason: str = ""


def write_corpus(folder: Path) -> list[Case]:
    """Write all files, those that are no photos by their name as well, and tell the others."""
    cases = []
    parts = (_turned, _broken_exif, _colours, _animations, _formats, _damaged, _bombs, _odd_names)
    for part in parts:
        for case, content in part():
            (folder / case.name).write_bytes(content)
            cases.append(case)
    for hidden in (
        ".good.png",
        "._good.png",
        "notes.txt",
        "good.png.part",
        ".DS_Store",
        "Thumbs.db",
    ):
        (folder / hidden).write_bytes(encoded(STORED))
    return [*cases, *_special(folder)]


STORED = picture(24, SIDE, seed=3)
BEST = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def _turned():
    forms = ["JPEG", "PNG", "WEBP", *(["AVIF"] if features.check("avif") else [])]
    for form in forms:
        for number, turn in UPRIGHT.items():
            data = encoded(STORED, form, exif=oriented(number), **BEST[form])
            off = LOSSY if form in ("JPEG", "AVIF") else EXACT
            name = f"turned-{number}.{form.lower()}"
            yield Case(name, np.ascontiguousarray(turn(STORED)), off), data
    # Pillow turns these itself while it decodes: they must not be turned twice.
    data = encoded(STORED, "TIFF", tiffinfo={0x0112: 6})
    yield Case("turned-6.tif", np.ascontiguousarray(UPRIGHT[6](STORED))), data
    for number in (1, 6):
        turned = np.ascontiguousarray(UPRIGHT[number](STORED))
        data = _heic(STORED, exif=oriented(number))
        yield Case(f"turned-{number}.heic", turned, SUBSAMPLED), data


def _heic(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(array)).save(buffer, quality=95, **options)
    return buffer.getvalue()


def _broken_exif():
    endless = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x08\0\0\0"
    text = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0"
    blocks = {
        "empty": b"",
        "header-only": b"Exif\0\0",
        "beyond-end": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "noise": b"Exif\0\0" + b"\xff" * 40,
        "orientation-99": oriented(99),
        "orientation-0": oriented(0),
        "orientation-in-words": text,
    }
    for name, block in blocks.items():
        data = encoded(STORED, "JPEG", exif=block, **BEST["JPEG"])
        yield Case(f"exif-{name}.jpg", STORED, LOSSY), data
    data = encoded(STORED, "JPEG", exif=endless, **BEST["JPEG"])
    turned = np.ascontiguousarray(UPRIGHT[6](STORED))
    yield Case("exif-going-round.jpg", turned, LOSSY), data
    noise = b"Exif\0\0" + b"\xff" * 40
    yield Case("exif-noise.webp", STORED), encoded(STORED, "WEBP", lossless=True, exif=noise)
    yield Case("exif-noise.png", STORED), encoded(STORED, "PNG", exif=noise)


def _over_fill(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.round(rgb * share + np.array(FILL) * (1 - share)).astype(np.uint8)


def _colours():
    grey, alpha = STORED[..., 0], picture(24, SIDE, seed=1)[..., 1]
    grey_rgb = np.dstack([grey] * 3)
    see_through = _over_fill(STORED, alpha)
    wide = (STORED.astype(np.uint16) << 8) | 77
    wide_alpha = (alpha.astype(np.uint16) << 8) | 77
    palette = Image.fromarray(STORED).quantize(32)
    as_rgb = np.asarray(palette.convert("RGB"))
    clear = np.where((np.asarray(palette) == 0)[..., None], np.array(FILL, np.uint8), as_rgb)
    bits = np.where(STORED[..., :1] > 127, 255, 0).astype(np.uint8)
    best, inks = BEST["JPEG"], Image.fromarray(STORED).convert("CMYK")
    header_16, header_16a = png_header(SIDE, 24, 16), png_header(SIDE, 24, 16, 6)
    wide_grey = wide[..., 0]
    half = Image.fromarray(np.dstack([grey, alpha]), "LA")
    return [
        (Case("cmyk.jpg", STORED, LOSSY), encoded(inks, "JPEG", **best)),
        (
            Case("cmyk-progressive.jpg", STORED, LOSSY),
            encoded(inks, "JPEG", progressive=True, **best),
        ),
        (Case("ycck.jpg", STORED, LOSSY), ycck_jpeg(STORED)),
        (Case("grey.jpg", grey_rgb, LOSSY), encoded(grey, "JPEG", **best)),
        (Case("grey.png", grey_rgb), encoded(grey)),
        (Case("black-and-white.png", np.dstack([bits] * 3)), encoded(bits[..., 0] > 127)),
        (Case("16-bit.png", STORED), png(header_16, png_rows(wide))),
        (
            Case("16-bit-alpha.png", see_through, 1),
            png(header_16a, png_rows(np.dstack([wide, wide_alpha]))),
        ),
        (Case("16-bit-grey.png", grey_rgb), encoded(Image.fromarray(wide_grey))),
        (Case("16-bit-grey.tif", grey_rgb), encoded(Image.fromarray(wide_grey), "TIFF")),
        (Case("32-bit-grey.tif", grey_rgb), encoded(wide_grey.astype(np.int32), "TIFF")),
        (Case("palette.png", as_rgb), encoded(palette)),
        (Case("palette-alpha.png", clear), encoded(palette, transparency=0)),
        (Case("palette.gif", as_rgb), encoded(palette, "GIF")),
        (Case("alpha.png", see_through, 1), encoded(np.dstack([STORED, alpha]))),
        (
            Case("alpha.webp", see_through, 1),
            encoded(np.dstack([STORED, alpha]), "WEBP", lossless=True, exact=True),
        ),
        (Case("grey-alpha.png", _over_fill(grey_rgb, alpha), 1), encoded(half)),
        (Case("interlaced.png", STORED), interlaced_png(STORED)),
        (
            Case("progressive.jpg", STORED, LOSSY),
            encoded(STORED, "JPEG", progressive=True, **best),
        ),
        (
            Case("progressive-turned.jpg", np.ascontiguousarray(UPRIGHT[8](STORED)), LOSSY),
            encoded(STORED, "JPEG", progressive=True, exif=oriented(8), **best),
        ),
        (Case("icc.jpg", STORED, LOSSY), encoded(STORED, "JPEG", icc_profile=b"no", **best)),
    ]


def _animations():
    first, second = np.full((24, SIDE, 3), (255, 0, 0), np.uint8), Image.new("RGB", (SIDE, 24))
    more = {"save_all": True, "append_images": [second, second]}
    return [
        (Case("animated.gif", first), encoded(first, "GIF", **more)),
        (Case("animated.webp", first), encoded(first, "WEBP", lossless=True, **more)),
        (Case("animated.png", first), encoded(first, "PNG", **more)),
        (Case("pages.tif", first), encoded(first, "TIFF", **more)),
        (Case("two-pictures.jpg", first, LOSSY), encoded(first, "MPO", **BEST["JPEG"], **more)),
    ]


def _formats():
    dot = np.full((1, 1, 3), (200, 10, 60), np.uint8)
    lzw = encoded(STORED, "TIFF", compression="tiff_lzw")
    return [
        (Case("plain.bmp", STORED), encoded(STORED, "BMP")),
        (Case("plain.tif", STORED), encoded(STORED, "TIFF")),
        (Case("packed.tiff", STORED), lzw),
        (Case("lossy.webp", STORED, SUBSAMPLED), encoded(STORED, "WEBP", quality=100)),
        (Case("png-called.jpg", STORED), encoded(STORED)),
        (Case("jpeg-called.png", STORED, LOSSY), encoded(STORED, "JPEG", **BEST["JPEG"])),
        (Case("heic-called.jpg", STORED, SUBSAMPLED), _heic(STORED)),
        (Case("1x1.png", dot), encoded(dot)),
        (Case("1x1.jpg", dot, LOSSY), encoded(dot, "JPEG", **BEST["JPEG"])),
        (Case("1x1.gif", dot), encoded(dot, "GIF")),
        (Case("1x1.webp", dot), encoded(dot, "WEBP", lossless=True)),
    ]


def _damaged():
    jpeg, whole_png = encoded(STORED, "JPEG"), encoded(STORED)
    webp, heic = encoded(STORED, "WEBP"), _heic(STORED)
    none, short = "not an image that can be read", "truncated"
    flipped = bytearray(whole_png)
    flipped[len(flipped) // 2] ^= 0x55
    return [
        (Case("zero-bytes.jpg", reason=none), b""),
        (Case("one-byte.jpg", reason=none), b"\xff"),
        (Case("nothing-but-zeros.jpg", reason=none), bytes(5000)),
        (Case("page.jpg", reason=none), b"<!DOCTYPE html><html><body>404</body></html>"),
        (Case("drawing.png", reason=none), b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        (Case("letter.jpg", reason=none), b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        # Pillow would run Ghostscript on this.
        (Case("program.jpg", reason=none), encoded(STORED, "EPS")),
        (Case("other-format.jpg", reason=none), encoded(STORED, "PPM")),
        (Case("beginning-of-a.jpg", reason=none), b"\xff\xd8\xff"),
        (Case("truncated.jpg", reason=short), jpeg[: len(jpeg) // 2]),
        (Case("without-end.jpg", reason=short), jpeg[:-20]),
        (Case("truncated.png", reason=short), whole_png[: len(whole_png) // 2]),
        (Case("flipped.png", reason="broken"), bytes(flipped)),
        (Case("truncated.webp", reason="could not create decoder"), webp[: len(webp) // 2]),
        (Case("truncated.gif", reason=short), encoded(STORED, "GIF")[:-300]),
        (Case("truncated.tif", reason=short), encoded(STORED, "TIFF")[:-2000]),
        (Case("truncated.bmp", reason=short), encoded(STORED, "BMP")[:-500]),
        (Case("beginning-of-a.heic", reason=none), heic[:200]),
        (Case("truncated.heic", reason="end of file"), heic[:-50]),
        (Case("without-pixels.png", reason="truncated"), empty_png(50, 50)),
    ]


def _bombs():
    """What takes gigabytes if it is decoded, in files of a few kilobytes."""
    most, bits = "expected at most", png_header(13_000, 13_000, 1, 0)
    zeros = bytes(13_000 * (1 + 13_000 // 8))
    progressive = encoded(STORED, "JPEG", progressive=True)
    gif = bytearray(encoded(STORED, "GIF"))
    gif[6:10] = (13_000).to_bytes(2, "little") * 2
    # A lossless WebP of one colour.
    webp = bytes.fromhex("524946461a000000574542505650384c0e0000002fc7f2b10c071011fd0f4444ff03")
    tiff = encoded(Image.new("1", (13_000, 13_000)), "TIFF", compression="group4")
    heic = _heic(STORED)
    at = heic.index(b"ispe") + 8
    promising = heic[:at] + (20_000).to_bytes(4, "big") * 2 + heic[at + 8 :]
    note = png_chunk(b"zTXt", b"note\0\0" + _packed_zeros(100_000_000))
    cases = [
        (Case("bomb-169-megapixels.png", reason=most), png(bits, zeros)),
        (Case("bomb-20000x20000.png", reason=most), empty_png(20_000, 20_000)),
        (Case("bomb-20000x20000.jpg", reason=most), resized_jpeg(progressive, 20_000, 20_000)),
        (Case("bomb-progressive.jpg", reason=most), resized_jpeg(progressive, 13_000, 13_000)),
        (
            Case("bomb-of-scans.jpg", reason="of few scans"),
            with_more_scans(resized_jpeg(progressive, 9_000, 9_000), 500),
        ),
        (Case("bomb.gif", reason=most), bytes(gif)),
        (Case("bomb.webp", reason=most), webp),
        (Case("bomb.tif", reason=most), tiff),
        (Case("bomb.heic", reason=""), promising),
        (Case("bomb-in-the-note.png", reason="too large"), png(png_header(1, 1), b"\0" * 4, note)),
    ]
    assert all(len(content) < 110_000 for _, content in cases)
    return cases


def _packed_zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


NAMES = [
    "with space.png",
    " in front.png",
    "UPPER.PNG",
    "two\nlines.png",
    "carriage\rreturn.png",
    "tab\t.png",
    "\x1b[31mred\x1b[0m.png",
    "\x9b2J.png",
    "gnp.\u202egpj.png",
    "line\u2028separator.png",
    "[red]markup[blink].png",
    "%s {0} $HOME `id`.png",
    "'quotes' and \"quotes\".png",
    "comma, semicolon; equals=.png",
    "=1+1.png",
    "-dash.png",
    "back\\slash.png",
    "👩‍🔧🧰.png",
    "箱.png",
    "caf\u00e9.png",  # composed, and decomposed: two files on most systems
    "cafe\u0301.png",
    "x" * 251 + ".png",
    os.fsdecode(b"latin1-\xe4.png"),
]


def _odd_names():
    # One content each: an index must keep them apart by name.
    for number, name in enumerate(NAMES):
        array = picture(24, SIDE, seed=100 + number)
        yield Case(name, array), encoded(array)


def _special(folder: Path) -> list[Case]:
    (folder / "elsewhere.png").symlink_to("plain.bmp")
    (folder / "gone.jpg").symlink_to("no such file.jpg")
    (folder / "round-and-round.jpg").symlink_to("round-and-round.jpg")
    (folder / "there.jpg").symlink_to("and-back.jpg")
    (folder / "and-back.jpg").symlink_to("there.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "again").symlink_to(folder)  # a folder that holds itself: not followed
    special, loop = "special file", "symbolic links"
    return [
        Case("elsewhere.png", STORED),
        Case("gone.jpg", reason="no such file"),
        Case("round-and-round.jpg", reason=loop),
        Case("there.jpg", reason=loop),
        Case("and-back.jpg", reason=loop),
        Case("endless.jpg", reason=special),
        Case("pipe.jpg", reason=special),
    ]
