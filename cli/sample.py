"""`embed sample`: a generated catalogue to try things with."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, photo_progress, print_json, say


@click.command(short_help="Generate a catalogue and photos, to try things with.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--items", type=click.IntRange(min=1), default=100, show_default=True, help="How many."
)
@click.option(
    "--photos",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="To learn from, of each item.",
)
@click.option(
    "--queries",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Photos to match, each of another item.",
)
@click.option(
    "--size", type=click.IntRange(32, 1024), default=96, show_default=True, help="Side in pixels."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Another one gives other items.",
)
@json_option
def sample(
    folder: Path, items: int, photos: int, queries: int, size: int, seed: int, as_json: bool
) -> None:
    """Write a generated catalogue into DIR, with photos to match and the truth about them.

    Items differ in shape, colour, label and text; about every fifth is a look-alike of the one
    before it. The same options give the same bytes.

    \b
    DIR/catalogue/<item id>/*.jpg   photos to learn from
    DIR/photos/*.jpg                photos to match
    DIR/ids.txt                     the items that are in them
    DIR/truth.csv                   which is which

    \b
    Examples:
      embed sample demo
      embed sample big --items 10000 --photos 100 --size 64
    """
    from embedder.sample import write_sample

    total, done = items * photos + queries, 0
    with photo_progress("Drawing") as show:

        def drawn(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)

        try:
            write_sample(
                folder,
                items=items,
                photos=photos,
                queries=queries,
                size=size,
                seed=seed,
                on_progress=drawn,
            )
        except (FileExistsError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    say(f"{folder}: {items:,} items with {photos:,} photos each, {queries:,} photos to match")
    if as_json:
        print_json({"items": items, "photos": photos, "queries": queries})
