"""`embed calibrate`: make the confidences of an index right for photos like those to be matched."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import (
    index_option,
    jobs_option,
    json_option,
    list_unreadable,
    listed,
    model_option,
    print_json,
    say,
)
from cli.progress import photo_progress
from index.places import Place


@click.command(short_help="Make confidences right for photos like yours.")
@click.argument("photos", type=click.Path(path_type=Path))
@index_option
@model_option
@json_option
@jobs_option
def calibrate(photos: Path, index: Place, model: Path, as_json: bool, jobs: int | None) -> None:
    """Fit the confidences of the index to PHOTOS, whose items are known.

    PHOTOS is a folder with a folder an item, or a CSV or Parquet file, as a catalogue is, of
    other photos than those of the catalogue: taken where and as the photos that will be
    matched. Without this, confidences are fitted to the photos that training held out, which
    are taken as the catalogue's are, so they promise too much where later photos differ. 100
    photos or more are good; 20 are needed. The index keeps the calibration when it is brought
    up to date.

    \b
    Examples:
      embed calibrate checked-photos
      embed calibrate checked.csv --index parts.index --model parts.model
    """
    from embedder import read_catalogue
    from embedder.quiet import native_output_silenced
    from index import Matcher, calibrate_index

    found = read_catalogue(photos)
    with Matcher.open(index, model) as matcher:
        embedder = matcher.embedder
        with native_output_silenced():
            embedder.warm_up()
    with photo_progress("Embedding") as show:
        report = calibrate_index(index, embedder, found, jobs=jobs, on_progress=show)
    list_unreadable(report.unreadable, "are left out")
    left_out = report.not_in_index
    if left_out:
        say(
            f"{len(left_out)} item(s) that the index does not have are left out: {listed(left_out)}"
        )
    say(f"{index}: confidences fitted to {report.photos:,} photos of {report.items:,} items")
    if as_json:
        print_json(report)
