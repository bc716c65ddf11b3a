"""`embed match`: which photo shows which candidate."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import (
    csv_text,
    doubt,
    format_asked_for,
    format_option,
    index_option,
    jobs_option,
    json_option,
    json_text,
    listed,
    model_option,
    photo_path,
    say,
    table,
    table_within,
)
from cli.progress import photo_progress

if TYPE_CHECKING:
    from index import Matches
    from index.places import Place


@click.command(short_help="Say which photo shows which candidate.")
@click.option(
    "--candidates",
    type=click.Path(allow_dash=True, readable=False),
    required=True,
    metavar="FILE",
    help="The items that can be in the photos: one id a line, or 'id,quantity', or with a tab in "
    "place of the comma; '-' reads them from standard input.",
)
@click.argument("photos", metavar="PHOTOS...", nargs=-1, type=photo_path)
@index_option
@model_option
@click.option("--independent", is_flag=True, help="Score each photo by itself, not one to one.")
@format_option(
    "Of the results. A terminal too narrow for the table shows it without margin and score."
)
@click.option(
    "--views",
    type=click.IntRange(min=1),
    metavar="N",
    help="Each N photos that follow each other by name show one object.",
)
@click.option(
    "--unknown",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of the photos that show none of the candidates: 0 if each shows one.  "
    "[default: estimated from the photos]",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Call a photo unsure that is matched wrongly with a higher probability than this.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 3 unless every photo is matched and no candidate is missing.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write an HTML page too, with each photo beside the item it is said to show.",
)
@json_option
@jobs_option
def match(
    candidates: str,
    photos: tuple[Path, ...],
    index: Place,
    model: Path,
    independent: bool,
    format_: str,
    views: int | None,
    unknown: float | None,
    max_error: float,
    strict: bool,
    report: Path | None,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Say which of PHOTOS shows which candidate.

    All photos are matched together: each candidate is in one photo at most, or in as many as its
    quantity says. Results go to standard output, everything else to standard error.

    A line 'bolt,5' of the candidates is one 'bolt,5' if the index has an item called so, else five
    of 'bolt'; if it has both it is refused: put a tab in place of the comma.

    PHOTOS are files, folders, and CSV files with a column 'photo' and, if several photos show one
    object, a column 'group' with its name. A folder in a folder is the photos of one object.

    \b
    Examples:
      embed match --candidates ids.txt photos/
      embed match --candidates ids.txt --format csv a.jpg b.jpg > matches.csv
      embed match --candidates ids.txt --report report.html photos/
      embed match --candidates ids.txt --strict photos/ || echo look
      echo sku-1 | embed match --candidates - a.jpg
    """
    from cli.photos_given import objects_in
    from embedder.quiet import native_output_silenced
    from index import Matcher, read_candidates

    format_ = format_asked_for(format_, as_json)
    if report is not None:
        from cli.page_file import refuse_place
        from cli.report import facts_of, write_report

        refuse_place(report)
    objects = objects_in(photos, views)
    with Matcher.open(index, model) as matcher:
        source = sys.stdin.buffer if candidates == "-" else candidates
        ids = read_candidates(source, matcher.store.has)
        embedder = matcher.embedder
        with native_output_silenced():
            embedder.warm_up()
        with photo_progress("Embedding", patience=1.0) as show:
            matches = matcher.match(
                objects,
                ids,
                independent=independent,
                unknown=unknown,
                max_error=max_error,
                jobs=jobs,
                on_progress=show,
            )
        try:
            # Otherwise click would take what looks like a colour out of the names in a CSV file.
            click.echo(_FORMATTERS[format_](matches), nl=False, color=True)
            _summarise(matches, independent)
        finally:  # also where the reader of the results has gone, as with `| head`
            if report is not None:
                facts = facts_of(
                    matcher.store,
                    ids,
                    independent=independent,
                    unknown=unknown,
                    max_error=max_error,
                )
                missing = {} if independent else matches.missing
                write_report(report, matches, missing, objects, matcher.store, facts, jobs)
                say(f"{report}: the report, to be opened in a browser")
    if all(found.status == "unreadable" for found in matches):
        raise click.ClickException("none of the photos can be read: the lines above say why")
    if strict and (matches.missing or any(found.status != "matched" for found in matches)):
        raise click.exceptions.Exit(3)


def _summarise(matches: Matches, independent: bool) -> None:
    for found in matches:
        if found.unreadable:
            say(f"cannot be read: {found.photo}: {found.reason}")
    counts = {
        status: sum(found.status == status for found in matches) for status in ("unsure", "unknown")
    }
    if counts["unsure"]:
        say(f"{counts['unsure']} photo(s) are unsure: look at them")
    if counts["unknown"]:
        say(f"{counts['unknown']} photo(s) show none of the candidates")
    left = matches.missing
    if left and not independent:
        pieces = [f"{item},{n}" if n > 1 else item for item, n in left.items()]
        say(f"missing (in no photo): {listed(pieces)}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _as_table(matches: Matches) -> str:
    heading = ["photo", "item", "confidence", "status", "score", "margin", "runner-up", "why"]
    rows = [heading] + [
        [
            found.photo,
            found.item_id or "-",
            _number(found.confidence, ".1%"),
            found.status,
            _number(found.score, ".3f"),
            _number(found.margin, "+.3f"),
            found.runner_up or "",
            found.reason or "",
        ]
        for found in sorted(matches, key=doubt)
    ]
    right = frozenset({2, 4, 5})
    if not sys.stdout.isatty():
        return table(rows, right) + "\n"
    width = shutil.get_terminal_size().columns
    return table_within(width, rows, right, spare=(5, 4)) + "\n"


def _as_json(matches: Matches) -> str:
    return json_text(matches.to_dict()) + "\n"


def _as_jsonl(matches: Matches) -> str:
    return "".join(json_text(found.to_dict(), None) + "\n" for found in matches)


def _as_csv(matches: Matches) -> str:
    from index.results import COLUMNS

    return csv_text([COLUMNS, *([getattr(found, name) for name in COLUMNS] for found in matches)])


_FORMATTERS = {"table": _as_table, "json": _as_json, "jsonl": _as_jsonl, "csv": _as_csv}
