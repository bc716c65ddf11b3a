"""Tests of preparing photos: the same pixels however they come, and one line when they do not."""

import io
from pathlib import Path

import numpy as np
import pytest
from pictures import empty_png, encoded, oriented, picture
from PIL import Image

from embedder import PhotoError, photo_formats
from embedder.photo_names import list_photos
from embedder.photos import FILL, photo_name, prepare


def refusal(photo: object, name: str | None = None) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        prepare(photo, 32, name)
    assert "\n" not in str(caught.value)
    assert caught.value.reason
    assert str(caught.value) == f"{caught.value.photo}: {caught.value.reason}"
    return caught.value


@pytest.mark.parametrize("shape", [(32, 32), (70, 45)])
def test_every_form_of_a_photo_gives_the_same_pixels(tmp_path: Path, shape: tuple[int, int]):
    array = picture(*shape)
    path = tmp_path / "1.png"
    path.write_bytes(encoded(array))
    forms = [path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(array), array]
    first, *others = [prepare(form, 32) for form in forms]
    assert (first.shape, first.dtype) == ((32, 32, 3), np.uint8)
    for other in others:
        np.testing.assert_array_equal(first, other)
    forms[3].close()


@pytest.mark.parametrize(
    "view",
    [lambda a: a[::-1], lambda a: a[..., ::-1], lambda a: a.transpose(1, 0, 2)],
    ids=["flipped", "bgr", "transposed"],
)
def test_views_of_arrays_are_read_as_they_look(view):
    array = view(picture(40, 40))
    np.testing.assert_array_equal(prepare(array, 40), array)


def test_a_photo_of_the_right_size_is_not_changed():
    array = picture(32, 32)
    np.testing.assert_array_equal(prepare(encoded(array), 32), array)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (20, 40, slice(8, 24), slice(0, 32)),
        (40, 20, slice(0, 32), slice(8, 24)),
        (300, 100, slice(0, 32), slice(10, 21)),
        (1, 1000, slice(15, 16), slice(0, 32)),
        (1, 1, slice(0, 32), slice(0, 32)),
        (5, 5, slice(0, 32), slice(0, 32)),
    ],
)
def test_proportions_are_kept_and_the_rest_is_filled(height, width, rows, columns):
    colour = (200, 10, 60)
    expected = np.full((32, 32, 3), FILL, np.uint8)
    expected[rows, columns] = colour
    one_colour = np.full((height, width, 3), colour, np.uint8)
    np.testing.assert_array_equal(prepare(one_colour, 32), expected)


def test_scaling_shows_the_whole_photo():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    small = prepare(halves, 16).astype(int)
    assert small[:, :6].max() == 0
    assert small[:, 10:].min() == 255


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_anywhere_in_the_exif_never_refuses_a_photo():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    exif[0x011A] = 72.0
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    block = exif.tobytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(block)
        for at in rng.integers(6, len(block), 3):
            damaged[at] = rng.integers(256)
        assert prepare(encoded(picture(8, 8), "JPEG", exif=bytes(damaged)), 8).shape == (8, 8, 3)


def composed(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return rgb * share + np.array(FILL) * (1 - share)


def test_transparency_shows_the_fill():
    rgb = picture(32, 32)
    alpha = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    data = encoded(np.dstack([rgb, alpha]))
    np.testing.assert_allclose(prepare(data, 32), composed(rgb, alpha), atol=1)


def test_grey_with_transparency_shows_the_fill():
    grey, alpha = picture(32, 32)[..., 0], picture(32, 32, seed=1)[..., 1]
    image = Image.fromarray(np.dstack([grey, alpha]), "LA")
    expected = composed(np.dstack([grey] * 3), alpha)
    np.testing.assert_allclose(prepare(encoded(image), 32), expected, atol=1)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_transparent_palette_entries_show_the_fill(form: str):
    image = Image.new("P", (32, 32), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 32, 16))
    expected = np.full((32, 32, 3), FILL)
    expected[:16] = (0, 255, 0)
    np.testing.assert_array_equal(prepare(encoded(image, form, transparency=0), 32), expected)


