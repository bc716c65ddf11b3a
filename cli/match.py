"""`embed match`: which photo shows which candidate."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import index_option, jobs_option, model_option, say, table

if TYPE_CHECKING:
    from index import Match

FORMATS = ("table", "json", "jsonl", "csv")


@click.command()
@click.option(
    "--candidates",
    required=True,
    metavar="FILE",
    help="The items that can be in the photos: one id a line, or 'id,quantity'; '-' reads them "
    "from standard input.",
)
@click.argument("photos", metavar="PHOTOS...", nargs=-1, type=click.Path(path_type=Path))
@index_option
@model_option
@click.option("--independent", is_flag=True, help="Score each photo by itself, not one to one.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@jobs_option
def match(
    candidates: str,
    photos: tuple[Path, ...],
    index: Path,
    model: Path,
    independent: bool,
    format_: str,
    jobs: int | None,
) -> None:
    """Say which of PHOTOS (files and folders) shows which candidate.

    All photos are matched together: each candidate is in one photo at most, or in as many as its
    quantity says. Results go to standard output, everything else to standard error.

    \b
    Examples:
      embed match --candidates ids.txt photos/
      embed match --candidates ids.txt --format csv a.jpg b.jpg > matches.csv
      echo sku-1 | embed match --candidates - a.jpg
    """
    from embedder.quiet import native_output_silenced
    from index import Matcher, missing, read_candidates

    ids = read_candidates(sys.stdin.buffer if candidates == "-" else candidates)
    files = _expand(photos)
    with Matcher.open(index, model) as matcher:
        embedder = matcher.embedder
        with native_output_silenced():
            embedder.warm_up()
        matches = matcher.match(files, ids, independent=independent, jobs=jobs)
    left = missing(matches, ids)
    click.echo(_FORMATTERS[format_](matches, left), nl=False)
    _summarise(matches, left, independent)
    if all(found.status == "unreadable" for found in matches):
        raise click.ClickException("none of the photos can be read")


def _expand(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the photos in them."""
    from embedder.photos import list_photos

    if not paths:
        raise click.ClickException("expected photos or folders of photos to match, found none")
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = list_photos(path)
        if not inside:
            folders = any(entry.is_dir() for entry in path.iterdir())
            hint = ", only folders: name them one by one" if folders else ""
            raise click.ClickException(f"{path}: expected photos, found none{hint}")
        files += inside
    return files


def _summarise(matches: Sequence[Match], left: dict[str, int], independent: bool) -> None:
    unreadable = [found for found in matches if found.status == "unreadable"]
    for found in unreadable:
        say(f"cannot be read: {found.photo}: {found.reason}")
    extra = sum(found.status == "unknown" for found in matches)
    if extra:
        say(f"{extra} photo(s) got no item: there are more photos than candidates")
    if left and not independent:
        named = ", ".join(f"{item},{n}" if n > 1 else item for item, n in list(left.items())[:20])
        say(f"missing (in no photo): {named}{' ...' if len(left) > 20 else ''}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _as_table(matches: Sequence[Match], left: dict[str, int]) -> str:
    heading = ["photo", "item", "score", "confidence", "runner-up", "margin", "status"]
    rows = [heading] + [
        [
            found.photo,
            found.item_id or "-",
            _number(found.score, ".3f"),
            _number(found.confidence, ".1%"),
            found.runner_up or "",
            _number(found.margin, "+.3f"),
            found.status,
        ]
        for found in matches
    ]
    return table(rows, right=frozenset({2, 3, 5})) + "\n"


def _as_dicts(matches: Sequence[Match]) -> list[dict[str, object]]:
    return [
        {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in found.to_dict().items()
        }
        for found in matches
    ]


def _as_json(matches: Sequence[Match], left: dict[str, int]) -> str:
    document = {"matches": _as_dicts(matches), "missing": left}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _as_jsonl(matches: Sequence[Match], left: dict[str, int]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _as_dicts(matches))


def _as_csv(matches: Sequence[Match], left: dict[str, int]) -> str:
    rows = _as_dicts(matches)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_FORMATTERS = {"table": _as_table, "json": _as_json, "jsonl": _as_jsonl, "csv": _as_csv}
