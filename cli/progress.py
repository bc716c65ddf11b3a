"""How progress looks on standard error: bars on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

_SECONDS_BETWEEN_LOOKS = 0.1
_BAR = 24  # with the longest of everything beside it, it fits in 80 columns


def progress_bar(transient: bool = False) -> Progress | None:
    """A bar on standard error with a note and the time left; its tasks need the field `note`.

    Args:
        transient: whether nothing is left of it in the end.

    Returns:
        None where standard error is no terminal, or one that cannot go back in a line.
    """
    if not sys.stderr.isatty():  # rich would go by FORCE_COLOR too, and fill the log of a build
        return None
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_interactive:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(_BAR),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=transient,
    )


def rate(task: Task, done: int, total: int, unit: str) -> str:
    """How fast a task goes, or went if it is done; empty while that is not known."""
    speed, elapsed = task.speed, task.elapsed or 0.0
    if elapsed and (done == total or (not speed and elapsed > _SECONDS_BETWEEN_LOOKS)):
        speed = done / elapsed
    if not speed:
        return ""
    return f"{speed:,.1f} {unit}/s" if speed < 10 else f"{speed:,.0f} {unit}/s"


def shower(bar: Progress, task: TaskID, unit: str) -> Callable[[int, int], None]:
    """A function that shows (done, total) of a unit in a bar, as often as is worth it."""
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        # At every photo it would take a twentieth of the time.
        if done < total and time.monotonic() - shown < _SECONDS_BETWEEN_LOOKS:
            return
        shown = time.monotonic()
        note = rate(bar.tasks[task], done, total, unit)
        bar.update(task, completed=done, total=total, note=note)

    return show


@contextmanager
def photo_progress(
    what: str, unit: str = "photos", patience: float = 0.0
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and time left on a terminal; silent elsewhere.

    Args:
        what: is done.
        unit: what is counted.
        patience: seconds after which it appears, for what is mostly done before, or comes later.

    Yields:
        a function to call with (photos done, photos in all), or of another unit.
    """
    started = time.monotonic()
    inner: Callable[[int, int], None] | None = None
    with ExitStack() as open_bars:

        def begin() -> Callable[[int, int], None]:
            bar = progress_bar()
            if bar is None:
                return lambda done, total: None
            open_bars.enter_context(bar)
            task = bar.add_task(what, total=None, note="")
            # Where there was nothing to do, nothing is left of it.
            open_bars.callback(lambda: bar.update(task, visible=bool(bar.tasks[task].total)))
            return shower(bar, task, unit)

        def show(done: int, total: int) -> None:
            nonlocal inner
            if inner is None and time.monotonic() - started >= patience:
                inner = begin()
            if inner is not None:
                inner(done, total)
            if done >= total:
                open_bars.close()  # there may be another bar after this one

        if not patience:
            inner = begin()
        yield show


def counter(total: int, show: Callable[[int, int], None]) -> Callable[[], None]:
    """A function to call at each thing that is done, of so many, for `show` to be told."""
    count = 0

    def done() -> None:
        nonlocal count
        count += 1
        show(count, total)

    return done
