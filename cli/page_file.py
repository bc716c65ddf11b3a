"""Writing an HTML page to a file: all of it or nothing, and over nothing but an earlier page."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from cli.page import GENERATOR
from embedder.advice import with_advice

_BEGINNING = 1000  # bytes of a page, within which it says that it is one


def refuse_place(path: Path) -> None:
    """See that a report can be written there, before the work is done.

    Raises:
        click.ClickException: there is no such folder, or something that is no report: with
            `--report photos/*.jpg` the first photo would be lost; or it cannot be written.
    """
    if not path.parent.is_dir():
        raise click.ClickException(
            f"{path}: expected a report in a folder that is there: make the folder first, or "
            "name another"
        )
    if path.exists() or not path.name:
        if not path.is_file():
            raise click.ClickException(
                f"{path}: expected the name of a report, found no file: name another"
            )
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
        if beginning and GENERATOR.encode() not in beginning:
            raise click.ClickException(
                f"{path}: expected a new file or an earlier report, found another file: "
                "choose another name, or delete it"
            )
    try:
        unfinished = _unfinished(path)
        unfinished.touch()
        unfinished.unlink()
    except (OSError, RuntimeError) as error:  # the latter of links that lead in a circle
        why = with_advice(error) if isinstance(error, OSError) else error
        raise click.ClickException(f"{path}: cannot be written: {why}") from error


def write_page(path: Path, pieces: Iterable[str]) -> None:
    """Write a page; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        pieces: of the page, taken one by one.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = _unfinished(path)
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        unfinished.replace(path.resolve())
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    """Where it grows: beside where it will be, which a link may lead to."""
    return path.resolve().with_name(f".report.{os.getpid()}")
