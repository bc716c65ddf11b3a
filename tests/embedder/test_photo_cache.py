"""Tests of the decoded photos on disk: right at first, and again when something changed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder import Catalogue, TrainingError, read_catalogue
from embedder.backgrounds import prepare_masked
from embedder.photo_cache import cache_key, open_cache
from embedder.photos import prepare

SIZE = 16


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for number, name in enumerate(["a/1", "a/2", "b/1", "c/1", "c/2", "c/3"]):
        write_photo(tmp_path / "photos" / f"{name}.png", number)
    return read_catalogue(tmp_path / "photos")


def opened(catalogue: Catalogue, folder: Path, size: int = SIZE):
    """The cache, and how often a photo was decoded for it."""
    calls: list[tuple[int, int]] = []
    cache = open_cache(catalogue, size, folder, lambda done, total: calls.append((done, total)))
    assert calls == [(n + 1, catalogue.photo_count) for n in range(len(calls))]
    return cache, len(calls)


def assert_right(cache, catalogue: Catalogue, size: int = SIZE) -> None:
    unreadable = {error.photo for error in cache.unreadable}
    expected = [
        (item, prepare(path, size))
        for item, paths in catalogue.items.items()
        for path in paths
        if str(path) not in unreadable
    ]
    assert [cache.items[label] for label in cache.labels] == [item for item, _ in expected]
    assert cache.labels.dtype == np.int64
    assert cache.pixels.dtype == np.uint8
    assert cache.pixels.shape == (len(expected), size, size, 3)
    for found, (_, wanted) in zip(cache.pixels, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_photos_are_prepared_in_the_order_of_the_catalogue(catalogue: Catalogue, tmp_path: Path):
    cache, decoded = opened(catalogue, tmp_path / "new" / "cache")
    assert decoded == 6
    assert cache.items == ("a", "b", "c")
    assert cache.unreadable == ()
    assert_right(cache, catalogue)


def test_the_second_call_takes_what_the_first_left(catalogue: Catalogue, tmp_path: Path):
    first, _ = opened(catalogue, tmp_path / "cache")
    second, decoded = opened(catalogue, tmp_path / "cache")
    assert decoded == 0
    assert second.key == first.key
    assert_right(second, catalogue)


def test_mapped_photos_cannot_be_changed(catalogue: Catalogue, tmp_path: Path):
    cache, _ = opened(catalogue, tmp_path / "cache")
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0] = 0


def change_content(root: Path) -> None:
    write_photo(root / "b/1.png", 99)


def change_time(root: Path) -> None:
    os.utime(root / "b/1.png", ns=(1, 1))


def add_photo(root: Path) -> None:
    write_photo(root / "b/2.png", 99)


def remove_photo(root: Path) -> None:
    (root / "a/1.png").unlink()


def move_photo(root: Path) -> None:
    (root / "a/2.png").rename(root / "b/2.png")


@pytest.mark.parametrize(
    "change", [change_content, change_time, add_photo, remove_photo, move_photo]
)
def test_a_changed_catalogue_is_decoded_anew(catalogue: Catalogue, tmp_path: Path, change):
    before, _ = opened(catalogue, tmp_path / "cache")
    change(catalogue.source)
    changed = read_catalogue(catalogue.source)
    cache, decoded = opened(changed, tmp_path / "cache")
    assert decoded == changed.photo_count
    assert cache.key != before.key
    assert_right(cache, changed)


def test_another_size_is_decoded_anew(catalogue: Catalogue, tmp_path: Path):
    opened(catalogue, tmp_path / "cache")
    cache, decoded = opened(catalogue, tmp_path / "cache", size=8)
    assert decoded == 6
    assert_right(cache, catalogue, size=8)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000])
def test_a_damaged_table_of_contents_is_made_anew(
    catalogue: Catalogue, tmp_path: Path, content: str
):
    opened(catalogue, tmp_path / "cache")
    (table,) = (tmp_path / "cache").glob("*.json")
    table.write_text(content)
    cache, decoded = opened(catalogue, tmp_path / "cache")
    assert decoded == 6
    assert_right(cache, catalogue)


@pytest.mark.parametrize(
    "part",
    [
        {"unreadable": [[0, "a.jpg"]]},
        {"unreadable": [[0.5, "a.jpg", "why"]]},
        {"unreadable": [[99, "a.jpg", "why"]]},
        {"unreadable": [[0, "a.jpg", "why"], [0, "a.jpg", "why"]]},
        {"unreadable": ["abc"]},
        {"masked": [99]},
        {"masked": [-1]},
        {"masked": ["0"]},
    ],
)
def test_a_table_of_contents_of_other_photos_is_made_anew(
    catalogue: Catalogue, tmp_path: Path, part: dict[str, list[object]]
):
    opened(catalogue, tmp_path / "cache")
    (table,) = (tmp_path / "cache").glob("*.json")
    contents = json.loads(table.read_text()) | part
    table.write_text(json.dumps(contents))
    # As long as they would be.
    sizes = {
        "photos.u8": 3 * (6 - len(contents["unreadable"])),
        "masks.u8": len(contents["masked"]),
    }
    for name, planes in sizes.items():
        (tmp_path / "cache" / name).write_bytes(bytes(planes * SIZE * SIZE))
    cache, decoded = opened(catalogue, tmp_path / "cache")
    assert decoded == 6
    assert_right(cache, catalogue)


def test_an_interrupted_decoding_starts_anew(catalogue: Catalogue, tmp_path: Path):
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    opened(catalogue, tmp_path / "cache", size=8)
    with pytest.raises(KeyboardInterrupt):
        open_cache(catalogue, SIZE, tmp_path / "cache", interrupt)
    cache, decoded = opened(catalogue, tmp_path / "cache", size=8)
    assert decoded == 6
    assert_right(cache, catalogue, size=8)


def test_unreadable_photos_are_listed_and_left_out(catalogue: Catalogue, tmp_path: Path):
    broken = [catalogue.source / name for name in ("a/1.png", "b/1.png", "c/2.png")]
    for path in broken[:2]:
        path.write_bytes(b"no photo")
    broken[2].unlink()
    for _ in range(2):  # decoded, then taken from the cache
        cache, _ = opened(catalogue, tmp_path / "cache")
        assert [error.photo for error in cache.unreadable] == [str(path) for path in broken]
        assert cache.unreadable[2].reason == "no such file"
        assert cache.items == ("a", "c")
        assert_right(cache, catalogue)


@pytest.mark.parametrize("photos", [0, 2])
def test_nothing_readable_at_all(tmp_path: Path, photos: int):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for number in range(photos):
        (tmp_path / "photos" / "a" / f"{number}.jpg").write_bytes(b"")
    cache, _ = opened(read_catalogue(tmp_path / "photos"), tmp_path / "cache")
    assert cache.pixels.shape == (0, SIZE, SIZE, 3)
    assert (len(cache.labels), cache.items, len(cache.unreadable)) == (0, (), photos)


@pytest.mark.parametrize("name", ["file", "file/cache"])
def test_a_folder_that_cannot_be_made(catalogue: Catalogue, tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError) as caught:
        open_cache(catalogue, SIZE, tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [None, 0, 10])
def test_lost_pixels_are_decoded_anew(catalogue: Catalogue, tmp_path: Path, length: int | None):
    opened(catalogue, tmp_path / "cache")
    pixels = max((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_size)
    if length is None:
        pixels.unlink()
    else:
        os.truncate(pixels, length)
    cache, decoded = opened(catalogue, tmp_path / "cache")
    assert decoded == 6
    assert_right(cache, catalogue)


def put_on_white(path: Path, side: int) -> None:
    image = Image.new("RGB", (24, 24), (255, 255, 255))
    image.paste((10, 90, 30), (8, 8, 8 + side, 8 + side))
    image.save(path)


def test_masks_are_kept_for_the_photos_that_have_one(catalogue: Catalogue, tmp_path: Path):
    for side, name in enumerate(["a/2", "c/1", "c/3"], 6):
        put_on_white(catalogue.source / f"{name}.png", side)
    (catalogue.source / "b/1.png").write_bytes(b"no photo")
    calls: list[int] = []
    for _ in range(2):  # decoded, then taken from the cache
        cache = open_cache(
            catalogue, SIZE, tmp_path / "cache", lambda done, _: calls.append(done), masks=True
        )
        assert len(calls) == 6
        assert_right(cache, catalogue)
        assert cache.mask_rows.tolist() == [-1, 0, 1, -1, 2]  # b/1 is left out
        for row, name in enumerate(["a/2", "c/1", "c/3"]):
            _, mask = prepare_masked(catalogue.source / f"{name}.png", SIZE)
            np.testing.assert_array_equal(cache.masks[row], mask)


def test_looking_for_masks_or_not_is_another_cache(catalogue: Catalogue, tmp_path: Path):
    put_on_white(catalogue.source / "b/1.png", 8)
    assert cache_key(catalogue, SIZE) != cache_key(catalogue, SIZE, masks=True)
    opened(catalogue, tmp_path / "cache")
    found = open_cache(catalogue, SIZE, tmp_path / "cache", masks=True)
    assert found.mask_rows.max() == 0
    plain, decoded = opened(catalogue, tmp_path / "cache")
    assert decoded == 6
    assert plain.mask_rows.max() == -1 and plain.masks.shape == (0, SIZE, SIZE)


def test_lost_masks_are_decoded_anew(catalogue: Catalogue, tmp_path: Path):
    put_on_white(catalogue.source / "b/1.png", 8)
    before = open_cache(catalogue, SIZE, tmp_path / "cache", masks=True)
    kept = np.array(before.masks)
    (masks,) = (
        path for path in (tmp_path / "cache").iterdir() if path.stat().st_size == SIZE * SIZE
    )
    masks.unlink()
    after = open_cache(catalogue, SIZE, tmp_path / "cache", masks=True)
    np.testing.assert_array_equal(after.masks, kept)
