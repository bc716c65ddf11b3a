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
    seed = [draw(st.integers(0, 9)), 1]
    batches = list(pk_batches(labels, items, photos, range(steps), seed))
    assert len(batches) == steps
    return labels, min(items, len(counts)), photos, batches


settings_here = settings(max_examples=60)


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
def test_each_round_of_batches_uses_every_item_and_repeats_only_to_fill_up(drawn):
    labels, size, photos, batches = drawn
    items = set(labels.tolist())
    in_round = -(-len(items) // size)
    for start in range(0, len(batches) - in_round + 1, in_round):
        used = Counter()
        for batch in batches[start : start + in_round]:
            used.update(labels[batch[::photos]].tolist())
        assert set(used) == items
        assert sum(used.values()) - len(items) == in_round * size - len(items)
        assert max(used.values()) <= 2


@settings_here
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 30), st.booleans())
def test_a_training_that_goes_on_draws_the_items_it_would_have_drawn(items, size, first, mined):
    labels = np.repeat(np.arange(items), 2)
    look_alikes = (lambda chosen: [np.array([item]) for item in chosen]) if mined else None
    whole = list(pk_batches(labels, size, 2, range(40), [3], look_alikes))[first:]
    rest = list(pk_batches(labels, size, 2, range(first, 40), [3], look_alikes))
    leading = slice(None) if not mined else slice(0, 2)  # what fills up is of the call
    for one, other, number in zip(whole, rest, range(first, 40), strict=True):
        part = leading if number % 2 else slice(None)
        np.testing.assert_array_equal(labels[one][part], labels[other][part])


def neighbours(items):
    """In a catalogue of 40 items, those of the same ten."""
    return [
        np.array([item, *(i for i in range(item - item % 10, 40) if i != item)][:8])
        for item in items
    ]


def test_every_other_batch_is_of_look_alikes():
    labels = np.repeat(np.arange(40), 3)
    batches = list(pk_batches(labels, 16, 2, range(30), [0], neighbours))
    leaders = Counter()
    for number, batch in enumerate(batches):
        items = labels[batch[::2]]
        assert len(set(items.tolist())) == 16
        if number % 2:
            assert set(neighbours([items[0]])[0].tolist()) == set(items[:8].tolist())
            leaders.update(items[:1].tolist())
    assert len(leaders) > 10


@pytest.mark.parametrize("steps", [3, 10])
def test_every_item_is_reached_in_epochs_shorter_than_a_pass(steps):
    labels = np.repeat(np.arange(1000), 2)
    reached = set()
    for epoch in range(-(-125 * 2 // steps) + 1):
        numbers = range(epoch * steps, (epoch + 1) * steps)
        for batch in pk_batches(labels, 8, 2, numbers, [1], lambda items: [items[:1]]):
            reached.update(labels[batch].tolist())
    assert len(reached) == 1000


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
    for batch in pk_batches(labels, 3, 4, range(20), [0]):
        counts = [Counter(batch[labels[batch] == item].tolist()) for item in range(3)]
        assert [sorted(each.values()) for each in counts] == [[4], [2, 2], [1, 1, 1, 1]]


def test_the_seed_decides_the_batches():
    labels = np.repeat(np.arange(20), 8)
    first, again, other = (
        np.stack(list(pk_batches(labels, 5, 4, range(10), seed)))
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("offset", [0, 7])
def test_labels_need_not_count_from_zero(offset: int):
    labels = np.array([0, 3, 0, 3, 9]) + offset
    batch = next(pk_batches(labels, 3, 2, range(1), [0]))
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
