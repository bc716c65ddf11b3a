"""Tests of checkpoints: what was saved comes back, or it is said why it cannot."""

from pathlib import Path

import numpy as np
import pytest

from embedder import TrainingError
from embedder.checkpoints import (
    Progress,
    load_checkpoint,
    refuse_other_arrays,
    save_checkpoint,
)

SETTINGS = '{"options": "Süß"}'


def progress(epoch: int = 3) -> Progress:
    return Progress(epoch, 2, 1, (0.75, 0.5, -0.6), 12.5, [0.7, 0.6, 0.65])


def arrays(seed: int = 0) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    kinds = [np.float32, np.int64, np.float64, np.uint8]
    many = [rng.normal(size=(3, n % 4)).astype(kinds[n % 4]) for n in range(120)]
    return {
        "network": many,
        "optimizer": [np.array(7, np.int64), np.float32(0.5), np.zeros((2, 0), np.float32)],
        "best": [np.arange(12, dtype=np.float32).reshape(3, 4)],
    }


def assert_same(found: dict[str, list[np.ndarray]], expected: dict[str, list[np.ndarray]]) -> None:
    assert set(found) == set(expected)
    for group, wanted in expected.items():
        for one, other in zip(found[group], wanted, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            np.testing.assert_array_equal(one, other)


def refusal(folder: Path, settings: str = SETTINGS) -> str:
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(folder, settings)
    message = str(caught.value)
    assert "\n" not in message
    assert "--replace" in message
    assert str(folder) in message
    return message


def checkpoint(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("state", [progress(), Progress()])
def test_what_is_saved_is_loaded(tmp_path: Path, state: Progress):
    save_checkpoint(tmp_path, SETTINGS, state, arrays())
    found, groups = load_checkpoint(tmp_path, SETTINGS)
    assert found == state
    assert_same(groups, arrays())


def test_a_later_checkpoint_replaces_the_earlier(tmp_path: Path):
    save_checkpoint(tmp_path, SETTINGS, progress(1), arrays())
    save_checkpoint(tmp_path, SETTINGS, progress(2), arrays(1))
    found, groups = load_checkpoint(tmp_path, SETTINGS)
    assert found == progress(2)
    assert_same(groups, arrays(1))
    assert checkpoint(tmp_path).is_file()


@pytest.mark.parametrize("name", [".", "gone"])
def test_no_checkpoint(tmp_path: Path, name: str):
    assert load_checkpoint(tmp_path / name, SETTINGS) is None


def test_other_settings_are_refused(tmp_path: Path):
    save_checkpoint(tmp_path, SETTINGS, progress(), arrays())
    assert "other options" in refusal(tmp_path, SETTINGS + " ")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, length: int):
    save_checkpoint(tmp_path, SETTINGS, progress(), arrays())
    path = checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert "damaged" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"settings"', b'"zettings"'),
        (b'"progress"', b'"brogress"'),
        (b"best_epoch", b"test_epoch"),
    ],
)
def test_other_metadata_is_refused(tmp_path: Path, before: bytes, after: bytes):
    save_checkpoint(tmp_path, SETTINGS, progress(), arrays())
    path = checkpoint(tmp_path)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    refusal(tmp_path)


def test_another_file_is_refused(tmp_path: Path):
    save_checkpoint(tmp_path, SETTINGS, progress(), arrays())
    checkpoint(tmp_path).write_bytes(b"\x89PNG" * 100)
    assert "damaged" in refusal(tmp_path)


def test_a_failed_write_keeps_the_checkpoint_before_it(tmp_path: Path, little_room):
    save_checkpoint(tmp_path, SETTINGS, progress(1), arrays())
    path = checkpoint(tmp_path)
    with pytest.raises(TrainingError) as caught, little_room(1000):
        save_checkpoint(tmp_path, SETTINGS, progress(2), arrays(1))
    assert "\n" not in str(caught.value)
    assert "kept" in str(caught.value)
    found, groups = load_checkpoint(tmp_path, SETTINGS)
    assert found == progress(1)
    assert_same(groups, arrays())
    assert checkpoint(tmp_path) == path


def test_a_folder_that_is_gone(tmp_path: Path):
    with pytest.raises(TrainingError, match="cannot be written"):
        save_checkpoint(tmp_path / "gone", SETTINGS, progress(), arrays())
    assert not (tmp_path / "gone").exists()


def test_more_than_a_thousand_arrays_keep_their_order(tmp_path: Path):
    many = {"optimizer": [np.array(n) for n in range(1200)]}
    save_checkpoint(tmp_path, SETTINGS, progress(), many)
    assert_same(load_checkpoint(tmp_path, SETTINGS)[1], many)


def test_arrays_are_saved_as_they_look_not_as_they_lie(tmp_path: Path):
    views = [np.arange(12).reshape(3, 4).T, np.arange(9)[::3], np.arange(5.0)[::-1]]
    save_checkpoint(tmp_path, SETTINGS, progress(), {"best": views})
    assert_same(load_checkpoint(tmp_path, SETTINGS)[1], {"best": views})


@pytest.mark.parametrize(
    "state",
    [
        Progress(-1),
        Progress(2.5),
        Progress(1, losses={}),
        Progress(1, losses=["a"]),
        Progress(1, best_score=(0.5, 0.5)),
        Progress(1, seconds=float("nan")),
        Progress(1, learning_rate=None),
    ],
)
def test_progress_that_cannot_be_is_refused(tmp_path: Path, state: Progress):
    save_checkpoint(tmp_path, SETTINGS, state, arrays())
    assert "damaged" in refusal(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"best": []},
        {"more": [np.ones(2)]},
        {"best": [np.ones((4, 3), np.float32)]},
        {"best": [np.ones((3, 4), np.float64)]},
        {"best": [np.ones((3, 4), np.float32)] * 2},
        {"best": [np.full((3, 4), np.nan, np.float32)]},
    ],
)
def test_arrays_of_another_network_are_refused(tmp_path: Path, change: dict[str, list[np.ndarray]]):
    refuse_other_arrays(tmp_path, arrays(1), arrays(0))
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: damaged .* --replace"):
        refuse_other_arrays(tmp_path, arrays() | change, arrays())
