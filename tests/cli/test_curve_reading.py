"""What a learning curve is said to mean."""

from __future__ import annotations

import numpy as np
import pytest

from cli.curve_reading import read_curve
from embedder.learning_curve import Curve, CurvePoint


def curve(shares: dict[tuple[int, int], float]) -> Curve:
    """Of 40 items with 5 photos each; the same photos are right in each, and more of them."""
    order = np.random.default_rng(0).permutation(200)
    item = np.repeat(np.arange(40), 5)
    points = [
        CurvePoint(photos, epochs, (order < share * 200).astype(float))
        for (photos, epochs), share in shares.items()
    ]
    return Curve(item, tuple(points))


def test_figures_are_means_and_gains_are_differences() -> None:
    reading = read_curve(curve({(5, 10): 0.5, (5, 20): 0.6, (10, 10): 0.7, (10, 20): 0.8}))
    assert [figure.accuracy.value for figure in reading.figures] == [0.5, 0.6, 0.7, 0.8]
    assert (reading.items, reading.tested) == (40, 200)
    assert reading.more_photos is not None and reading.more_epochs is not None
    assert reading.more_photos.value == pytest.approx(0.2)
    assert reading.more_epochs.value == pytest.approx(0.1)
    gain, whole = reading.more_photos, reading.figures[-1].accuracy
    assert gain.low > 0
    assert gain.high - gain.low < whole.high - whole.low + 0.03


def test_what_helps_is_advised() -> None:
    photos, epochs, _ = read_curve(
        curve({(5, 10): 0.5, (5, 20): 0.6, (10, 10): 0.7, (10, 20): 0.8})
    ).advice
    assert photos.startswith("More photos still help (from 5 to 10 photos an item: +20.0 points")
    assert epochs.startswith("More epochs help (from 10 to 20: +10.0 points")
    assert "--epochs 20" in epochs


def test_what_does_not_help_is_said_to_be_enough() -> None:
    photos, epochs, _ = read_curve(
        curve(
            {(5, 10): 0.7, (10, 10): 0.9, (20, 10): 0.9, (5, 20): 0.7, (10, 20): 0.9, (20, 20): 0.9}
        )
    ).advice
    assert "gain nothing worth taking" in photos and photos.endswith("10 an item do.")
    assert "gain nothing worth waiting for" in epochs


def test_what_cannot_be_told_is_said_so() -> None:
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(8), 2)
    points = [CurvePoint(photos, 10, (rng.random(16) < 0.7).astype(float)) for photos in (5, 10)]
    photos, _ = read_curve(Curve(item, tuple(points))).advice
    assert "cannot be told" in photos


def test_one_amount_of_photos_asks_for_more() -> None:
    reading = read_curve(curve({(6, 10): 0.5, (6, 20): 0.5}))
    assert reading.more_photos is None
    assert "take more to see" in reading.advice[0]
