"""`embed optimize`: what a large index needs to be searched and matched fast, beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.output import index_option, json_option, print_json, say
from cli.progress import photo_progress

if TYPE_CHECKING:
    from index import SearchReport
    from index.places import Place

_MEANING = {
    "flat": "compares all, exactly",
    "hnsw": "a graph (HNSW)",
    "sq": "lists of vectors in 8 bits a number (IVF, scalar quantisation)",
    "pq": "lists of vectors in four bits a number (IVF, product quantisation)",
}


@click.command(short_help="Make what searching or matching a large index needs.")
@index_option
@click.option(
    "--kind",
    type=click.Choice(tuple(_MEANING)),
    help="Of FAISS index; 'hnsw' is the fastest to search, and takes long to make and the most "
    "memory.  [default: that asked for before, or by the number of items and the free memory]",
)
@click.option(
    "--rows",
    is_flag=True,
    help="Make items.index.rows instead, in which candidates are found faster than in an index of "
    "millions of items; it takes more of the disk than the index.",
)
@json_option
def optimize(index: Place, kind: str | None, rows: bool, as_json: bool) -> None:
    """Make the file items.index.search, with which 'embed search' looks through a large index.

    'embed build-index' and the first 'embed search' make it too where it is missing or of an
    earlier index. It can be deleted. Items that are added later are found without it, until they
    are many; matching candidates never needs it.

    With --rows the file items.index.rows is made instead, for 'embed match'. From then on 'embed
    add', 'embed remove' and 'embed build-index' keep it up to date, until you delete it.

    \b
    Examples:
      embed optimize
      embed optimize --index parts.index --kind hnsw
      embed optimize --rows
    """
    if rows:
        if kind is not None:
            raise click.UsageError("expected --kind or --rows, found both")
        size = make_rows(index)
        if as_json:
            print_json({"bytes": size})
        return
    from index import optimize as make

    with photo_progress("Preparing the search", unit="items", patience=1.0) as show:
        report = make(index, kind, on_progress=show)
    describe(report, index)
    if as_json:
        print_json(report)


def make_rows(index: Place) -> int:
    """Make the row file of an index, and say so on standard error; returns its size in bytes."""
    from index import make_row_file

    with photo_progress("Writing rows", unit="items", patience=1.0) as show:
        size = make_row_file(index, on_progress=show)
    say(f"{index}.rows: {size / 1e6:,.1f} MB, from which 'embed match' reads candidates")
    return size


def describe(report: SearchReport, index: Place) -> None:
    """Say on standard error what was made."""
    from index.search_file import search_path

    if report.kind == "none":
        say(f"{index}: {report.items:,} items are few enough to be read at each search")
        return
    size = f"{report.items:,} items, {report.bytes / 1e6:,.0f} MB"
    found = f"recall@1 {report.recall_1:.3f}, recall@10 {report.recall_10:.3f}"
    say(f"{search_path(index)}: {size}, {_MEANING[report.kind]}, {found}")
