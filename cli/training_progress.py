"""How a training looks on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cli.output import list_unreadable, photo_columns, say, share
from embedder.errors import PhotoError
from embedder.training_options import EpochReport, Listener


@contextmanager
def training_progress(log: Listener) -> Iterator[Listener]:
    """A listener that shows a bar on a terminal, and a line an epoch everywhere.

    Args:
        log: hears of steps and epochs too.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(*photo_columns(), console=console, disable=not console.is_terminal)
    task = bar.add_task("Decoding", total=None, note="")

    class Shown(Listener):
        def decoded(self, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def unreadable(self, photos: tuple[PhotoError, ...]) -> None:
            list_unreadable(photos, "are left out")

        def resumed(self, epoch: int) -> None:
            say(f"Going on after epoch {epoch}.")

        def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
            note = f"loss {loss:.3f}"
            bar.update(task, description=f"Epoch {epoch}", completed=step, total=steps, note=note)
            log.step(epoch, step, steps, loss)

        def epoch(self, report: EpochReport) -> None:
            minutes, seconds = divmod(round(report.seconds_left), 60)
            line = (
                f"epoch {report.epoch:>2}/{report.epochs}  loss {report.loss:.3f}  "
                f"right of 10 {share(report.candidate_accuracy)}  of all {share(report.top1)}  "
                f"{report.photos_per_second:,.0f} photos/s  {minutes}:{seconds:02} left"
                f"{'  best' if report.best else ''}"
            )
            console.print(line, soft_wrap=True, highlight=False, markup=False)
            bar.update(task, completed=0)
            log.epoch(report)

    with bar:
        yield Shown()
