"""Tests of the sample catalogue: what is written, that it repeats, and what is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder.sample import SampleSummary, item_id, look_alike_of, write_sample
from embedder.sample_drawing import draw_item


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path within."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "new"
    write_sample(folder, items=12, photos=5, queries=6, size=48, seed=3, jobs=1)
    return folder


def test_layout_and_summary(tmp_path: Path) -> None:
    done = write_sample(tmp_path / "a" / "b", items=3, photos=2, queries=2, size=32)
    assert done == SampleSummary(tmp_path / "a" / "b", items=3, photos=6, queries=2)
    assert sorted(contents(tmp_path / "a" / "b")) == sorted(
        [f"catalogue/{item_id(i)}/000{n}.jpg" for i in range(3) for n in (1, 2)]
        + ["photos/photo-01.jpg", "photos/photo-02.jpg", "ids.txt", "truth.csv"]
    )


def test_same_arguments_give_the_same_bytes_with_any_jobs(tmp_path: Path) -> None:
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        write_sample(folder, items=21, photos=11, queries=4, size=32, seed=5, jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_same_seed_repeats_and_another_differs(tmp_path: Path, sample: Path) -> None:
    write_sample(tmp_path / "same", items=12, photos=5, queries=6, size=48, seed=3)
    assert contents(tmp_path / "same") == contents(sample)
    write_sample(tmp_path / "other", items=12, photos=5, queries=6, size=48, seed=4)
    before, after = contents(sample), contents(tmp_path / "other")
    photos = [name for name in before if name.endswith(".jpg")]
    assert photos
    assert all(before[name] != after[name] for name in photos)


def test_an_item_does_not_depend_on_how_much_else_is_written(tmp_path: Path, sample: Path) -> None:
    write_sample(tmp_path, items=7, photos=3, queries=0, size=48, seed=3)
    before, after = contents(sample), contents(tmp_path)
    photos = [name for name in after if name.endswith(".jpg")]
    assert len(photos) == 7 * 3
    assert all(before[name] == after[name] for name in photos)


def test_ids_and_truth_agree_with_the_files(sample: Path) -> None:
    with (sample / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    assert [row["photo"] for row in truth] == sorted(p.name for p in (sample / "photos").iterdir())
    answers = [row["item_id"] for row in truth]
    heading, *ids = (sample / "ids.txt").read_text("utf-8").splitlines()
    assert heading.startswith("#")
    assert ids == sorted(set(answers)) and len(ids) == 6
    assert answers != ids, "the order of the photos must not give the items away"
    folders = {path.name for path in (sample / "catalogue").iterdir()}
    assert set(ids) <= folders
    assert len(folders) == 12 and len({len(name) for name in folders}) == 1


def test_every_photo_decodes_and_none_repeats(sample: Path) -> None:
    files = sorted(sample.rglob("*.jpg"))
    assert len({path.read_bytes() for path in files}) == len(files) == 12 * 5 + 6
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 48))


def test_photos_of_one_item_show_other_poses(sample: Path) -> None:
    files = sorted((sample / "catalogue" / item_id(0)).iterdir())
    photos = [np.asarray(Image.open(path).convert("L"), np.float64) for path in files]
    for i, first in enumerate(photos):
        for second in photos[:i]:
            assert np.abs((first - first.mean()) - (second - second.mean())).mean() > 3


@pytest.mark.parametrize("seed", range(3))
def test_twins_are_alike_but_not_the_same(seed: int) -> None:
    drawings = [np.asarray(draw_item(seed, i, 48), np.float64) for i in range(50)]
    twins = [(i, look_alike_of(i)) for i in range(50)]
    pairs = [(i, other) for i, other in twins if other is not None]
    assert len(pairs) == 10
    for index, other in pairs:
        assert other == index - 1 and look_alike_of(other) is None
        change = np.abs(drawings[index] - drawings[other]).max(axis=2)
        assert (change > 40).mean() > 0.005, "too alike to tell apart"
        stranger = np.abs(drawings[index] - drawings[other - 1]).mean()
        assert change.mean() < stranger or change.mean() < 25, "not a look-alike"


def test_progress_adds_up(tmp_path: Path) -> None:
    seen: list[int] = []
    write_sample(tmp_path, items=22, photos=10, queries=7, size=32, jobs=2, on_progress=seen.append)
    assert sum(seen) == 22 * 10 + 7
    assert len(seen) > 1 and min(seen) > 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("items", 0, "expected items to be at least 1, found 0"),
        ("photos", 0, "expected photos to be at least 1, found 0"),
        ("queries", -1, "expected queries to be at least 0, found -1"),
        ("queries", 101, "expected queries to be at most items (100), found 101"),
        ("size", 31, "expected size to be at least 32, found 31"),
        ("seed", -1, "expected seed to be at least 0, found -1"),
        ("jobs", 0, "expected jobs to be at least 1, found 0"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, name: str, value: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        write_sample(tmp_path / "new", **{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["catalogue/mine.txt", "photos/mine.jpg", "ids.txt", "truth.csv"])
def test_existing_files_are_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(FileExistsError) as caught:
        write_sample(tmp_path, items=1, photos=1, queries=1)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="found a file"):
        write_sample(tmp_path / "file")
    assert contents(tmp_path) == {"file": b"mine"}


def test_other_files_and_empty_folders_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"mine")
    write_sample(tmp_path, items=1, photos=1, queries=0, size=32)
    assert (tmp_path / "notes.txt").read_bytes() == b"mine"
    assert (tmp_path / "ids.txt").read_text("utf-8").count("\n") == 1
