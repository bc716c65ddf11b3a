"""`embed remove`: items that are no longer there."""

from __future__ import annotations

import click

from cli.output import index_option, json_option, print_json, say
from index.places import Place


@click.command(short_help="Remove items from the index.")
@click.argument("ids", metavar="IDS...", nargs=-1, required=True)
@index_option
@json_option
def remove(ids: tuple[str, ...], index: Place, as_json: bool) -> None:
    """Remove the items IDS from the index: all of them, or none if one is unknown.

    Items of the catalogue come back when the index is built again: remove their folders too.

    \b
    Examples:
      embed remove sku-9
      embed remove sku-7 sku-8 --index parts.index
    """
    from index import remove_items

    removed = remove_items(index, ids)
    say(f"{index}: {removed} item(s) removed")
    if as_json:
        print_json({"removed": removed})
