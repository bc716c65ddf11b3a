"""`embed evaluate --learning-curve`: what more photos, and more epochs, would gain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli.charts import Axis, Line, line_chart, ticks_from
from cli.curve_reading import CurveReading, read_curve
from cli.evaluate import with_interval
from cli.output import print_json, say, table
from cli.page import END, head, made, section, table_of, text
from cli.page_file import write_page
from cli.progress import photo_progress
from embedder.catalogue import Catalogue
from embedder.learning_curve import learning_curve, options_of
from embedder.model_files import read_model_info
from index.measures import Figure


def show_learning_curve(
    catalogue: Catalogue,
    model: Path,
    weights: str | None,
    report: Path | None,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Train, test, print; what was trained stays beside the model, for the next time.

    Args:
        catalogue: items and photos.
        model: the model folder whose options are used.
        weights: the file its backbone started from, if it did from one.
        report: the page to write, if any.
        as_json: print JSON and no table.
        jobs: threads; all cores unless given.
    """
    options = options_of(read_model_info(model), weights)
    place = model if model.name else model.absolute()
    folder = place.with_name(f"{place.name}.curve")
    with photo_progress("Training", "epochs") as show:
        curve = learning_curve(catalogue, options, folder, jobs=jobs, on_progress=show)
    reading = read_curve(curve)
    tested = f"{reading.tested:,} photos of {reading.items:,} items, which no training saw"
    say(f"tested with {tested}")
    if as_json:
        print_json(reading)
    else:
        click.echo(_as_text(reading))
    if report is not None:
        facts = [
            made(),
            ("Catalogue", str(catalogue.source)),
            ("Tested with", tested),
        ]
        write_page(report, _page(reading, facts))
        say(f"{report}: the report, to be opened in a browser")
    say(f"{folder}: what was trained, for the next time; delete it when you are done")


def _grid(reading: CurveReading) -> tuple[list[int], list[int], dict[tuple[int, int], Figure]]:
    figures = {(one.photos, one.epochs): one.accuracy for one in reading.figures}
    photos, epochs = ({key[at] for key in figures} for at in (0, 1))
    return sorted(photos), sorted(epochs), figures


def _as_text(reading: CurveReading) -> str:
    photos, epochs, figures = _grid(reading)
    rows = [["photos", *(f"{count} epochs, %" for count in epochs)]]
    for amount in photos:
        cells = (with_interval(figures[amount, count], 100, 1) for count in epochs)
        rows.append([str(amount), *cells])
    title = "Right among 10 candidates, by photos an item and epochs"
    return "\n".join([title, table(rows, frozenset({0})), "", *reading.advice])


def _page(reading: CurveReading, facts: list[tuple[str, str]]) -> Iterator[str]:
    photos, epochs, figures = _grid(reading)
    yield head("evaluate", "More photos, or more epochs?", "figures", facts)
    yield '<main id="figures">\n'
    yield section("What to do", "".join(f"<p>{text(said)}</p>\n" for said in reading.advice))
    lines = [
        Line(
            f"{count} epochs",
            [(amount, 100 * figures[amount, count].value) for amount in photos],
            [
                (100 * figures[amount, count].low, 100 * figures[amount, count].high)
                for amount in photos
            ],
        )
        for count in epochs
    ]
    lowest = min(low for line in lines for low, _ in line.band)
    ticks = photos if len(photos) > 1 else [*photos, photos[0] + 1]
    chart = line_chart(
        "Photos that are right among 10 candidates, with intervals of 95 %",
        lines,
        Axis("photos an item", ticks, logarithmic=True),
        Axis("right, %", ticks_from(lowest, 100.0)),
    )
    rows = [
        [str(amount), *(with_interval(figures[amount, count], 100, 1) for count in epochs)]
        for amount in photos
    ]
    columns = ["Photos an item", *(f"{count} epochs, %" for count in epochs)]
    yield section("Accuracy", chart + table_of(columns, rows))
    yield f"</main>\n{END}"
