"""An unfinished training on disk: one file, replaced as a whole after each epoch."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from embedder.advice import with_advice
from embedder.errors import TrainingError, in_one_line

Arrays = list[npt.NDArray[Any]]

_FILE = "checkpoint.safetensors"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs finished.
        best_epoch: the one (from 1) that the best weights are of; 0 before the first.
        improved_epoch: the last one (from 1) that found more held-out photos than any before.
        best_score: candidate accuracy, top-1 accuracy over all items, and negative loss of the
            best epoch: of two equally accurate epochs the one with the lower loss is better.
        seconds: time spent training.
        losses: mean loss of each epoch.
        learning_rate: the highest; a training may go on with a lower one.
    """

    epoch: int = 0
    best_epoch: int = 0
    improved_epoch: int = 0
    best_score: tuple[float, float, float] = (-1.0, -1.0, 0.0)
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    learning_rate: float = 0.0


def named(prefix: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Arrays under names that keep their order: `prefix/00000`, `prefix/00001` ..."""
    # safetensors writes the memory as it lies, so a transposed view must be laid out first.
    return {f"{prefix}/{at:05d}": np.array(array, order="C") for at, array in enumerate(arrays)}


def save_checkpoint(
    folder: Path, settings: str, progress: Progress, groups: dict[str, Arrays]
) -> None:
    """Write a checkpoint; a crash leaves the one before.

    Args:
        folder: of the unfinished training.
        settings: a text that is the same only for a training that may go on from here.
        progress: how far it is.
        groups: arrays by group name, for instance network, optimizer and best.

    Raises:
        TrainingError: it cannot be written, for instance because the disk is full.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    for group, arrays in groups.items():
        tensors.update(named(group, arrays))
    metadata = {"settings": settings, "progress": json.dumps(asdict(progress))}
    partial = folder / (_FILE + ".partial")
    try:
        save_arrays(tensors, partial, metadata)
        partial.replace(folder / _FILE)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise TrainingError(
            f"{folder / _FILE}: cannot be written; the checkpoint before it is kept: "
            f"{with_advice(error)}"
        ) from error


def save_arrays(
    arrays: dict[str, npt.NDArray[Any]], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, down to the disk.

    Raises:
        OSError: it cannot be written.
    """
    # Not by `save_file`: it hides what the system said, and leaves parts of files behind.
    with path.open("wb") as file:
        file.write(save(arrays, metadata))
        file.flush()
        os.fsync(file.fileno())


# What safetensors and json raise for files that are not theirs; AttributeError and TypeError for
# kinds of numbers that numpy does not have.
_DAMAGE = (
    *(OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError),
    *(RecursionError, OverflowError, MemoryError),
)


Stored = tuple[Progress, dict[str, Arrays]] | None


def checkpoint_bytes(folder: Path) -> bytes:
    """A checkpoint as it lies on the disk.

    Raises:
        OSError: it cannot be read.
    """
    return (folder / _FILE).read_bytes()


def put_checkpoint(folder: Path, content: bytes) -> None:
    """Write a checkpoint that another host has.

    Raises:
        OSError: it cannot be written.
    """
    partial = folder / (_FILE + ".partial")
    partial.write_bytes(content)
    partial.replace(folder / _FILE)


def load_checkpoint(folder: Path, settings: str | None) -> Stored:
    """The checkpoint of an unfinished training, or None where there is none.

    Args:
        folder: of the unfinished training.
        settings: what it must have been saved with; None for one that worker 0 looked at.

    Raises:
        TrainingError: it is of a training with other settings or photos, or is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("expected a file, found a folder or special file")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            groups: dict[str, Arrays] = {}
            for name in sorted(file.keys()):
                groups.setdefault(name.split("/")[0], []).append(file.get_tensor(name))
        progress = _progress(json.loads(metadata["progress"]))
    except _DAMAGE as error:
        raise damaged_checkpoint(folder, error) from error
    if settings is not None and metadata.get("settings") != settings:
        raise TrainingError(
            f"{folder}: holds an unfinished training with other options or other photos; "
            "give the same options to go on with it, or --replace to start anew"
        )
    return progress, groups


def refuse_other_arrays(
    folder: Path, groups: dict[str, Arrays], expected: dict[str, Arrays]
) -> None:
    """Refuse a checkpoint that is not of the network that goes on from it.

    Args:
        folder: of the unfinished training.
        groups: arrays of the checkpoint by group name.
        expected: what they take the place of: groups, numbers of arrays, shapes and dtypes.

    Raises:
        TrainingError: it has others, or numbers that are not finite.
    """
    kinds = [
        {
            name: [(one.shape, one.dtype) for one in arrays]
            for name, arrays in each.items()
            if arrays
        }
        for each in (groups, expected)
    ]
    if kinds[0] != kinds[1]:
        raise damaged_checkpoint(folder, "it is of another network")
    if not all(np.isfinite(array).all() for arrays in groups.values() for array in arrays):
        raise damaged_checkpoint(folder, "some of its numbers are not finite")


def damaged_checkpoint(folder: Path, why: object) -> TrainingError:
    """An error that says why a checkpoint is of no use, and what to do."""
    what = f"{folder / _FILE}: damaged ({in_one_line(why)})"
    return TrainingError(f"{what}; start anew with --replace")


def _progress(stored: Any) -> Progress:
    progress = Progress(**{**stored, "best_score": tuple(stored["best_score"])})
    numbers = [*progress.best_score, progress.seconds, *progress.losses, progress.learning_rate]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError("expected finite numbers for the progress")
    epochs = [progress.epoch, progress.best_epoch, progress.improved_epoch]
    if not all(type(epoch) is int and epoch >= 0 for epoch in epochs):
        raise ValueError(f"expected numbers of epochs, found {epochs}")
    if len(progress.best_score) != 3 or not isinstance(progress.losses, list):
        raise ValueError("expected three scores and a list of losses")
    return progress
