"""Tests of the variation of training photos, against plain numpy."""

import io
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from embedder import TrainingError
from embedder.augmentation import Changes, change_photos, draw_changes, draw_colour, draw_geometry
from embedder.photos import FILL
from embedder.training_options import Augmentation

NONE = Augmentation(**dict.fromkeys(asdict(Augmentation()), 0))
EVERYTHING = Augmentation(180, 1.0, 0.5, 0.5, True, 0.5, 0.5, 0.9, 0.5, 0.4, 0.5, 0.05, 5)
SIZE = 12


def photos(count: int = 6, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def drawn(options: Augmentation, batch: np.ndarray, seed: int = 0) -> Changes:
    return draw_changes(np.random.default_rng(seed), len(batch), batch.shape[1], options)


def varied(options: Augmentation, batch: np.ndarray, seed: int = 0) -> np.ndarray:
    return change_photos(batch, drawn(options, batch, seed), [None] * len(batch))


def moved(batch: np.ndarray, geometry: list[float]) -> np.ndarray:
    rows = np.tile(np.float64(geometry), (len(batch), 1))
    changes = drawn(NONE, batch)._replace(geometry=rows)
    return change_photos(batch, changes, [None] * len(batch))


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("rotation", 181),
        ("zoom", -0.1),
        ("perspective", 0.5),
        ("jpeg", 100),
        ("blur", float("nan")),
    ],
)
def test_an_amount_that_makes_no_sense_is_refused(name: str, amount: float):
    with pytest.raises(TrainingError, match=f"expected {name} .*, found {amount}"):
        Augmentation(**{name: amount})


def test_amounts_are_set_by_name_and_keep_their_kind():
    found = Augmentation(zoom=0.5).varied({"jpeg": 40.0, "flip": 1.0, "cover": 0.2})
    assert found == Augmentation(zoom=0.5, jpeg=40, flip=True, cover=0.2)
    assert isinstance(found.jpeg, int) and found.flip is True
    with pytest.raises(TrainingError, match=r"expected a variation \(rotation, .*'turn'"):
        found.varied({"turn": 1.0})


@pytest.mark.parametrize(
    ("name", "amount"),
    [("jpeg", np.nan), ("jpeg", np.inf), ("jpeg", 40.5), ("flip", 0.5), ("zoom", np.inf)],
)
def test_an_amount_that_is_no_such_number_is_refused(name: str, amount: float):
    with pytest.raises(TrainingError, match=f"expected {name} .*from 0 to .*, found {amount:g}"):
        Augmentation().varied({name: amount})


def test_without_variation_photos_stay_as_they_are():
    batch = photos()
    result = varied(NONE, batch)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, batch)


def test_photos_may_come_out_smaller_whole_and_in_proportion():
    # Of a picture that is linear in both places, half the size has the same values at its places.
    rows, columns = np.mgrid[0:80, 0:80] + 0.5
    ramps = np.stack([rows * 3, columns * 3, rows + columns], axis=2).round().astype(np.uint8)
    changes = draw_changes(np.random.default_rng(0), 1, 40, NONE, source=80)
    result = change_photos(ramps[None], changes, [None], 40)
    assert result.shape == (1, 40, 40, 3)
    rows, columns = np.mgrid[0:40, 0:40] * 2 + 1.0
    expected = np.stack([rows * 3, columns * 3, rows + columns], axis=2)
    np.testing.assert_allclose(result[0].astype(float), expected, atol=2)


def test_a_smaller_photo_is_varied_like_a_large_one():
    options = replace(NONE, rotation=40, zoom=0.5, shift=0.3, flip=True, perspective=0.2)
    small, large = (
        draw_geometry(np.random.default_rng(5), 20, size, options, source=80) for size in (40, 80)
    )
    places = np.random.default_rng(6).uniform(0, 1, (20, 2))
    for (x, y), *both in zip(places, small, large, strict=True):
        found = []
        for (a, b, c, d, e, f, g, h), size in zip(both, (40, 80), strict=True):
            u, v = x * size, y * size
            found.append(np.array([a * u + b * v + c, d * u + e * v + f]) / (g * u + h * v + 1))
        np.testing.assert_allclose(*found)


