"""How the comparison of losses judges."""

import numpy as np
import pytest
from learning_data import DRAWERS, OF, among_items, episodes


def test_right_scores_are_right_in_all_three_figures():
    truth = np.arange(36) % 12
    assert among_items(truth, np.eye(12)[truth]) == [1, 1, 1]
    alphabets = np.repeat([0, 1], [OF, OF + 3])
    characters = np.repeat(np.arange(len(alphabets)), DRAWERS)
    same = (characters[:, None] == characters[None, :]).astype(float)
    assert episodes(alphabets, same) == [1, 1, 1]


def test_scores_that_say_nothing_are_right_by_chance():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 40, 2000)
    found = among_items(truth, rng.normal(size=(2000, 40)))
    assert found == pytest.approx([1 / 40, 1 / 10, 1 / 10], abs=0.02)
    count = 2 * OF * DRAWERS
    found = episodes(np.repeat([0, 1], OF), rng.normal(size=(count, count)))
    assert found == pytest.approx([1 / (2 * OF), 1 / OF, 1 / OF], abs=0.02)


def test_matching_one_to_one_resolves_what_two_photos_claim():
    # Every photo likes item 0 best, its own item second best.
    truth = np.arange(10)
    scores = np.eye(10) * 0.9
    scores[:, 0] = 1.0
    assert among_items(truth, scores) == [0.1, 0.1, 1.0]


def test_an_episode_compares_drawings_of_two_drawers():
    # Each drawing is like all by its own drawer, most of all itself, and like nothing else.
    drawers = np.tile(np.arange(DRAWERS), OF)
    scores = (drawers[:, None] == drawers[None, :]).astype(float) + np.eye(len(drawers))
    by_chance = episodes(np.zeros(OF, dtype=np.int64), scores)
    assert by_chance[1] == pytest.approx(1 / OF)
