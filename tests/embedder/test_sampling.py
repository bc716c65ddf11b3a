"""Tests of the P x K batches: what the docstring promises holds for any catalogue."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.sampling import pk_batches


@st.composite
def drawn_batches(draw):
    """Labels in random order, P, K, and a few batches."""
    counts = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(draw(st.integers(0, 99))).shuffle(labels)
    items, photos, steps = (draw(st.integers(1, most)) for most in (15, 6, 25))
    batches = list(pk_batches(labels, items, photos, steps, [draw(st.integers(0, 9)), 1]))
    assert len(batches) == steps
    return labels, min(items, len(counts)), photos, batches


settings_here = settings(max_examples=60, deadline=None)


@settings_here
@given(drawn_batches())
def test_each_batch_has_p_items_with_k_photos_each_grouped(drawn):
    labels, items, photos, batches = drawn
    for batch in batches:
        assert batch.dtype == np.int64
        groups = labels[batch].reshape(items, photos)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0].tolist())) == items


@settings_here
@given(drawn_batches())
def test_every_item_is_used_once_before_any_is_used_again(drawn):
    labels, _, photos, batches = drawn
    used = Counter(dict.fromkeys(set(labels.tolist()), 0))
    for batch in batches:
        used.update(labels[batch[::photos]].tolist())
        assert max(used.values()) - min(used.values()) <= 1


@settings_here
@given(drawn_batches())
def test_every_photo_of_an_item_is_used_before_one_is_used_again(drawn):
    labels, _, _, batches = drawn
    stream = np.concatenate(batches)
    for item in set(labels.tolist()):
        used = stream[labels[stream] == item]
        of_item = set(np.flatnonzero(labels == item).tolist())
        for start in range(0, len(used), len(of_item)):
            a_round = used[start : start + len(of_item)].tolist()
            assert len(set(a_round)) == len(a_round)
            assert set(a_round) <= of_item


def test_an_item_with_few_photos_repeats_them():
    labels = np.array([0, 1, 1, 2, 2, 2, 2])
    for batch in pk_batches(labels, 3, 4, 20, [0]):
        counts = [Counter(batch[labels[batch] == item].tolist()) for item in range(3)]
        assert [sorted(each.values()) for each in counts] == [[4], [2, 2], [1, 1, 1, 1]]


def test_the_seed_decides_the_batches():
    labels = np.repeat(np.arange(20), 8)
    first, again, other = (
        np.stack(list(pk_batches(labels, 5, 4, 10, seed))) for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("offset", [0, 7])
def test_labels_need_not_count_from_zero(offset: int):
    labels = np.array([0, 3, 0, 3, 9]) + offset
    batch = next(pk_batches(labels, 3, 2, 1, [0]))
    assert set(labels[batch].tolist()) == set(labels.tolist())


@settings_here
@given(drawn_batches())
def test_a_batch_repeats_no_photo_of_an_item_that_has_enough(drawn):
    labels, _, photos, batches = drawn
    counts = Counter(labels.tolist())
    for batch in batches:
        groups = batch.reshape(-1, photos)
        for group in groups:
            different = len(set(group.tolist()))
            assert different == min(photos, counts[int(labels[group[0]])])
