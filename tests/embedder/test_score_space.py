"""Tests of the whitening, against formulas that never whiten anything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from embedder.score_space import SHRINKAGE, fit_score_space, within_scatter
from embedder.score_space import cosines as all_cosines

DIM = 6


def problem(seed=0, items=8, photos=20, dim=DIM):
    """Items in round numbers; photos of one differ ten times as much in one direction as across."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(items, dim))
    labels = rng.permutation(np.repeat(np.arange(items), photos))
    stretch = np.linspace(0.1, 1, dim)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    vectors = centres[labels] + (rng.normal(size=(len(labels), dim)) * stretch) @ turn
    return vectors.astype(np.float32), labels.astype(np.int64), centres.astype(np.float32)


def pooled(vectors, labels):
    """Item by item, by numpy."""
    scatter, freedom = 0.0, 0
    for item in set(labels.tolist()):
        rows = vectors[labels == item].astype(np.float64)
        if len(rows) > 1:
            scatter = scatter + np.cov(rows.T) * (len(rows) - 1)
            freedom += len(rows) - 1
    return scatter, freedom


def cosines(vectors, centres, inverse, centre):
    """Cosines of the inner product that a matrix defines, one pair at a time."""
    vectors, centres = vectors.astype(np.float64) - centre, centres.astype(np.float64) - centre
    return np.array(
        [[v @ inverse @ c / np.sqrt((v @ inverse @ v) * (c @ inverse @ c)) for c in centres]
         for v in vectors]
    )  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40))
def test_scatter_is_that_of_numpy_item_by_item(seed, items, photos):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(photos, 4)).astype(np.float32)
    labels = rng.integers(0, items, photos) * 10
    scatter, freedom = within_scatter(vectors, labels)
    expected, expected_freedom = pooled(vectors, labels)
    assert freedom == expected_freedom
    np.testing.assert_allclose(scatter, np.zeros((4, 4)) + expected, atol=1e-9)


def test_scatter_of_many_photos():
    vectors, labels, _ = problem(items=5, photos=2000)
    scatter, freedom = within_scatter(vectors, labels)
    expected, _ = pooled(vectors, labels)
    assert freedom == 9995
    np.testing.assert_allclose(scatter, expected, rtol=1e-9, atol=1e-9)


def test_without_shrinkage_whitened_photos_of_an_item_differ_alike_in_all_directions():
    vectors, labels, centres = problem()
    space = fit_score_space(*within_scatter(vectors, labels), centres, shrinkage=0)
    scatter, freedom = pooled((vectors - space.centre) @ space.matrix, labels)
    np.testing.assert_allclose(scatter / freedom, np.eye(DIM), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0, SHRINKAGE, 0.7, 1])
def test_cosines_are_those_of_the_inverse_covariance(shrinkage):
    vectors, labels, centres = problem()
    space = fit_score_space(*within_scatter(vectors, labels), centres, shrinkage)
    scores = space.project(vectors) @ space.project(centres).T
    scatter, freedom = pooled(vectors, labels)
    covariance = scatter / freedom
    mean = np.linalg.eigvalsh(covariance).mean()
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * mean * np.eye(DIM))
    expected = cosines(vectors, centres, inverse, centres.mean(axis=0))
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_full_shrinkage_leaves_centred_cosines():
    vectors, labels, centres = problem()
    space = fit_score_space(*within_scatter(vectors, labels), centres, shrinkage=1)
    middle = centres.mean(axis=0)
    expected = 1 - cdist(vectors - middle, centres - middle, "cosine")
    found = space.project(vectors) @ space.project(centres).T
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_shrinkage_any_linear_change_of_the_vectors_is_undone():
    vectors, labels, centres = problem()
    rng = np.random.default_rng(1)
    change = (rng.normal(size=(DIM, DIM)) + 3 * np.eye(DIM)).astype(np.float32)
    scores = []
    for photos, items in ((vectors, centres), (vectors @ change + 2, centres @ change + 2)):
        space = fit_score_space(*within_scatter(photos, labels), items, shrinkage=0)
        scores.append(space.project(photos) @ space.project(items).T)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def test_whitening_finds_more_where_photos_of_an_item_differ_along_few_directions():
    vectors, labels, centres = problem(items=60, dim=10)
    space = fit_score_space(*within_scatter(vectors, labels), centres)
    plain = (1 - cdist(vectors, centres, "cosine")).argmax(axis=1)
    whitened = (space.project(vectors) @ space.project(centres).T).argmax(axis=1)
    assert (whitened == labels).mean() > (plain == labels).mean() + 0.05


def test_projections_are_of_unit_norm_and_the_centre_has_no_direction():
    vectors, labels, centres = problem()
    space = fit_score_space(*within_scatter(vectors, labels), centres)
    np.testing.assert_allclose(np.linalg.norm(space.project(vectors), axis=1), 1, atol=1e-6)
    assert space.project(space.centre[None]).tolist() == [[0.0] * DIM]
    assert space.project(vectors[:0]).shape == (0, DIM)
    assert {space.centre.dtype, space.matrix.dtype, space.project(vectors).dtype} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize(("photos", "enough"), [(2, False), (3, True)])
def test_twice_as_many_deviations_as_numbers_are_asked_for(photos, enough):
    vectors, labels, centres = problem(items=DIM, photos=photos)
    space = fit_score_space(*within_scatter(vectors, labels), centres)
    assert (space is not None) == enough


def test_no_space_without_two_items_or_with_copies_only():
    vectors, _, centres = problem(items=2)
    one = np.zeros(len(vectors), np.int64)
    assert fit_score_space(*within_scatter(vectors, one), centres[:1]) is None
    assert fit_score_space(*within_scatter(vectors[:0], one[:0]), centres[:0]) is None
    copies, labels = np.repeat(centres, 20, axis=0), np.repeat([0, 1], 20)
    assert fit_score_space(*within_scatter(copies, labels), centres) is None


@pytest.mark.parametrize("asked", [0, 1, 10, 300])
@pytest.mark.parametrize("known", [0, 1, 262, 263, 2000, 9000])
def test_cosines_in_parts_are_the_products(asked, known):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(asked, 100)), rng.normal(size=(known, 100)).astype(np.float32)
    found = all_cosines(left, right)
    assert found.shape == (asked, known)
    np.testing.assert_allclose(found, np.einsum("ad,bd->ab", left, right), atol=1e-9)
