"""Tests of finding what lies behind an item, and of drawing something else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from embedder import TrainingError
from embedder.backgrounds import (
    MOST_PICTURES,
    draw_background,
    foreground_mask,
    item_views,
    load_pictures,
    prepare_masked,
)
from embedder.photos import prepare
from embedder.sampling import evenly

NO_PICTURES = np.zeros((0, 1, 1, 3), np.uint8)


def on_plain(colour: tuple[int, int, int], box: tuple[int, ...], size=(60, 40)) -> Image.Image:
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).rectangle(box, (200, 30, 90))
    return image


def test_the_alpha_channel_is_the_mask():
    alpha = np.zeros((30, 50), np.uint8)
    alpha[5:20, 10:30], alpha[20:22, 10:30] = 255, 128
    image = Image.fromarray(np.dstack([np.full((30, 50, 3), 255, np.uint8), alpha]))
    np.testing.assert_array_equal(foreground_mask(image), alpha)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_opaque_alpha_channel_says_nothing(mode: str):
    image = on_plain((250, 250, 250), (20, 10, 40, 30))
    mask = foreground_mask(image.convert(mode))
    assert mask is not None
    assert mask[20, 30] == 255 and mask[2, 2] == 0


def test_a_fully_transparent_photo_has_no_item():
    assert foreground_mask(Image.new("RGBA", (20, 20), (255, 0, 0, 0))) is None


@settings(max_examples=40)
@given(
    colour=st.tuples(*[st.integers(0, 120)] * 3),
    left=st.integers(2, 25),
    top=st.integers(2, 15),
    width=st.integers(10, 30),
    height=st.integers(10, 20),
    noise=st.integers(0, 2),
)
def test_an_item_on_any_plain_colour_is_found(colour, left, top, width, height, noise):
    image = on_plain(colour, (left, top, left + width - 1, top + height - 1))
    pixels = np.asarray(image).astype(int)
    shaken = pixels + np.random.default_rng(0).integers(-noise, noise + 1, pixels.shape)
    mask = foreground_mask(Image.fromarray(shaken.clip(0, 255).astype(np.uint8)))
    assert mask is not None and mask.shape == (40, 60) and mask.dtype == np.uint8
    item = np.zeros((40, 60), dtype=bool)
    item[top : top + height, left : left + width] = True
    assert (mask[~item] == 0).all()
    assert (mask[item] > 127).mean() > 0.9
    assert (mask[top + 2 : top + height - 2, left + 2 : left + width - 2] == 255).all()


def test_what_is_enclosed_belongs_to_the_item():
    image = on_plain((255, 255, 255), (10, 5, 50, 35))
    ImageDraw.Draw(image).rectangle((20, 12, 40, 28), (255, 255, 255))
    mask = foreground_mask(image)
    assert mask is not None and mask[20, 30] == 255


def test_an_item_at_the_edge_is_found_where_most_of_the_border_is_plain():
    mask = foreground_mask(on_plain((255, 255, 255), (20, 10, 35, 39)))
    assert mask is not None and mask[39, 27] == 255


@pytest.mark.parametrize("box", [(0, 0, 59, 25), (0, 0, 59, 39), (70, 70, 71, 71)])
def test_a_border_of_several_colours_or_no_item_gives_none(box):
    assert foreground_mask(on_plain((255, 255, 255), box)) is None


def test_noise_and_gradients_are_not_plain():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert foreground_mask(Image.fromarray(noise)) is None
    ramp = np.tile(np.arange(0, 160, 4, dtype=np.uint8)[None, :, None], (40, 1, 3))
    assert foreground_mask(Image.fromarray(ramp)) is None


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (300, 200), (64, 64)])
def test_prepared_photos_are_the_same_and_masks_leave_out_the_padding(size, tmp_path: Path):
    image = on_plain(
        (255, 255, 255), (size[0] // 3, size[1] // 3, size[0] // 2, size[1] // 2), size
    )
    image.save(tmp_path / "photo.png")
    pixels, mask = prepare_masked(tmp_path / "photo.png", 64)
    np.testing.assert_array_equal(pixels, prepare(tmp_path / "photo.png", 64))
    assert mask is not None and mask.shape == (64, 64)
    rows, columns = np.nonzero(mask > 127)
    offset = 64 * (1 - np.array(size) / max(size)) / 2
    wanted = np.array([[s / 3, s / 2 + 1] for s in size]) * 64 / max(size) + offset[:, None]
    found = [[columns.min(), columns.max() + 1], [rows.min(), rows.max() + 1]]
    np.testing.assert_allclose(found, wanted, atol=2)


def test_transparent_photos_are_prepared_as_ever(tmp_path: Path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 70, 4), dtype=np.uint8))
    image.save(tmp_path / "photo.png")
    pixels, mask = prepare_masked(tmp_path / "photo.png", 32)
    np.testing.assert_array_equal(pixels, prepare(tmp_path / "photo.png", 32))
    assert mask is not None and (mask[:4] == 0).all() and (mask[-4:] == 0).all()


@pytest.mark.real_data
def test_stock_pictures_are_cut_out(real_data: Path):
    shares = []
    for path in sorted((real_data / "grocery" / "iconic").rglob("*.jpg")):
        _, mask = prepare_masked(path, 128)
        if mask is not None:
            shares.append((mask > 127).mean())
    assert len(shares) >= 79  # of 81
    assert np.mean([0.15 <= share <= 0.95 for share in shares]) > 0.95
    assert min(shares) > 0.05


@pytest.mark.real_data
def test_white_cartons_keep_their_white_sides(real_data: Path):
    for name in ("Arla-Mild-Vanilla-Yoghurt", "Arla-Natural-Yoghurt", "Arla-Sour-Milk"):
        (path,) = (real_data / "grocery" / "iconic" / name).iterdir()
        _, mask = prepare_masked(path, 128)
        assert mask is not None
        rows, columns = np.nonzero(mask > 127)
        box = mask[rows.min() : rows.max(), columns.min() : columns.max()]
        assert (box > 127).mean() > 0.85


@pytest.mark.real_data
def test_photos_from_shops_have_no_plain_background(real_data: Path):
    photos = sorted((real_data / "grocery" / "train").rglob("*.jpg"))[::7]
    found = [prepare_masked(path, 128)[1] is not None for path in photos]
    assert len(photos) > 300
    assert np.mean(found) < 0.05


def test_backgrounds_are_drawn_from_the_middle_of_the_pictures():
    pictures = np.zeros((3, 80, 80, 3), np.uint8)
    for number, picture in enumerate(pictures):
        picture[10:70, 10:70] = 50 + 50 * number  # black is left out
    rng = np.random.default_rng(0)
    drawn = [np.asarray(draw_background(rng, 20, pictures)) for _ in range(60)]
    parts = [int(one[0, 0, 0]) for one in drawn if (one == one[0, 0, 0]).all()]
    assert 20 < len(parts) < 58
    assert set(parts) == {50, 100, 150}


def test_generated_backgrounds_differ_and_a_seed_decides_them():
    def some(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.stack([np.asarray(draw_background(rng, 33, NO_PICTURES)) for _ in range(30)])

    first = some(1)
    assert (first.shape, first.dtype) == ((30, 33, 33, 3), np.uint8)
    np.testing.assert_array_equal(first, some(1))
    assert len({one.tobytes() for one in [*first, *some(2)]}) == 60
    assert np.median(first.std(axis=(1, 2))) > 10


def cut_out(side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A red item on white, and its mask."""
    pixels, mask = np.full((side, side, 3), 255, np.uint8), np.zeros((side, side), np.uint8)
    pixels[10:40, 15:30], mask[10:40, 15:30] = (255, 0, 0), 255
    return pixels, mask


