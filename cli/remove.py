"""`embed remove`: items that are no longer there."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import index_option, say


@click.command(short_help="Remove items from the index.")
@click.argument("ids", metavar="IDS...", nargs=-1, required=True)
@index_option
def remove(ids: tuple[str, ...], index: Path) -> None:
    """Remove the items IDS from the index: all of them, or none if one is unknown.

    Items of the catalogue come back when the index is built again: remove their folders too.

    \b
    Examples:
      embed remove sku-9
      embed remove sku-7 sku-8 --index parts.index
    """
    from index import remove_items

    say(f"{index}: {remove_items(index, ids)} item(s) removed")