def test_a_transparent_colour_shows_the_fill():
    array = np.full((32, 32, 3), (1, 2, 3), np.uint8)
    array[:10] = (9, 9, 9)
    expected = np.full((32, 32, 3), FILL)
    expected[:10] = (9, 9, 9)
    np.testing.assert_array_equal(prepare(encoded(array, transparency=(1, 2, 3)), 32), expected)


@pytest.mark.parametrize("side", [100, 400, 1000])
def test_reduced_decoding_is_close_to_full_decoding(side: int):
    data = encoded(picture(side, side), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        full = image.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR)
    assert np.abs(prepare(data, 48).astype(int) - np.asarray(full)).mean() < 1.5


def test_the_image_of_the_caller_is_left_alone():
    image = Image.open(io.BytesIO(encoded(picture(40, 80), "JPEG", exif=oriented(6))))
    prepare(image, 8)
    assert image.size == (80, 40)
    assert image.getexif()[0x0112] == 6
    before = np.asarray(image).copy()
    prepare(image, 8)
    np.testing.assert_array_equal(np.asarray(image), before)


def test_the_array_of_the_caller_is_left_alone():
    array = picture(32, 32)
    before = array.copy()
    result = prepare(array, 32)
    np.testing.assert_array_equal(array, before)
    assert not np.shares_memory(result, array)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_refusal_names_the_photo_however_it_was_given(tmp_path: Path):
    content = encoded(picture(64, 64), "JPEG")[:-40]
    path = tmp_path / "1.jpg"
    path.write_bytes(content)
    for photo in (path, str(path)):
        assert refusal(photo).photo == str(path)
    assert refusal(content).photo == "photo 1"
    assert refusal(content, "the third").photo == "the third"


def test_missing_files_and_folders(tmp_path: Path):
    assert refusal(tmp_path / "gone.jpg").reason == "no such file"
    assert "folder" in refusal(tmp_path).reason
    assert refusal("nul\0.jpg").photo == "nul\0.jpg"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_other_arrays_are_refused(array: np.ndarray):
    error = refusal(array)
    assert f"found {array.dtype} {array.shape}" in error.reason


def test_a_photo_of_too_many_pixels_is_refused_before_decoding():
    assert "pixels" in refusal(empty_png(20_000, 20_000)).reason


@pytest.mark.parametrize(("side", "refused"), [(20, False), (21, True)])
def test_the_limit_is_on_decoded_pixels(monkeypatch, side: int, refused: bool):
    monkeypatch.setattr(photo_formats, "MAX_DECODED_PIXELS", 400)
    if refused:
        assert refusal(encoded(picture(side, side))).reason == (
            "expected at most 400 pixels, found 21 x 21"
        )
    else:
        assert prepare(encoded(picture(side, side)), 8).shape == (8, 8, 3)
    # A JPEG of four times the side is decoded at a quarter of it.
    assert prepare(encoded(picture(80, 80), "JPEG"), 16).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("photo", "name"),
    [("a/1.jpg", "a/1.jpg"), (Path("a/1.jpg"), "a/1.jpg"), (b"", "photo 3")],
)
def test_names_of_photos(photo: object, name: str):
    assert photo_name(photo, 2) == name


def test_list_photos_takes_photo_files_by_name(tmp_path: Path):
    for name in ("b.jpg", "a.PNG", "10.heic", ".h.jpg", "._a.jpg", "x.txt", "jpg", "c.jpg.part"):
        (tmp_path / name).touch()
    (tmp_path / "gone.jpg").symlink_to("nowhere")  # somebody should hear of it
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "1.jpg").touch()
    found = [tmp_path / name for name in ("10.heic", "a.PNG", "b.jpg", "gone.jpg")]
    assert list_photos(tmp_path) == found


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 5, 3), (5, 0, 3)])
def test_arrays_without_pixels_are_refused(shape: tuple[int, ...]):
    refusal(np.zeros(shape, np.uint8))