def test_flip_mirrors_about_half_of_the_photos_exactly():
    batch = photos(60)
    result = varied(replace(NONE, flip=True), batch)
    mirrored = 0
    for before, after in zip(batch, result, strict=True):
        if (after != before).any():
            np.testing.assert_array_equal(after, before[:, ::-1])
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
    result = moved(batch, [1, 0, columns, 0, 1, rows, 0, 0])
    np.testing.assert_array_equal(result, expected)


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
    np.testing.assert_allclose(parts @ [15.5, 15.5] + geometry[:, [2, 5]], 15.5)
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


def test_closer_shows_a_part_of_the_photo_about_its_centre():
    far, near = (
        draw_geometry(np.random.default_rng(0), 50, SIZE, replace(NONE, zoom=0.5, closer=closer))
        for closer in (0.0, 0.25)
    )
    np.testing.assert_allclose(near[:, [0, 1, 3, 4]] * 1.25, far[:, [0, 1, 3, 4]])
    middle = near[:, [0, 3]] * SIZE / 2 + near[:, [1, 4]] * SIZE / 2 + near[:, [2, 5]]
    np.testing.assert_allclose(middle, SIZE / 2)


def test_stretch_changes_proportions_and_keeps_the_area():
    parts = linear_parts(replace(NONE, stretch=0.21))
    np.testing.assert_allclose(np.linalg.det(parts), 1, rtol=1e-6)
    proportions = parts[:, 0, 0] / parts[:, 1, 1]
    assert 1 / 1.21 - 1e-6 <= proportions.min() < 0.84
    assert 1.19 < proportions.max() <= 1.21 + 1e-6


def test_a_quarter_turn_is_exact():
    batch = photos()
    expected = [
        [[photo[x, SIZE - 1 - y] for x in range(SIZE)] for y in range(SIZE)] for photo in batch
    ]
    np.testing.assert_array_equal(moved(batch, [0, -1, SIZE, 1, 0, 0, 0, 0]), expected)


def test_colours_change_as_the_matrix_says_and_are_clipped():
    batch = photos(3, 5)
    options = replace(NONE, brightness=0.3, contrast=0.6, saturation=0.8, tint=0.3)
    change = draw_colour(np.random.default_rng(1), 3, options)
    expected = np.zeros(batch.shape)
    for at in np.ndindex(batch.shape[:3]):
        colour = np.array([*batch[at], 1.0])
        for channel in range(3):
            value = sum(colour[i] * change[at[0], channel, i] for i in range(4))
            expected[at][channel] = min(max(value, 0), 255)
    result = change_photos(batch, drawn(NONE, batch)._replace(colour=change), [None] * 3)
    np.testing.assert_allclose(result.astype(float), expected, atol=0.51)
    assert result.min() == 0 and result.max() == 255


def matrices(options: Augmentation) -> tuple[np.ndarray, np.ndarray]:
    """Of many draws: how colours are mixed, (draws, 3, 3), and what is added, (draws, 3)."""
    change = draw_colour(np.random.default_rng(0), 300, options)
    return change[:, :, :3], change[:, :, 3]


def assert_spread(found: np.ndarray, lowest: float, highest: float) -> None:
    slack = (highest - lowest) * 0.1
    assert lowest - 1e-3 <= found.min() < lowest + slack
    assert highest - slack < found.max() <= highest + 1e-3


def test_brightness_adds_the_same_everywhere():
    mixed, added = matrices(replace(NONE, brightness=0.2))
    np.testing.assert_allclose(mixed, np.tile(np.eye(3), (300, 1, 1)))
    np.testing.assert_allclose(added, added[:, :1] * [1, 1, 1])
    assert_spread(added / 255, -0.2, 0.2)


