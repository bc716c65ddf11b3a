"""Writing an HTML page to a file, over nothing but an earlier page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cli import written_file
from cli.page import GENERATOR

_BEGINNING = 1000  # bytes of a page, within which it says that it is one


def refuse_place(path: Path) -> None:
    """See that a report can be written there, before the work is done.

    Raises:
        click.ClickException: it cannot, or it would be over something that is no report.
    """
    written_file.refuse_place(path, "report", _is_page)


def write_page(path: Path, pieces: Iterable[str]) -> None:
    """Write a page; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        pieces: of the page, taken one by one.

    Raises:
        OSError: it cannot be written.
    """
    written_file.write_file(path, "report", (piece.encode() for piece in pieces))


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_BEGINNING)