def reddish(views: np.ndarray) -> np.ndarray:
    return (views[..., 0] > 140) & (views[..., 1:].max(axis=-1) < 12)


def test_views_show_the_item_on_other_backgrounds():
    pixels, mask = cut_out()
    before = pixels.copy()
    views = item_views(np.random.default_rng(0), pixels, mask, 30)
    assert (views.shape, views.dtype) == ((30, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(pixels, before)
    assert len({view.tobytes() for view in views}) == 30
    in_place, elsewhere, heap = views[::3], views[1::3], views[2::3]
    assert (in_place[:, mask == 255] == (255, 0, 0)).all()
    assert (in_place[:, mask == 0] == 255).all(axis=-1).mean() < 0.05  # no white is left
    areas = reddish(elsewhere).sum(axis=(1, 2)) / (mask == 255).sum()
    assert (areas > 0.2).all() and (areas < 2.5).all() and np.ptp(areas) > 0.5
    places = [np.argwhere(red).mean(axis=0) for red in reddish(elsewhere)]
    assert np.ptp(places, axis=0).min() > 5
    assert reddish(heap).mean() > 0.35


def test_an_item_in_a_heap_is_there_many_times():
    pixels, mask = cut_out()
    pixels[24:26, 15:30] = (0, 0, 255)  # a stripe, to count copies by
    heaps = item_views(np.random.default_rng(1), pixels, mask, 30)[2::3]
    blue = (heaps[..., 2] > 90) & (heaps[..., :2].max(axis=-1) < 60)
    assert np.median([ndimage.label(one)[1] for one in blue]) >= 4


def test_a_seed_decides_the_views():
    pixels, mask = cut_out()
    first, again, other = (
        item_views(np.random.default_rng(seed), pixels, mask, 6) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("mask", [None, np.zeros((48, 48), np.uint8)])
def test_without_an_item_to_cut_out_views_are_the_picture(mask):
    pixels, _ = cut_out()
    views = item_views(np.random.default_rng(0), pixels, mask, 3)
    np.testing.assert_array_equal(views, np.stack([pixels] * 3))


@pytest.mark.parametrize(
    "box", [(0, 48, 20, 21), (20, 21, 0, 48), (0, 48, 0, 48), (47, 48, 47, 48)]
)
def test_items_of_any_proportions_have_views(box):
    pixels, mask = cut_out()
    mask[:] = 0
    mask[box[0] : box[1], box[2] : box[3]] = 255
    assert item_views(np.random.default_rng(0), pixels, mask, 9).shape == (9, 48, 48, 3)


def test_given_pictures_fill_their_square(tmp_path: Path):
    Image.new("RGB", (90, 30), (1, 2, 3)).save(tmp_path / "a.png")
    Image.new("RGB", (30, 300), (4, 5, 6)).save(tmp_path / "b.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    pictures = load_pictures(tmp_path, 20)
    assert pictures.shape == (2, 30, 30, 3)
    assert (pictures[0] == (1, 2, 3)).all() and (pictures[1] == (4, 5, 6)).all()


@pytest.mark.parametrize("content", [None, "empty", "broken"])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, content: str | None):
    folder = tmp_path / "pictures"
    if content:
        folder.mkdir()
    if content == "broken":
        (folder / "a.jpg").write_bytes(b"")
    with pytest.raises(
        TrainingError, match="expected a folder of photos for backgrounds"
    ) as caught:
        load_pictures(folder, 20)
    assert str(folder) in str(caught.value)


@given(count=st.integers(0, 5000))
def test_pictures_are_chosen_evenly_and_never_twice(count: int):
    chosen = evenly(count, MOST_PICTURES)
    assert len(chosen) == min(count, MOST_PICTURES)
    assert len(set(chosen.tolist())) == len(chosen)
    if count:
        assert chosen[0] == 0 and (count == 1 or chosen[-1] == count - 1)
        assert np.diff(chosen, append=count).max() < count / len(chosen) + 2
