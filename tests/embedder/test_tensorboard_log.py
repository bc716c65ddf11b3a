"""Tests of the log for TensorBoard, read back with TensorBoard's own reader."""

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from embedder import TrainingError
from embedder.tensorboard_log import TensorBoardLog
from embedder.training_options import EpochReport


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(name)]
        for name in events.Tags()["tensors"]
    }


def report(epoch: int, accuracy: float | None) -> EpochReport:
    return EpochReport(epoch, 2, 0.5, accuracy, accuracy, 0.25, 128.0, 3.0, True)


def test_steps_and_epochs_are_written(tmp_path: Path):
    log = TensorBoardLog(tmp_path / "new" / "log")
    for epoch, accuracy in ((1, 0.5), (2, 0.75)):
        for step in (1, 2, 3):
            log.step(epoch, step, 3, epoch + step / 4)
        log.epoch(report(epoch, accuracy))
    found = curves(tmp_path / "new" / "log")
    assert found["training/loss"] == [
        (1, 1.25), (2, 1.5), (3, 1.75), (4, 2.25), (5, 2.5), (6, 2.75)
    ]  # fmt: skip
    assert found["held_out/right_of_10"] == [(3, 0.5), (6, 0.75)]
    assert found["training/learning_rate"] == [(3, 0.25), (6, 0.25)]
    assert found["training/photos_per_second"] == [(3, 128), (6, 128)]


def test_what_was_not_measured_is_left_out(tmp_path: Path):
    log = TensorBoardLog(tmp_path)
    log.step(1, 1, 1, 0.5)
    log.epoch(report(1, None))
    assert not [name for name in curves(tmp_path) if name.startswith("held_out")]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="file"):
        TensorBoardLog(tmp_path / "file" / "log")


def test_a_full_disk_is_one_line(tmp_path: Path, little_room):
    log = TensorBoardLog(tmp_path)
    with little_room(50), pytest.raises(TrainingError, match="cannot be written") as caught:
        for step in range(1000):
            log.step(1, step, 1000, 0.5)
        log.epoch(report(1, 0.5))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_without_tensorboard_the_extra_is_named(tmp_path: Path):
    code = (
        "import sys\nsys.modules['tensorboard'] = None\n"
        "from embedder import MissingExtraError\n"
        "from embedder.tensorboard_log import TensorBoardLog\nfrom pathlib import Path\n"
        "try:\n    TensorBoardLog(Path('log'))\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "[tensorboard]" in done.stdout
