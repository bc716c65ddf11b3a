"""Writing a file that was asked for: all of it or nothing, and over nothing but an earlier one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from embedder.advice import with_advice


def refuse_place(path: Path, kind: str, is_earlier: Callable[[Path], bool]) -> None:
    """See that a file can be written there, before the work is done.

    Args:
        path: where to.
        kind: of file, in a word: "report".
        is_earlier: whether a file that is there is of this kind, and may be replaced.

    Raises:
        click.ClickException: there is no such folder, or something that is of another kind: with
            `--report photos/*.jpg` the first photo would be lost; or it cannot be written.
    """
    a_kind = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    if not path.parent.is_dir():
        raise click.ClickException(
            f"{path}: expected {a_kind} in a folder that is there: make the folder first, or "
            "name another"
        )
    if path.exists() or not path.name:
        if not path.is_file():
            raise click.ClickException(
                f"{path}: expected the name of {a_kind}, found no file: name another"
            )
        if path.stat().st_size and not is_earlier(path):
            raise click.ClickException(
                f"{path}: expected a new file or an earlier {kind}, found another file: "
                "choose another name, or delete it"
            )
    try:
        unfinished = _unfinished(path, kind)
        unfinished.touch()
        unfinished.unlink()
    except (OSError, RuntimeError) as error:  # the latter of links that lead in a circle
        why = with_advice(error) if isinstance(error, OSError) else error
        raise click.ClickException(f"{path}: cannot be written: {why}") from error


def write_file(path: Path, kind: str, pieces: Iterable[bytes]) -> None:
    """Write a file; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        kind: as for `refuse_place`.
        pieces: of the file, taken one by one.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = _unfinished(path, kind)
    try:
        with unfinished.open("wb") as file:
            file.writelines(pieces)
        unfinished.replace(path.resolve())
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(path: Path, kind: str) -> Path:
    """Where it grows: beside where it will be, which a link may lead to."""
    return path.resolve().with_name(f".{kind}.{os.getpid()}")
