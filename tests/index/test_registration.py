"""Whether pictures are told to be the same: against what was done to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from index.near_duplicates import LIKENESS
from index.registration import likeness

SIDE = 32
seeds = st.integers(0, 2**32 - 1)


def smooth(seed, side=200, detail=12):
    rng = np.random.default_rng(seed)
    small = rng.integers(20, 220, (detail, detail, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def squeezed(image):
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))


def alike(first, second):
    return float(likeness(squeezed(first)[None], squeezed(second)[None])[0])


@given(seeds, st.integers(0, 4), st.integers(0, 4), st.floats(0.9, 1.1))
@settings(max_examples=40)
def test_a_picture_without_a_thin_edge_and_in_another_light_is_the_same(seed, left, top, light):
    image = smooth(seed)
    cropped = image.crop((left, top, left + 196, top + 196)).point(lambda value: value * light)
    assert alike(image, cropped) > LIKENESS


@given(seeds, seeds)
@settings(max_examples=40)
def test_other_pictures_are_not_the_same(seed, other):
    if seed != other:
        assert alike(smooth(seed), smooth(other)) < 0.9


@given(seeds, seeds)
@settings(max_examples=20)
def test_it_does_not_matter_which_comes_first(seed, other):
    rng = np.random.default_rng([seed, other])
    one = np.asarray(smooth(seed), dtype=np.float32)
    two = Image.fromarray((one + rng.normal(0, 20, one.shape)).clip(0, 255).astype(np.uint8))
    one = Image.fromarray(one.astype(np.uint8))
    assert alike(one, two) == pytest.approx(alike(two, one), abs=2e-3)


def test_a_picture_moved_farther_is_another():
    image = smooth(3)
    assert alike(image, image.crop((40, 40, 200, 200))) < LIKENESS


def test_a_negative_a_black_and_a_grey_one_are_not_the_same():
    image = smooth(5)
    assert alike(image, Image.eval(image, lambda value: 255 - value)) < 0
    assert alike(image, Image.eval(image, lambda value: value // 20)) == 0
    assert alike(image, Image.new("RGB", image.size, (120, 120, 120))) == 0


def test_what_light_has_made_white_is_not_compared():
    image = smooth(7)
    bright = np.asarray(image).astype(np.float32) * 1.2
    bright[:70] = 255
    original = np.asarray(image).copy()
    original[:70] = 235
    lighter = Image.fromarray(bright.clip(0, 255).astype(np.uint8))
    assert alike(Image.fromarray(original), lighter) > 0.98
