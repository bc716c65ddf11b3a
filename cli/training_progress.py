"""How a training looks on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from cli.output import list_unreadable, say, share, shown
from cli.progress import progress_bar, rate, shower
from embedder.errors import PhotoError
from embedder.training_options import EpochReport, Listener

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def training_progress(log: Listener) -> Iterator[Listener]:
    """A listener that shows a bar on a terminal, and a line an epoch everywhere.

    Args:
        log: hears of steps and epochs too.
    """
    bar = progress_bar(transient=True)
    with bar or nullcontext():
        yield _Said(log) if bar is None else _Shown(log, bar)


class _Said(Listener):
    """Says in lines what is worth one."""

    def __init__(self, log: Listener) -> None:
        self._log = log

    def tell(self, line: str) -> None:
        say(line)

    def unreadable(self, photos: tuple[PhotoError, ...]) -> None:
        list_unreadable(photos, "are left out", self.tell)

    def waiting(self, workers: list[str]) -> None:
        self.tell(f"Waiting for {', '.join(workers)}.")

    def resumed(self, epoch: int) -> None:
        self.tell(f"Going on after epoch {epoch}.")

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._log.step(epoch, step, steps, loss)

    def epoch(self, report: EpochReport) -> None:
        self.tell(_line(report))
        self._log.epoch(report)


class _Shown(_Said):
    """Shows a bar below them."""

    def __init__(self, log: Listener, bar: Progress) -> None:
        super().__init__(log)
        self._bar = bar
        self._task = bar.add_task("Decoding", total=None, note="")
        self._show = shower(bar, self._task, "photos")
        self._looking = False

    def tell(self, line: str) -> None:
        # `say` knows nothing of the bar, and would write behind it.
        self._bar.console.print(shown(line), soft_wrap=True, highlight=False, markup=False)

    def decoded(self, done: int, total: int) -> None:
        self._show(done, total)

    def features(self, done: int, total: int) -> None:
        if not self._looking:  # the rate and the time left are those of the features
            self._bar.reset(self._task, description="Features", note="")
            self._looking = True
        self._show(done, total)

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if step == 1:  # the rate and the time left are those of this epoch
            self._bar.reset(self._task, description=f"Epoch {epoch}", total=steps, note="")
        speed = rate(self._bar.tasks[self._task], step, steps, "steps")
        note = f"loss {loss:.3f}  {speed}" if speed else f"loss {loss:.3f}"
        self._bar.update(self._task, completed=step, note=note)
        super().step(epoch, step, steps, loss)


def _line(report: EpochReport) -> str:
    """An epoch in a line of less than 80 columns."""
    minutes, seconds = divmod(round(report.seconds_left), 60)
    return (
        f"epoch {report.epoch:>2}/{report.epochs}  loss {report.loss:.3f}  "
        f"right of 10 {share(report.candidate_accuracy)}  of all {share(report.top1)}  "
        f"{minutes}:{seconds:02} left{'  best' if report.best else ''}"
    )
