"""Tests of `Matcher.nearest`: candidates ranked by score alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import CandidateError
from embedder.score_space import fit_score_space, unit
from index import Matcher
from index.rows import Item
from index.schema import IndexInfo
from index.store_writing import WritableStore
from index.whitening import write_score_space

DIM, ITEMS = 6, 40
ROWS = unit(np.random.default_rng(0).normal(size=(ITEMS, DIM))).astype(np.float32)
IDS = [f"sku-{number}" for number in range(ITEMS)]


def write(path, whitened=False):
    with WritableStore.create(path, IndexInfo("f" * 64, DIM, 0.1, "", "now", whitened)) as store:
        for item_id, row in zip(IDS, ROWS, strict=True):
            store.put(Item(item_id, row, 5, 0.1, "", b""))
        if whitened:
            deviations = np.random.default_rng(1).normal(size=(50, DIM)) * np.arange(1, DIM + 1)
            space = fit_score_space(deviations.T @ deviations, 50, ROWS)
            write_score_space(store, space)
        store.commit()


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("nearest") / "items.index"
    write(path)
    with Matcher.open(path) as matcher:
        yield matcher


@given(st.permutations(range(ITEMS)), st.integers(1, ITEMS), st.integers(1, 50), st.integers(0, 9))
@settings(max_examples=50)
def test_as_sorting_all_cosines(matcher, order, many, count, seed):
    asked = np.random.default_rng(seed).normal(size=(3, DIM)) * 7
    ids, scores = matcher.nearest(asked, [IDS[at] for at in order[:many]], count)
    assert scores.shape == (3, min(count, many))
    for vector, found, row in zip(asked, ids, scores, strict=True):
        cosines = {IDS[at]: ROWS[at] @ vector / np.linalg.norm(vector) for at in order[:many]}
        expected = sorted(cosines, key=lambda item_id: -cosines[item_id])[:count]
        assert found == expected
        np.testing.assert_allclose(row, [cosines[item_id] for item_id in expected], atol=1e-6)


def test_scores_are_those_of_matches_in_the_score_space_of_the_index(tmp_path):
    write(tmp_path / "items.index", whitened=True)
    asked = np.random.default_rng(5).normal(size=(4, DIM)).astype(np.float32)
    with Matcher.open(tmp_path / "items.index") as matcher:
        matches = matcher.match_vectors(asked, IDS, independent=True)
        ids, scores = matcher.nearest(asked, IDS, ITEMS)
        for match, found, row in zip(matches, ids, scores, strict=True):
            by_id = dict(zip(found, row.tolist(), strict=True))
            for alternative in match.alternatives:
                assert by_id[alternative.item_id] == pytest.approx(alternative.score, abs=1e-6)


def test_no_vectors_give_no_rows(matcher):
    ids, scores = matcher.nearest(np.zeros((0, DIM)), IDS[:3], 2)
    assert ids == []
    assert scores.shape == (0, 2)


def test_what_cannot_be_asked(matcher):
    asked = np.ones((1, DIM))
    with pytest.raises(CandidateError, match="'sku-x'"):
        matcher.nearest(asked, ["sku-1", "sku-x"])
    with pytest.raises(CandidateError, match="twice"):
        matcher.nearest(asked, ["sku-1", "sku-1"])
    with pytest.raises(ValueError, match="count of 1 or more, got 0"):
        matcher.nearest(asked, ["sku-1"], 0)
    with pytest.raises(ValueError, match="shape"):
        matcher.nearest(np.ones((1, DIM + 1)), ["sku-1"])
    with pytest.raises(ValueError, match="other than zero"):
        matcher.nearest(np.zeros((1, DIM)), ["sku-1"])
