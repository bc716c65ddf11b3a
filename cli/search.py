"""`embed search`: which items of the whole index are nearest to a photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import (
    csv_text,
    format_asked_for,
    format_option,
    index_option,
    jobs_option,
    json_option,
    json_text,
    model_option,
    photo_path,
    say,
    table,
)
from cli.progress import photo_progress

if TYPE_CHECKING:
    from index import Found
    from index.places import Place


@click.command(short_help="Find the items of the whole index nearest to photos.")
@click.argument("photos", metavar="PHOTOS...", nargs=-1, type=photo_path)
@click.option(
    "--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Items a photo."
)
@index_option
@model_option
@format_option("Of the results.")
@json_option
@jobs_option
def search(
    photos: tuple[Path, ...],
    top: int,
    index: Place,
    model: Path,
    format_: str,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Say which items of the whole index are nearest to each of PHOTOS.

    For where it is not known which items can be in the photos. The score is the cosine to the
    item's centroid; it says what is nearest, not how sure that is: take the ids that can be meant
    as candidates of 'embed match', which says that, and can say "none of these".

    Up to 50,000 items are compared one by one. For more a file items.index.search is made at the
    first search, or by 'embed optimize'.

    PHOTOS are as for 'embed match': a folder in a folder is the photos of one object.

    \b
    Examples:
      embed search photos/
      embed search --top 3 --format csv a.jpg b.jpg > nearest.csv
    """
    from cli.photos_given import objects_in
    from embedder.quiet import native_output_silenced
    from index import Matcher

    format_ = format_asked_for(format_, as_json)
    objects = objects_in(photos, None)
    with Matcher.open(index, model) as matcher:
        embedder = matcher.embedder
        with native_output_silenced():
            embedder.warm_up()
        with (
            photo_progress("Embedding", patience=1.0) as show,
            photo_progress("Preparing the search", unit="items", patience=1.0) as making,
        ):
            found = matcher.search(objects, top, jobs=jobs, on_progress=show, on_making=making)
    click.echo(_FORMATTERS[format_](found), nl=False, color=True)
    for one in found:
        if one.reason:
            what = "some of its photos cannot be read" if one.items else "cannot be read"
            say(f"{one.photo}: {what}: {one.reason}")
    if not any(one.items for one in found):
        if all(one.reason for one in found):
            raise click.ClickException("none of the photos can be read: the lines above say why")
        raise click.ClickException(f"{index}: expected an index with items, found none")


def _rows(found: Sequence[Found]) -> Iterator[tuple[str, int, str, float]]:
    for one in found:
        for rank, item in enumerate(one.items, start=1):
            yield one.photo, rank, item.item_id, item.score


def _as_table(found: Sequence[Found]) -> str:
    rows = [
        ["" if rank > 1 else photo, str(rank), item_id, f"{score:.3f}"]
        for photo, rank, item_id, score in _rows(found)
    ]
    return table([["photo", "rank", "item", "score"], *rows], frozenset({1, 3})) + "\n"


def _as_json(found: Sequence[Found]) -> str:
    return json_text({"photos": [one.to_dict() for one in found]}) + "\n"


def _as_jsonl(found: Sequence[Found]) -> str:
    return "".join(json_text(one.to_dict(), None) + "\n" for one in found)


def _as_csv(found: Sequence[Found]) -> str:
    return csv_text([("photo", "rank", "item_id", "score"), *_rows(found)])


_FORMATTERS = {"table": _as_table, "json": _as_json, "jsonl": _as_jsonl, "csv": _as_csv}