def test_contrast_scales_about_mid_grey():
    mixed, added = matrices(replace(NONE, contrast=0.4))
    scale = mixed[:, 0, 0]
    np.testing.assert_allclose(mixed, scale[:, None, None] * np.eye(3))
    np.testing.assert_allclose(mixed.sum(axis=2) * 127.5 + added, 127.5)
    assert_spread(scale, 0.6, 1.4)


def test_tint_scales_each_channel_by_itself():
    mixed, added = matrices(replace(NONE, tint=0.1))
    scales = np.diagonal(mixed, axis1=1, axis2=2)
    np.testing.assert_allclose(mixed, scales[:, :, None] * np.eye(3))
    assert (added == 0).all()
    assert_spread(scales, 0.9, 1.1)
    assert np.abs(np.corrcoef(scales.T) - np.eye(3)).max() < 0.4


def test_saturation_keeps_the_luma():
    luma = np.array([0.299, 0.587, 0.114])
    mixed, added = matrices(replace(NONE, saturation=0.5))
    np.testing.assert_allclose(luma @ mixed, np.tile(luma, (300, 1)))
    assert (added == 0).all()
    # Red against the grey of its luma: the distance from it is scaled.
    assert_spread((mixed[:, 0, 0] - 0.299) / (1 - 0.299), 0.5, 1.5)


def test_everything_at_once_stays_in_range():
    batch = photos(40)
    result = varied(EVERYTHING, batch)
    assert (result.shape, result.dtype) == (batch.shape, np.uint8)


def test_the_generator_decides_the_variation():
    batch = photos(20)
    np.testing.assert_array_equal(varied(EVERYTHING, batch), varied(EVERYTHING, batch))
    assert (varied(EVERYTHING, batch) != varied(EVERYTHING, batch, seed=1)).mean() > 0.7


@pytest.mark.parametrize("name", ["perspective", "cover", "blur", "jpeg", "tint", "background"])
def test_a_variation_switched_off_leaves_the_others_as_they_are(name: str):
    batch = photos(20)
    fields = {"perspective": "geometry", "tint": "colour", "jpeg": "quality", "cover": "cover"}
    whole, rest = drawn(EVERYTHING, batch), drawn(replace(EVERYTHING, **{name: 0}), batch)
    for field in Changes._fields:
        if field != fields.get(name, name):
            np.testing.assert_array_equal(getattr(whole, field), getattr(rest, field))


def test_perspective_keeps_the_centre_and_tilts_within_its_bounds():
    geometry = draw_geometry(np.random.default_rng(0), 500, 40, replace(NONE, perspective=0.2))
    ratios = []
    for a, b, c, d, e, f, g, h in geometry:
        depth = g * 20 + h * 20 + 1
        centre = np.array([a * 20 + b * 20 + c, d * 20 + e * 20 + f]) / depth
        np.testing.assert_allclose(centre, 20)
        # How long the left side's surroundings are shown beside the right side's.
        ratios.append((1 + h * 20 + g * 40) / (1 + h * 20))
    assert_spread(np.array(ratios), 0.8 / 1.2, 1.2 / 0.8)


def test_perspective_takes_pixels_from_where_it_says():
    columns = np.linspace(0, 255, 64)
    ramp = np.tile(columns[None, :, None], (64, 1, 3)).round().astype(np.uint8)[None]
    geometry = draw_geometry(np.random.default_rng(3), 1, 64, replace(NONE, perspective=0.2))[0]
    result = moved(ramp, geometry.tolist())[0, :, :, 0].astype(float)
    a, b, c, _, _, _, g, h = geometry
    for x, y in [(20, 20), (40, 25), (25, 44), (32, 32)]:
        place = (a * (x + 0.5) + b * (y + 0.5) + c) / (g * (x + 0.5) + h * (y + 0.5) + 1) - 0.5
        assert result[y, x] == pytest.approx(place * 255 / 63, abs=2)


