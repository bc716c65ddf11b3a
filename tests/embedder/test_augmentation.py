"""Tests of the variation of training photos, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest

from embedder.augmentation import augment, draw_colour, draw_geometry
from embedder.photos import FILL
from embedder.training_options import Augmentation

NONE = Augmentation(0, 0, 0, 0, False, 0, 0, 0, 0)
SIZE = 12


def photos(count: int = 6, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def varied(options: Augmentation, batch: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    geometry = draw_geometry(rng, len(batch), batch.shape[1], options)
    return np.asarray(augment(batch, geometry, draw_colour(rng, len(batch), options)))


def moves(count: int, columns: int, rows: int) -> np.ndarray:
    return np.tile(np.float32([1, 0, columns, 0, 1, rows, 0, 0]), (count, 1))


def no_colour(count: int) -> np.ndarray:
    return draw_colour(np.random.default_rng(0), count, NONE)


def test_without_variation_photos_stay_as_they_are():
    batch = photos()
    result = varied(NONE, batch)
    assert (result.shape, result.dtype) == (batch.shape, np.float32)
    np.testing.assert_allclose(result, batch, atol=1e-3)


def test_flip_mirrors_about_half_of_the_photos_exactly():
    batch = photos(60)
    result = varied(replace(NONE, flip=True), batch)
    mirrored = 0
    for before, after in zip(batch.astype(float), result, strict=True):
        if np.abs(after - before).max() > 1e-3:
            np.testing.assert_allclose(after, before[:, ::-1], atol=1e-3)
            mirrored += 1
    assert 15 < mirrored < 45


def test_no_photo_is_mirrored_without_flip():
    geometry = draw_geometry(np.random.default_rng(0), 200, SIZE, replace(NONE, rotation=20))
    assert (geometry[:, 0] * geometry[:, 4] - geometry[:, 1] * geometry[:, 3] > 0).all()


@pytest.mark.parametrize(("columns", "rows"), [(3, 0), (-3, 0), (0, 2), (0, -5), (4, -1)])
def test_what_comes_into_view_is_filled(columns: int, rows: int):
    batch = photos()
    expected = np.roll(batch, (-rows, -columns), axis=(1, 2))
    outside = np.arange(SIZE)
    expected[:, :, (outside + columns < 0) | (outside + columns >= SIZE)] = FILL
    expected[:, (outside + rows < 0) | (outside + rows >= SIZE)] = FILL
    result = augment(batch, moves(len(batch), columns, rows), no_colour(len(batch)))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_shift_moves_up_to_its_share_of_the_side():
    geometry = draw_geometry(np.random.default_rng(0), 500, 100, replace(NONE, shift=0.2))
    np.testing.assert_allclose(geometry[:, [0, 1, 3, 4]], np.tile([1, 0, 0, 1], (500, 1)))
    for column in (2, 5):
        assert 18 < geometry[:, column].max() <= 20
        assert -20 <= geometry[:, column].min() < -18


def linear_parts(options: Augmentation) -> np.ndarray:
    """Of many draws, (draws, 2, 2); checks that they leave the centre where it is."""
    geometry = draw_geometry(np.random.default_rng(0), 500, 31, options).astype(float)
    parts = geometry[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    np.testing.assert_allclose(parts @ [15, 15] + geometry[:, [2, 5]], 15, atol=1e-4)
    return parts


@pytest.mark.parametrize("flip", [False, True])
def test_rotation_turns_about_the_centre_within_its_bounds(flip: bool):
    parts = linear_parts(replace(NONE, rotation=30, flip=flip))
    np.testing.assert_allclose(
        parts @ parts.transpose(0, 2, 1), np.tile(np.eye(2), (500, 1, 1)), atol=1e-6
    )
    degrees = np.degrees(np.arctan2(-parts[:, 0, 1], parts[:, 1, 1]))
    assert -30.001 <= degrees.min() < -28
    assert 28 < degrees.max() <= 30.001


def test_zoom_scales_both_ways_and_keeps_proportions():
    parts = linear_parts(replace(NONE, zoom=0.25))
    assert (parts[:, 0, 1] == 0).all() and (parts[:, 1, 0] == 0).all()
    np.testing.assert_allclose(parts[:, 0, 0], parts[:, 1, 1])
    assert 0.8 - 1e-6 <= parts[:, 0, 0].min() < 0.82
    assert 1.22 < parts[:, 0, 0].max() <= 1.25 + 1e-6


def test_stretch_changes_proportions_and_keeps_the_area():
    parts = linear_parts(replace(NONE, stretch=0.21))
    np.testing.assert_allclose(np.linalg.det(parts), 1, rtol=1e-6)
    proportions = parts[:, 0, 0] / parts[:, 1, 1]
    assert 1 / 1.21 - 1e-6 <= proportions.min() < 0.84
    assert 1.19 < proportions.max() <= 1.21 + 1e-6


def test_a_quarter_turn_is_exact():
    batch = photos()
    quarter = np.tile(np.float32([0, -1, SIZE - 1, 1, 0, 0, 0, 0]), (len(batch), 1))
    expected = [
        [[photo[x, SIZE - 1 - y] for x in range(SIZE)] for y in range(SIZE)] for photo in batch
    ]
    np.testing.assert_allclose(augment(batch, quarter, no_colour(len(batch))), expected, atol=1e-3)


def test_colours_change_as_the_matrix_says_and_are_clipped():
    batch = photos(3, 5)
    options = replace(NONE, brightness=0.3, contrast=0.6, saturation=0.8, tint=0.3)
    change = draw_colour(np.random.default_rng(1), 3, options)
    expected = np.zeros(batch.shape)
    for at in np.ndindex(batch.shape[:3]):
        colour = np.array([*batch[at], 1.0])
        for channel in range(3):
            value = sum(colour[i] * change[at[0], i, channel] for i in range(4))
            expected[at][channel] = min(max(value, 0), 255)
    result = np.asarray(augment(batch, moves(3, 0, 0), change))
    np.testing.assert_allclose(result, expected, atol=1e-2)
    assert result.min() == 0 and result.max() == 255


def factors(options: Augmentation, change) -> np.ndarray:
    """What a colour variation did to mid-range photos, by `change(before, after)`."""
    batch = photos(80, 4) // 4 + 96
    return np.array(
        [change(b.astype(float), a) for b, a in zip(batch, varied(options, batch), strict=True)]
    )


def assert_spread(found: np.ndarray, lowest: float, highest: float) -> None:
    slack = (highest - lowest) * 0.1
    assert lowest - 1e-3 <= found.min() < lowest + slack
    assert highest - slack < found.max() <= highest + 1e-3


def test_brightness_adds_the_same_everywhere():
    def added(before, after):
        np.testing.assert_allclose(after - before, (after - before).mean(), atol=1e-3)
        return (after - before).mean() / 255

    assert_spread(factors(replace(NONE, brightness=0.2), added), -0.2, 0.2)


def test_contrast_scales_about_mid_grey():
    def scale(before, after):
        factor = (after - 127.5).std() / (before - 127.5).std()
        np.testing.assert_allclose(after - 127.5, (before - 127.5) * factor, atol=1e-2)
        return factor

    assert_spread(factors(replace(NONE, contrast=0.4), scale), 0.6, 1.4)


def test_tint_scales_each_channel_by_itself():
    def scales(before, after):
        each = (after / before).mean(axis=(0, 1))
        np.testing.assert_allclose(after, before * each, atol=1e-2)
        return each

    found = factors(replace(NONE, tint=0.1), scales)
    assert_spread(found, 0.9, 1.1)
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.4


def test_saturation_keeps_the_luma():
    luma = np.array([0.299, 0.587, 0.114])

    def scale(before, after):
        grey = (before @ luma)[..., None]
        factor = ((after - grey) * (before - grey)).sum() / ((before - grey) ** 2).sum()
        np.testing.assert_allclose(after, grey + (before - grey) * factor, atol=1e-2)
        return factor

    assert_spread(factors(replace(NONE, saturation=0.5), scale), 0.5, 1.5)


def test_everything_at_once_stays_in_range():
    result = varied(Augmentation(180, 1.0, 0.5, 0.5, True, 0.5, 0.5, 0.9, 0.5), photos(40))
    assert np.isfinite(result).all()
    assert result.min() >= 0 and result.max() <= 255


def test_the_generator_decides_the_variation():
    batch = photos()
    np.testing.assert_array_equal(varied(Augmentation(), batch), varied(Augmentation(), batch))
    assert (varied(Augmentation(), batch) != varied(Augmentation(), batch, seed=1)).mean() > 0.9
