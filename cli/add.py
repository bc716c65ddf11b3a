"""`embed add`: one more item, without building the index again."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import (
    index_option,
    jobs_option,
    json_option,
    list_unreadable,
    model_option,
    photo_path,
    print_json,
    say,
)
from cli.progress import photo_progress
from index.places import Place


@click.command(short_help="Add one item to the index, at once.")
@click.argument("item_id", metavar="ID")
@click.argument("photos", metavar="PHOTOS...", nargs=-1, type=photo_path)
@index_option
@model_option
@click.option("--replace", is_flag=True, help="Replace the item if the index has it.")
@json_option
@jobs_option
def add(
    item_id: str,
    photos: tuple[Path, ...],
    index: Place,
    model: Path,
    replace: bool,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Add the item ID with its PHOTOS to the index, in place and at once.

    PHOTOS are files and folders of photos, folders below them included. The item stays when the
    index is built again, unless the catalogue has one of that id.

    \b
    Examples:
      embed add sku-9 new/*.jpg
      embed add sku-9 new/ --replace
    """
    from cli.photos_given import photos_of_item
    from embedder.quiet import native_output_silenced
    from index import Matcher, add_item

    found = photos_of_item(photos)
    with Matcher.open(index, model) as matcher:
        embedder = matcher.embedder
    with native_output_silenced():
        embedder.warm_up()
    with photo_progress("Embedding", patience=1.0) as show:
        report = add_item(
            index, embedder, item_id, found, replace=replace, jobs=jobs, on_progress=show
        )
    list_unreadable(report.unreadable, "are left out")
    done = "replaced" if report.replaced else "added"
    say(f"{index}: {item_id} {done}, {report.photos} photo(s)")
    if as_json:
        print_json(report)
