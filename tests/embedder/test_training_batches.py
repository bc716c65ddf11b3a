"""Tests of the batches that training learns from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder import read_catalogue
from embedder.backend import keras
from embedder.model_files import Architecture
from embedder.photo_cache import PhotoCache, open_cache
from embedder.training_batches import batches
from embedder.training_options import Augmentation, TrainingOptions
from embedder.training_step import new_directions, training_step

SIZE = 16
NONE = Augmentation(0, 0, 0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
OPTIONS = TrainingOptions(
    Architecture(size=SIZE), items_per_batch=2, photos_per_item=3, augmentation=NONE
)
WHITE, ITEM = 255, (10, 90, 30)


@pytest.fixture
def cache(tmp_path: Path) -> PhotoCache:
    """Two items: one on white, one without a plain background."""
    rng = np.random.default_rng(0)
    for number in range(3):
        for item in "ab":
            (tmp_path / "photos" / item).mkdir(parents=True, exist_ok=True)
        stock = Image.new("RGB", (SIZE, SIZE), (WHITE, WHITE, WHITE))
        stock.paste(ITEM, (4, 4, 11, 11))
        stock.save(tmp_path / "photos" / "a" / f"{number}.png")
        noise = Image.fromarray(rng.integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8))
        noise.save(tmp_path / "photos" / "b" / f"{number}.png")
    return open_cache(read_catalogue(tmp_path / "photos"), SIZE, tmp_path / "cache", masks=True)


def drawn(cache: PhotoCache, epoch: int = 0, **changes: object):
    options = replace(OPTIONS, augmentation=replace(NONE, **changes))
    found = list(batches(options, cache, np.arange(6), 5, epoch))
    return np.stack([photos for photos, _ in found]), np.stack([labels for _, labels in found])


def test_without_variation_a_batch_is_the_photos_of_its_labels(cache: PhotoCache):
    photos, labels = drawn(cache)
    assert photos.dtype == np.uint8 and photos.shape == (5, 6, SIZE, SIZE, 3)
    known = [cache.pixels[cache.labels == label] for label in (0, 1)]
    for photo, label in zip(photos.reshape(-1, SIZE, SIZE, 3), labels.ravel(), strict=True):
        assert (photo == known[label]).all(axis=(1, 2, 3)).any()


def test_only_items_on_a_plain_background_get_another_one(cache: PhotoCache):
    (plain, labels), (changed, same) = drawn(cache), drawn(cache, background=1.0)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_array_equal(changed[labels == 1], plain[labels == 1])
    stock = changed[labels == 0]
    inside = stock[:, 6:9, 6:9].astype(float)
    np.testing.assert_allclose(inside, np.broadcast_to(ITEM, inside.shape), atol=6)
    corners = stock[:, :2, :2].reshape(len(stock), -1)
    assert (corners != WHITE).any(axis=1).mean() > 0.9
    assert len(np.unique(corners, axis=0)) > 10


def test_given_pictures_are_put_behind(cache: PhotoCache):
    given = np.full((1, 24, 24, 3), (1, 2, 3), np.uint8)
    photos, labels = drawn(replace(cache, pictures=given), background=1.0)
    corners = photos[labels == 0][:, 0, 0]
    assert 0.5 < (corners == (1, 2, 3)).all(axis=1).mean() < 1


def test_a_share_of_the_backgrounds_stays(cache: PhotoCache):
    photos, labels = drawn(cache, background=0.5)
    white = (photos[labels == 0][:, :3, :3] == WHITE).all(axis=(1, 2, 3)).mean()
    assert 0.1 < white < 0.9


def test_backgrounds_leave_the_other_variation_as_it_is(cache: PhotoCache):
    options = {"rotation": 20, "tint": 0.1, "cover": 0.2, "blur": 0.02, "jpeg": 20}
    plain, labels = drawn(cache, **options)
    changed, _ = drawn(cache, background=1.0, **options)
    np.testing.assert_array_equal(changed[labels == 1], plain[labels == 1])


def test_seed_and_epoch_decide_the_batches(cache: PhotoCache):
    options = {"background": 0.7, "rotation": 20, "blur": 0.02, "jpeg": 20, "cover": 0.2}
    first, _ = drawn(cache, **options)
    np.testing.assert_array_equal(first, drawn(cache, **options)[0])
    assert (first != drawn(cache, epoch=1, **options)[0]).any()


def test_photos_may_be_smaller_while_training(cache: PhotoCache):
    options = replace(OPTIONS, training_size=8, augmentation=replace(NONE, background=1.0))
    given = replace(cache, pictures=np.full((1, 24, 24, 3), (1, 2, 3), np.uint8))
    for photos, labels in batches(options, given, np.arange(6), 3, 0):
        assert photos.shape == (6, 8, 8, 3)
        # The item is at 4 to 10 of 16 pixels, so at 2 to 5 of 8.
        inside = photos[labels == 0][:, 3, 3].astype(int)
        assert abs(inside - ITEM).max() <= 6


def plain_network():
    """Nine numbers a photo, scaled to unit norm: what is learned from is known."""
    parts = [
        keras.Input((1, 1, 9)),
        keras.layers.Flatten(),
        keras.layers.Dense(9, use_bias=False),
        keras.layers.UnitNormalization(),
    ]
    network = keras.Sequential(parts)
    network.set_weights([np.eye(9, dtype=np.float32)])
    return network


def naive_hard(distances, labels, margin):
    gaps = []
    for anchor, row in enumerate(distances):
        same = labels == labels[anchor]
        gaps.append(row[same].max() - row[~same].min())
    gaps = np.array(gaps)
    return (np.log1p(np.exp(gaps)) if margin is None else np.maximum(gaps + margin, 0)).mean()


def naive_semi_hard(distances, labels, margin):
    losses = []
    for anchor, row in enumerate(distances**2):
        same = labels == labels[anchor]
        for positive in np.flatnonzero(same):
            if positive != anchor:
                farther = row[~same][row[~same] > row[positive]]
                negative = farther.min() if len(farther) else row[~same].max()
                losses.append(max(0.0, row[positive] - negative + margin))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("loss", "margin", "softmax"),
    [
        ("hard", None, 0.0),
        ("hard", 0.3, 0.0),
        ("semi-hard", None, 0.0),
        ("semi-hard", 0.5, 0.0),
        ("hard", None, 0.7),
    ],
)
def test_the_loss_is_what_the_options_say(loss, margin, softmax):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 3)
    photos = rng.integers(0, 256, (12, 1, 1, 9), dtype=np.uint8)
    architecture = Architecture(dim=9)
    options = replace(OPTIONS, architecture=architecture, loss=loss, margin=margin, softmax=softmax)
    directions, optimizer = new_directions(options, 4), keras.optimizers.SGD(0.0)
    step = training_step(plain_network(), optimizer, options, directions)
    unit = photos.reshape(12, 9).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit, axis=2)
    if loss == "hard":
        expected = naive_hard(distances, labels, margin)
    else:
        expected = naive_semi_hard(distances, labels, 0.2 if margin is None else margin)
    if softmax:
        rows = np.asarray(directions) / np.linalg.norm(directions, axis=1, keepdims=True)
        powers = np.exp(unit @ rows.T / 0.05)
        right = powers[np.arange(12), labels] / powers.sum(axis=1)
        expected -= softmax * np.log(right).mean()
    found, vectors = step(photos, labels)
    assert float(found) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(vectors, unit, atol=1e-6)


def test_directions_are_learned_beside_the_network():
    options = replace(OPTIONS, architecture=Architecture(dim=9), softmax=1.0)
    network, optimizer = plain_network(), keras.optimizers.Adam(0.01)
    directions = new_directions(options, 2)
    before = np.asarray(directions).copy()
    optimizer.build([*network.trainable_variables, directions])
    photos = np.zeros((4, 1, 1, 9), np.uint8)
    photos[:2, ..., 0], photos[2:, ..., 1] = 255, 255
    step = training_step(network, optimizer, options, directions)
    losses = [float(step(photos, np.array([0, 0, 1, 1]))[0]) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert np.abs(np.asarray(directions) - before).max() > 0.01


def test_there_are_no_directions_without_a_softmax():
    assert new_directions(OPTIONS, 4) is None
