"""Photos that are there twice are found, in files as people have them."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import picture
from PIL import Image, ImageEnhance

from index import near_duplicates as module
from index.looks import look_at
from index.near_duplicates import what_is_same


def jpeg(image, quality=95):
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


CHANGES = {
    "same": lambda image: jpeg(image),
    "encoded": lambda image: jpeg(image, 60),
    "smaller": lambda image: jpeg(image.resize((97, 73))),
    "lighter": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.1)),
    "darker": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(0.9)),
    "cropped": lambda image: jpeg(image.crop((3, 1, 197, 148))),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten photos that differ, and where to put more."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(10):
        image = Image.fromarray(picture(150, 200, seed=number))
        (folder / f"{number}.jpg").write_bytes(jpeg(image))
    return [str(folder / f"{number}.jpg") for number in range(10)]


def near_duplicates(photos, groups):
    return module.near_duplicates(photos, look_at(photos).rough, groups)


def one_group(count):
    return np.zeros((count, 1), np.int64)


def test_photos_that_differ_are_no_duplicates(photos):
    assert near_duplicates(photos, one_group(10)) == []


@given(st.integers(0, 9), st.sampled_from(sorted(CHANGES)), st.permutations(range(11)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_copy_is_found_whatever_the_order(photos, tmp_path, number, how, order):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(CHANGES[how](Image.open(photos[number])))
    several = [*photos, str(copy)]
    shuffled = [several[at] for at in order]
    found = near_duplicates(shuffled, one_group(11))
    assert [{shuffled[one.first], shuffled[one.second]} for one in found] == [
        {photos[number], str(copy)}
    ]
    assert all(one.first < one.second for one in found)


def test_only_photos_that_share_a_group_are_compared(photos):
    twice = [photos[0], photos[1], photos[0]]
    groups = np.array([[0, 1], [0, 1], [2, 3]])
    assert near_duplicates(twice, groups) == []
    groups[2, 1] = 1
    (found,) = near_duplicates(twice, groups)
    assert (found.first, found.second) == (0, 2)


def test_what_cannot_be_read_and_what_is_of_one_colour_is_like_nothing(photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    Image.new("RGB", (80, 80), (9, 9, 9)).save(tmp_path / "black.png")
    odd = [str(tmp_path / name) for name in ("bad.jpg", "bad.jpg", "black.png", "black.png")]
    several, told = [*photos, *odd, "none.jpg"], []
    looks = look_at(several, on_progress=lambda *said: told.append(said))
    assert module.near_duplicates(several, looks.rough, one_group(15)) == []
    assert told == [(done, 15) for done in range(1, 16)]
    assert np.isnan(looks.contrast).nonzero()[0].tolist() == [10, 11, 14]


def test_large_groups_are_compared_in_parts(photos, monkeypatch):
    monkeypatch.setattr("index.near_duplicates._PHOTOS_AT_ONCE", 3)
    monkeypatch.setattr("index.near_duplicates._PAIRS_AT_ONCE", 2)
    found = near_duplicates([*photos, *photos], one_group(20))
    assert [(one.first, one.second) for one in found] == [(at, at + 10) for at in range(10)]


def test_one_file_is_told_from_a_copy_and_from_one_that_looks_the_same(photos, tmp_path):
    look, copy, link = (tmp_path / name for name in ("look.jpg", "copy.jpg", "link.jpg"))
    look.write_bytes(jpeg(Image.open(photos[0]), 60))
    copy.write_bytes(Path(photos[0]).read_bytes())
    link.symlink_to(photos[0])
    others = [photos[0], link, copy, look, "none.jpg"]
    same = [what_is_same(photos[0], str(other)) for other in others]
    assert same == ["file", "file", "bytes", "look", "look"]
