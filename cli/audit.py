"""`embed audit`: what is likely wrong with the photos of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import (
    csv_text,
    index_option,
    jobs_option,
    json_option,
    json_text,
    model_option,
    say,
    table,
)
from cli.progress import photo_progress

if TYPE_CHECKING:
    from cli.audit_rows import Kind, Row
    from embedder import Catalogue
    from index import Audit
    from index.places import Place

_MOST_SHOWN = 5


@click.command(short_help="Find what is likely wrong with a catalogue's photos.")
@click.argument("catalogue", type=click.Path(path_type=Path))
@index_option
@model_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="'table' has the first of each kind, the others all.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write an HTML page too, with the photos of each finding side by side.",
)
@json_option
@jobs_option
def audit(
    catalogue: Path,
    index: Place,
    model: Path,
    format_: str,
    report: Path | None,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Find what is likely wrong with the photos of CATALOGUE.

    CATALOGUE is what the index was built from. Found are photos that seem to show another item than
    the one they are filed under; photos that are there twice, also smaller, lighter, darker or a
    little narrower; items that will be taken for each other; photos that are like no item; items
    with too few photos; and photos that cannot be read. Nothing is changed.

    CSV has one line a finding, with the columns kind, item_id, photo, other_item, other_photo,
    score and advice. Results go to standard output, everything else to standard error.

    \b
    Examples:
      embed audit catalogue
      embed audit catalogue --report audit.html
      embed audit catalogue --format csv > findings.csv
    """
    from embedder import Embedder, read_catalogue
    from embedder.quiet import native_output_silenced
    from index import audit as audited
    from index.stores import open_store

    if as_json and format_ == "csv":
        raise click.UsageError("expected --json or --format csv, found both")
    if report is not None:
        from cli.audit_page import write_audit
        from cli.page_file import refuse_place

        refuse_place(report)
    photos = read_catalogue(catalogue)
    embedder = Embedder.open(model)
    with open_store(index) as store:
        with native_output_silenced():
            embedder.warm_up()
        with (
            photo_progress("Embedding") as embedded,
            photo_progress("Comparing", patience=0.01) as compared,
            photo_progress("Confirming", "pairs", patience=0.01) as confirmed,
        ):
            found = audited(
                photos,
                embedder,
                store,
                jobs=jobs,
                on_embedded=embedded,
                on_compared=compared,
                on_confirmed=confirmed,
            )
        say(_summary(found))
        try:
            form = "json" if as_json else format_
            click.echo(_formatted(found, form, photos), nl=False, color=True)
        finally:  # also where the reader of the results has gone, as with `| head`
            if report is not None:
                write_audit(report, found, photos, store, jobs)
                say(f"{report}: the report, to be opened in a browser")


def _summary(found: Audit) -> str:
    return (
        f"{found.photos:,} photos of {found.items:,} items: "
        f"{len(found.mislabelled):,} likely mislabelled, {len(found.duplicates):,} there twice, "
        f"{len(found.outliers):,} of no use"
    )


def _as_table(found: Audit, catalogue: Catalogue) -> str:
    from cli.audit_rows import KINDS, rows_of

    of_kind: dict[str, list[Row]] = {}
    for row in rows_of(found):
        of_kind.setdefault(row.kind, []).append(row)
    parts = [_part(kind, of_kind[kind.kind], catalogue) for kind in KINDS if kind.kind in of_kind]
    return "\n".join(parts) or "Nothing was found.\n"


def _part(kind: Kind, rows: Sequence[Row], catalogue: Catalogue) -> str:
    lines = [kind.columns, *(_line(row, catalogue) for row in rows[:_MOST_SHOWN])]
    more = len(rows) - _MOST_SHOWN
    rest = f"and {more:,} more: --format csv and --report have them\n" if more > 0 else ""
    used = [at for at, name in enumerate(kind.columns) if name]
    columns = [[line[at] for at in used] for line in lines]
    return f"{kind.title}: {len(rows):,}\n{kind.hint}\n{table(columns)}\n{rest}"


def _line(row: Row, catalogue: Catalogue) -> tuple[str, str, str]:
    from cli.audit_rows import score_text

    what = catalogue.within([row.photo])[0] if row.photo else row.item_id
    other = row.why or row.other_item
    if row.kind == "look-alikes":
        what = row.item_id
    elif row.kind == "duplicate":
        other = catalogue.within([row.other_photo])[0]
    return what, other, score_text(row)


def _as_csv(found: Audit) -> str:
    from cli.audit_rows import COLUMNS, rows_of

    return csv_text([COLUMNS, *(row[: len(COLUMNS)] for row in rows_of(found))])


def _formatted(found: Audit, form: str, catalogue: Catalogue) -> str:
    if form == "table":
        return _as_table(found, catalogue)
    return _as_csv(found) if form == "csv" else json_text(found) + "\n"
