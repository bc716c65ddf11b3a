"""What the commands share: progress on standard error, and plain tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedder.errors import PhotoError

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from index import Match

_MOST_LISTED = 20
_ORDER = {"unreadable": 0, "unsure": 1, "unknown": 2, "matched": 3}
_SECONDS_BETWEEN_LOOKS = 0.1

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default="items.model",
    envvar="EMBED_MODEL",
    show_default=True,
    show_envvar=True,
    help="The model folder.",
)
index_option = click.option(
    "--index",
    type=click.Path(path_type=Path),
    default="items.index",
    envvar="EMBED_INDEX",
    show_default=True,
    show_envvar=True,
    help="The index file.",
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), help="Threads to use.  [default: all cores]"
)


def say(text: str) -> None:
    """Tell the user something that is not a result."""
    click.echo(text, err=True)


def photo_columns() -> tuple[ProgressColumn, ...]:
    """What a progress bar shows; its tasks need the field `note`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )


@contextmanager
def photo_progress(what: str, unit: str = "photos") -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and time left on a terminal; silent elsewhere.

    Yields:
        a function to call with (photos done, photos in all), or of another unit.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*photo_columns(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")
        shown = 0.0

        def show(done: int, total: int) -> None:
            nonlocal shown
            # At every photo it would take a twentieth of the time.
            if done < total and time.monotonic() - shown < _SECONDS_BETWEEN_LOOKS:
                return
            shown = time.monotonic()
            speed = bar.tasks[task].speed
            note = f"{speed:,.0f} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, note=note)

        yield show


def list_unreadable(photos: Sequence[PhotoError], what: str) -> None:
    """Count and name photos that could not be read."""
    if not photos:
        return
    say(f"{len(photos)} photo(s) could not be read and {what}:")
    for error in photos[:_MOST_LISTED]:
        say(f"  {error}")
    if len(photos) > _MOST_LISTED:
        say(f"  and {len(photos) - _MOST_LISTED} more")


def listed(names: Sequence[str]) -> str:
    """The first of some names in one line, and whether there are more."""
    return ", ".join(names[:_MOST_LISTED]) + (" ..." if len(names) > _MOST_LISTED else "")


def share(value: float | None) -> str:
    """A share as a percentage, or that it was not measured."""
    return "   n/a" if value is None else f"{value:6.1%}"


def table(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Rows as aligned columns, the first row as the heading; columns in `right` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def doubt(found: Match) -> tuple[int, float]:
    """What to sort matches by, for the doubtful ones to come first."""
    return _ORDER[found.status], found.confidence or 0.0
