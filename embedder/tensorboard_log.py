"""A training's curves, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tensorflow as tf

from embedder.advice import with_advice
from embedder.errors import MissingExtraError, TrainingError
from embedder.training_options import EpochReport, Listener


class TensorBoardLog(Listener):
    """Writes the loss of each step, and what is known of each epoch, as TensorBoard reads them.

    Args:
        folder: of the log; made if needed. A training that goes on may write to the same one.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        TrainingError: the folder cannot be made or written, now or later.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise MissingExtraError("a log for TensorBoard", "tensorboard")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{folder}: cannot be written: {with_advice(error)}") from error
        self._folder, self._step = folder, 0

    @cached_property
    def _writer(self) -> Any:
        # Not before the training has begun: to make it sets up TensorFlow, and then it is too late
        # for anything that other hosts have a part in.
        return tf.summary.create_file_writer(str(self._folder))

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Write the loss of one batch."""
        self._step = (epoch - 1) * steps + step
        self._write({"training/loss": loss})

    def epoch(self, report: EpochReport) -> None:
        """Write what an epoch brought, and what was written before it, to the disk."""
        values = {
            "training/learning_rate": report.learning_rate,
            "training/photos_per_second": report.photos_per_second,
            "held_out/right_of_10": report.candidate_accuracy,
            "held_out/right_of_all": report.top1,
        }
        self._write({name: value for name, value in values.items() if value is not None})
        with self._told():
            self._writer.flush()

    def _write(self, values: dict[str, float]) -> None:
        with self._told(), self._writer.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise TrainingError(
                f"{self._folder}: cannot be written: {error.message.splitlines()[0]}; the training "
                "goes on after its last epoch with the same command"
            ) from error