def test_half_of_the_photos_are_covered_by_one_rectangle():
    batch = photos(200, 32)
    options = replace(NONE, cover=0.25)
    changes, result = drawn(options, batch), varied(options, batch)
    covered = from_others = 0
    for row, (left, top, right, bottom) in enumerate(changes.cover):
        inside = np.zeros((32, 32), dtype=bool)
        inside[top:bottom, left:right] = True
        np.testing.assert_array_equal(result[row][~inside], batch[row][~inside])
        if not inside.any():
            continue
        covered += 1
        assert inside.mean() <= 0.25 * 1.2  # whole pixels
        other = changes.cover_photo[row]
        wanted = changes.cover_colour[row] if other < 0 else batch[other][inside]
        np.testing.assert_array_equal(
            result[row][inside], np.broadcast_to(wanted, (inside.sum(), 3))
        )
        from_others += other >= 0
    assert 75 < covered < 125
    assert covered / 3 < from_others < covered * 2 / 3


def test_a_quarter_of_the_photos_is_blurred_as_by_a_gaussian():
    batch = photos(100, 24)
    options = replace(NONE, blur=0.1)
    blur, result = drawn(options, batch).blur, varied(options, batch)
    assert 12 < (blur > 0).sum() < 40
    assert blur[blur > 0].min() > 0 and 1.8 < blur.max() <= 2.4
    np.testing.assert_array_equal(result[blur == 0], batch[blur == 0])
    for row in np.flatnonzero(blur > 1):
        wanted = ndimage.gaussian_filter(
            batch[row].astype(float), (blur[row], blur[row], 0), mode="nearest"
        )
        assert np.abs(result[row] - wanted)[4:-4, 4:-4].mean() < 3


def test_a_quarter_of_the_photos_is_compressed():
    batch = photos(100, 24)
    options = replace(NONE, jpeg=40)
    quality, result = drawn(options, batch).quality, varied(options, batch)
    assert 12 < (quality > 0).sum() < 40
    assert 40 <= quality[quality > 0].min() < 50 and 80 < quality.max() <= 90
    for row, photo in enumerate(batch):
        wanted = photo
        if quality[row]:
            file = io.BytesIO()
            Image.fromarray(photo).save(file, "JPEG", quality=int(quality[row]))
            wanted = np.asarray(Image.open(file))
        np.testing.assert_array_equal(result[row], wanted)


def disc(size: int) -> np.ndarray:
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    return np.where(np.hypot(rows, columns) < size / 4, 255, 0).astype(np.uint8)


def test_another_background_lies_behind_the_item_and_nowhere_else():
    batch, mask = photos(2, 24), disc(24)
    behind = Image.new("RGB", (24, 24), (9, 8, 7))
    result = change_photos(batch, drawn(NONE, batch), [(mask, behind), None])
    np.testing.assert_array_equal(result[0][mask == 255], batch[0][mask == 255])
    assert (result[0][mask == 0] == (9, 8, 7)).all()
    np.testing.assert_array_equal(result[1], batch[1])


def test_the_mask_moves_with_the_item_and_the_background_fills_the_frame():
    mask, none = disc(32), [None] * 30
    item, black = np.full((30, 32, 32, 3), 200, np.uint8), np.zeros((30, 32, 32, 3), np.uint8)
    behind = Image.new("RGB", (32, 32), (0, 0, 0))
    changes = drawn(replace(NONE, rotation=40, zoom=0.5, shift=0.2, perspective=0.1), item)
    result = change_photos(item, changes, [(mask, behind)] * 30)
    moved_mask = change_photos(black + mask[:, :, None], changes, none).astype(float)
    filled = change_photos(black, changes, none) > 0  # what lay outside the photo
    assert 0 < filled.mean() < 0.5
    np.testing.assert_allclose(result, np.where(filled, 0, moved_mask) * 200 / 255, atol=2)
