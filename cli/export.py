"""`embed export`: a model, or the vectors of an index, as one file for other programs."""

from __future__ import annotations

from dataclasses import fields
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import (
    index_option,
    json_option,
    list_unreadable,
    model_folder_option,
    print_json,
    say,
)
from cli.progress import photo_progress

if TYPE_CHECKING:
    from embedder.export import Format, Precision
    from index.places import Place

_FORMATS: dict[str, Format] = {".tflite": "tflite", ".onnx": "onnx"}
_OF_INDEX = {".npz": b"PK", ".parquet": b"PAR1", ".faiss": b"Ix"}  # and how such files begin
_USUAL: dict[Format, Precision] = {"tflite": "float16", "onnx": "float32"}
_GOOD_COSINE = 0.99


@click.command(short_help="Write model or vectors as one file for other programs.")
@click.argument("file", type=click.Path(path_type=Path))
@model_folder_option
@index_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Of the numbers in it.  [default: float16; float32 for .onnx]",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    metavar="CATALOGUE",
    help="Photos to calibrate int8 with, and to compare on: a catalogue, best the model's own.",
)
@json_option
def export(
    file: Path,
    model: Path,
    index: Place,
    precision: Precision | None,
    photos: Path | None,
    as_json: bool,
) -> None:
    """Write the model, or the vectors of the index, to FILE, for use without this package.

    The model, where FILE ends in .tflite, for LiteRT on Android and iOS, or in .onnx, for
    onnxruntime in a browser and elsewhere. It takes a photo of 0...255 as it is prepared for
    matching, and gives the vector of unit norm that 'embed match' compares: docs/mobile.md.

    int8 is the smallest and fastest. It needs --photos: up to 200 photos calibrate it, and up to
    200 others tell how far it agrees with the model. It is not written if it does not.

    The ids and centroids of the index, where FILE ends in .npz (NumPy), .parquet, or .faiss with
    the ids in FILE.ids.txt: docs/howto/vectors.md.

    \b
    Examples:
      embed export items.tflite
      embed export items.tflite --precision int8 --photos catalogue
      embed export items.onnx --model parts.model
      embed export items.parquet --index parts.index
    """
    from cli.written_file import refuse_place

    if file.suffix.lower() in _OF_INDEX:
        _export_index(file, index, precision, photos, as_json)
        return
    format = _format_of(file)
    precision = precision or _USUAL[format]
    if format == "onnx" and precision != "float32":
        raise click.ClickException(
            f"{file}: expected float32 for ONNX, found --precision {precision}: leave it out, or "
            "name a file that ends in .tflite"
        )
    if precision == "int8" and photos is None:
        raise click.ClickException(
            "--precision int8 needs photos to calibrate with: name the catalogue with --photos"
        )
    refuse_place(file, "export", _is_export)
    _export_model(file, model, format, precision, photos, as_json)


def _format_of(file: Path) -> Format:
    found = _FORMATS.get(file.suffix.lower())
    if found is None:
        raise click.ClickException(
            f"{file}: expected a name that ends in {', '.join((*_FORMATS, *_OF_INDEX))}, found "
            f"{file.suffix or 'no ending'}"
        )
    return found


def _is_export(path: Path) -> bool:
    from embedder.export import NOTE

    with path.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(NOTE.encode()) >= 0


def _export_index(
    file: Path, index: Place, precision: str | None, photos: Path | None, as_json: bool
) -> None:
    from cli.written_file import refuse_place
    from index import export_vectors
    from index.stores import open_store

    if precision is not None or photos is not None:
        raise click.UsageError(
            f"expected neither --precision nor --photos for vectors of an index ({file.name})"
        )
    begins = _OF_INDEX[file.suffix.lower()]
    refuse_place(file, "export", lambda path: _begins(path, begins))
    with open_store(index) as store:
        items = export_vectors(store, file)
    say(f"{file}: {items:,} items")
    if as_json:
        print_json({"file": str(file), "items": items})


def _begins(path: Path, wanted: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(wanted)) == wanted


def _export_model(
    file: Path,
    model: Path,
    format: Format,
    precision: Precision,
    photos: Path | None,
    as_json: bool,
) -> None:
    from cli.written_file import write_file
    from embedder import read_catalogue
    from embedder.export import export_model

    catalogue = None if photos is None else read_catalogue(photos)
    with photo_progress("Reading") as show:
        found = export_model(model, format, precision, catalogue, show)
    write_file(file, "export", [found.content])
    list_unreadable(found.unreadable, "are left out")
    calibrated = f", calibrated with {found.calibrated} photos" if found.calibrated else ""
    say(f"{file}: {found.size:,} bytes, {precision}{calibrated}")
    say(f"SHA-256 {found.sha256}")
    others = "other photos" if found.calibrated else "photos"
    on = others if found.from_photos else "pictures of noise (name photos with --photos)"
    cosines = f"mean {found.mean_cosine:.4f}, lowest {found.lowest_cosine:.4f}"
    say(f"Cosine to the model on {found.compared} {on}: {cosines}")
    if found.mean_cosine < _GOOD_COSINE:
        say(
            "Photos will be matched worse than with the model: compare with 'embed evaluate', or "
            "export at a higher precision"
        )
    if as_json:
        names = [of.name for of in fields(found) if of.name != "content"]
        print_json({"file": str(file)} | {name: getattr(found, name) for name in names})
