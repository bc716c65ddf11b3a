"""Tests of what turns scores into log odds: how it is used, kept in an index, and fitted."""

import json
import sqlite3
import zlib
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import check_grad
from scipy.special import logsumexp
from scipy.stats import vonmises_fisher

from embedder import IndexFileError
from embedder.labelled_vectors import LabelledVectors
from embedder.score_space import unit
from index import Matcher
from index.calibrating import (
    SIZES,
    _fit,
    _loss,
    _Questions,
    _questions,
    background,
    calibrate,
    fit_calibration,
)
from index.calibration import (
    Calibration,
    kept_calibration,
    log_mean_exp,
    read_background,
    read_calibration,
    uncalibrated,
    write_calibration,
)
from index.deciding import decide
from index.parts import put_part
from index.rows import Item
from index.schema import IndexInfo, seal
from index.store import Store
from index.store_writing import WritableStore

DIM = 4
FITTED = Calibration(
    sizes=(2, 10, 50),
    temperatures=(0.1, 0.2, 0.05),
    bends=(0.0, 3.0, 7.0),
    background=(-1.0, 0.5, 2.0),
    outside=(3.0, -2.0, 1.0),
    evidence=(1.0, 0.8, 0.5),
    views=0.7,
    photos=123,
    given=True,
)


def by_hand(scores, others, count, temperature, bend, offset, outside, evidence):
    """The odds of some candidate to none, scaled, and how they are shared out."""

    def value(score):
        return count**FITTED.views * (score / temperature + (score > 0) * bend * score**2)

    behind = offset + logsumexp(value(others)) - np.log(len(others)) if len(others) else -np.inf
    some = logsumexp(value(scores)) - np.log(len(scores))
    return evidence * (some - np.logaddexp(behind, outside)) + value(scores) - some


@pytest.mark.parametrize(
    ("size", "temperature", "bend", "offset", "outside", "evidence"),
    [
        (10, 0.2, 3.0, 0.5, -2.0, 0.8),
        (2, 0.1, 0.0, -1.0, 3.0, 1.0),
        (1, 0.1, 0.0, -1.0, 3.0, 1.0),  # what was fitted for two
        (300, 0.05, 7.0, 2.0, 1.0, 0.5),  # what was fitted for fifty
    ],
)
@pytest.mark.parametrize("others", [0, 1, 7])
def test_log_ratios_at_fitted_sizes_and_beyond(
    size, temperature, bend, offset, outside, evidence, others
):
    rng = np.random.default_rng([size, others])
    scores, behind = rng.uniform(-1, 1, (3, size)), rng.uniform(-1, 1, (3, others))
    counts = np.array([1, 2, 5])
    found = FITTED.log_ratios(scores, behind, counts)
    for row, count, own, other in zip(found, counts, scores, behind, strict=True):
        expected = by_hand(own, other, count, temperature, bend, offset, outside, evidence)
        np.testing.assert_allclose(row, expected, rtol=1e-9)


def test_log_ratios_between_sizes_are_interpolated_over_the_logarithm():
    rng = np.random.default_rng(0)
    scores, behind = rng.uniform(-1, 1, (1, 20)), rng.uniform(-1, 1, (1, 5))
    part = np.log(20 / 10) / np.log(50 / 10)
    temperature = 0.2 ** (1 - part) * 0.05**part
    bend, offset, outside = 3.0 + 4.0 * part, 0.5 + 1.5 * part, -2.0 + 3.0 * part
    evidence = 0.8 - 0.3 * part
    expected = by_hand(scores[0], behind[0], 1, temperature, bend, offset, outside, evidence)
    found = FITTED.log_ratios(scores, behind, np.array([1]))
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def test_a_photo_like_many_items_says_less_for_a_candidate():
    scores, counts = np.array([[0.6, 0.1]]), np.array([1])
    like_few, like_many = (
        FITTED.log_ratios(scores, np.full((1, 5), level), counts) for level in (-0.5, 0.6)
    )
    assert (like_many < like_few - 1).all()


def test_evidence_moves_none_and_not_one_candidate_beside_another():
    rng = np.random.default_rng(0)
    scores, behind, counts = (
        rng.uniform(-1, 1, (4, 10)),
        rng.uniform(-1, 1, (4, 5)),
        np.ones(4, int),
    )
    whole, half = (
        replace(FITTED, evidence=(part,) * 3).log_ratios(scores, behind, counts)
        for part in (1, 0.5)
    )
    np.testing.assert_allclose(half - half[:, :1], whole - whole[:, :1], atol=1e-9)
    some = [logsumexp(ratios, axis=1) - np.log(10) for ratios in (whole, half)]
    np.testing.assert_allclose(some[1], 0.5 * some[0], atol=1e-9)


def test_without_a_calibration_confidence_is_a_plain_softmax():
    scores = np.array([[0.9, 0.3, -0.2]])
    found = decide(scores, np.zeros((1, 0)), np.array([1]), np.ones(3, np.int64), uncalibrated(0.2))
    np.testing.assert_allclose(
        found.shares, np.exp(scores / 0.2) / np.exp(scores / 0.2).sum(), atol=1e-9
    )


@given(arrays(np.float64, (3, 4), elements=st.floats(-700, 700)))
def test_log_mean_exp_is_that_of_scipy(values):
    expected = logsumexp(values, axis=1) - np.log(4)
    found = log_mean_exp(values, np.ones(values.shape, bool))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(
    arrays(np.float64, (3, 4), elements=st.floats(-100, 100)),
    arrays(np.bool_, (3, 3)),
)
def test_log_mean_exp_is_of_what_counts(values, others):
    counted = np.concatenate([np.ones((3, 1), bool), others], axis=1)
    expected = logsumexp(values, axis=1, b=counted) - np.log(counted.sum(axis=1))
    np.testing.assert_allclose(log_mean_exp(values, counted), expected, atol=1e-9)


@pytest.fixture
def path(tmp_path):
    """An index of five items without a calibration."""
    with WritableStore.create(tmp_path / "items.index", IndexInfo("f" * 64, DIM, 0.2, "")) as store:
        for number, centroid in enumerate(unit(np.random.default_rng(0).normal(size=(5, DIM)))):
            store.put(Item(f"sku-{number}", centroid.astype(np.float32), 1, 0.0, "", b""))
        store.commit()
    return tmp_path / "items.index"


def keep(path, calibration):
    with WritableStore.open(path) as store:
        write_calibration(store, calibration, background(store))
        store.commit()


def put_raw(path, name, content):
    connection = sqlite3.connect(path)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, content))
    seal(connection)
    connection.commit()
    connection.close()


def sealed(content):
    return content + zlib.crc32(content).to_bytes(4, "little")


def test_an_index_without_a_calibration_has_none(path):
    with Store.open(path) as store:
        assert read_calibration(store) is None
        assert read_background(store).without(()).shape == (0, DIM)


@pytest.mark.parametrize("calibration", [FITTED, replace(FITTED, given=False, views=0.0, photos=0)])
def test_a_calibration_is_read_as_it_was_written(path, calibration):
    keep(path, calibration)
    with Store.open(path) as store:
        assert read_calibration(store) == calibration


def test_a_calibration_can_be_taken_away(path):
    keep(path, FITTED)
    keep(path, None)
    with Store.open(path) as store:
        assert read_calibration(store) is None
        assert len(read_background(store).without(())) == 5


def test_the_background_is_what_is_no_candidate(path):
    keep(path, None)
    with Store.open(path) as store:
        expected, _ = store.centroids(["sku-0", "sku-2", "sku-4"])
        np.testing.assert_array_equal(read_background(store).without({"sku-1", "sku-3"}), expected)
        assert read_background(store).without(set(store.ids())).shape == (0, DIM)


DOCUMENT = json.loads(json.dumps(asdict(FITTED)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        "text",
        7,
        2.5,
        sealed(b""),
        sealed(b"\xff\xfe"),
        sealed(b"null"),
        sealed(b"[]"),
        sealed(b"{}"),
        "one byte",
        "truncated",
    ],
)
def test_a_damaged_calibration_is_named(path, content):
    keep(path, FITTED)
    with Store.open(path) as store:
        whole = store.part("calibration")
    changed = {
        "one byte": whole[:20] + bytes([whole[20] ^ 1]) + whole[21:],
        "truncated": whole[:-9],
    }.get(content, content)
    put_raw(path, "calibration", changed)
    with (
        Matcher.open(path) as matcher,
        pytest.raises(IndexFileError, match=r"items\.index: its calibration is damaged.*--repair"),
    ):
        matcher.match_vectors(np.ones((1, DIM)), ["sku-0"])


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": []},
        {"sizes": [2, 10]},
        {"sizes": [0, 10, 50]},
        {"sizes": [10, 2, 50]},
        {"sizes": [2, 10, "many"]},
        {"sizes": [[2], [10], [50]]},
        {"sizes": [2, 10, float("inf")]},
        {"temperatures": [0.1, 0.0, 0.1]},
        {"temperatures": [0.1, float("nan"), 0.1]},
        {"temperatures": [0.1, -1, 0.1]},
        {"temperatures": None},
        {"background": [0.0, 0.0, float("-inf")]},
        {"outside": [0.0, 0.0, 1e30]},
        {"evidence": [0.5, 0.5]},
        {"evidence": [0.5, 0.0, 0.5]},
        {"evidence": [0.5, 1.5, 0.5]},
        {"evidence": [0.5, float("nan"), 0.5]},
        {"evidence": None},
        {"views": 1.5},
        {"views": float("nan")},
        {"views": "much"},
        {"views": None},
        {"photos": -1},
        {"changed": -1},
        {"photos": float("inf")},
        {"photos": float("nan")},
        {"more": 1},
    ],
    ids=repr,
)
def test_json_that_is_no_calibration_is_damage(path, changes):
    text = json.dumps(DOCUMENT | changes).encode()
    put_raw(path, "calibration", sealed(text))
    with (
        Store.open(path) as store,
        pytest.raises(IndexFileError, match=r"items\.index: its calibration is damaged"),
    ):
        read_calibration(store)


def test_a_calibration_that_lacks_a_field_is_damage(path):
    for name in DOCUMENT.keys() - {"changed", "evidence"}:
        text = json.dumps({key: value for key, value in DOCUMENT.items() if key != name}).encode()
        put_raw(path, "calibration", sealed(text))
        with Store.open(path) as store, pytest.raises(IndexFileError, match="is damaged"):
            read_calibration(store)


@pytest.mark.parametrize("later", [{"evidence"}, {"changed", "evidence"}])
def test_a_calibration_from_before_it_had_a_field_is_read(path, later):
    # Changes were not counted, and all of the evidence was.
    text = json.dumps({key: value for key, value in DOCUMENT.items() if key not in later}).encode()
    put_raw(path, "calibration", sealed(text))
    with Store.open(path) as store:
        assert read_calibration(store) == replace(FITTED, changed=0, evidence=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("given", "earlier", "changed", "kept"),
    [
        (False, 0, 2, 2),
        (False, 1, 1, 2),
        (False, 0, 3, None),
        (False, 2, 1, None),
        (True, 0, 99, 0),
    ],
)
def test_a_calibration_is_kept_while_few_items_changed(tmp_path, given, earlier, changed, kept):
    with WritableStore.create(tmp_path / "items.index", IndexInfo("f" * 64, DIM, 0.1, "")) as store:
        for number in range(250):
            row = np.eye(DIM, dtype=np.float32)[number % DIM]
            store.put(Item(f"sku-{number}", row, 5, 0.1, "", b"signature"))
        assert kept_calibration(store, changed) is None
        fitted = replace(FITTED, given=given, changed=earlier)
        write_calibration(store, fitted, background(store))
        found = kept_calibration(store, changed)
        assert found == (None if kept is None else replace(fitted, changed=kept))
        put_part(store, "calibration", b"{}")
        assert kept_calibration(store, 0) is None


@pytest.mark.parametrize(
    "content", [b"", "text", 7, sealed(b"[]\n1234"), sealed(b'["a"]\n1234'), "one byte"]
)
def test_a_damaged_background_is_named(path, content):
    keep(path, FITTED)
    if content == "one byte":
        with Store.open(path) as store:
            whole = store.part("background")
        content = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    put_raw(path, "background", content)
    with (
        Matcher.open(path) as matcher,
        pytest.raises(IndexFileError, match=r"items\.index: its background is damaged.*--repair"),
    ):
        matcher.match_vectors(np.ones((1, DIM)), ["sku-0"])


def drawn(items, photos, concentration=15.0, dim=16, seed=0):
    """Centroids, photos about them as the model has it (temperature 1 / 15), and their items."""
    rng = np.random.default_rng(seed)
    centroids = unit(rng.normal(size=(items, dim)))
    vectors = [
        vonmises_fisher(row, concentration).rvs(photos, random_state=rng) for row in centroids
    ]
    return centroids, np.concatenate(vectors), np.repeat(np.arange(items), photos)


@pytest.fixture(scope="module")
def fitted():
    centroids, vectors, truth = drawn(60, 20)
    return fit_calibration(vectors @ centroids.T, truth, np.ones(60, bool))


def test_the_temperature_that_photos_were_drawn_at_is_found(fitted):
    assert fitted.sizes == (2, 10, 50)
    assert fitted.photos == 1200
    for size in fitted.sizes:
        scores = np.array([[0.3, 0.8] + [0.0] * (size - 2)])
        low, high = fitted.log_ratios(scores, np.zeros((1, 0)), np.array([1]))[0, :2]
        assert high - low == pytest.approx(15 * 0.5, rel=0.2)


def expected_calibration_error(confidences, right):
    bins = np.minimum((np.array(confidences) * 10).astype(int), 9)
    gaps = np.bincount(bins, np.array(confidences) - np.array(right), minlength=10)
    return np.abs(gaps).sum() / len(right)


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("candidates", [5, 25])
def test_as_many_are_right_as_is_promised(fitted, candidates, independent):
    centroids, vectors, truth = drawn(60, 60, seed=0)  # other photos of the same items
    vectors, truth = vectors.reshape(60, 60, -1)[:, 20:], truth.reshape(60, 60)[:, 20:]
    rng = np.random.default_rng(1)
    confidences, right = [], []
    for _ in range(1500):
        chosen = rng.choice(60, candidates, replace=False)
        others = np.setdiff1d(np.arange(60), chosen)
        shown = rng.permutation(candidates)[:5]
        unknown = rng.random(5) < 0.2
        items = np.where(unknown, rng.choice(others, 5), chosen[shown])
        asked = vectors[items, rng.integers(40, size=5)]
        decision = decide(
            asked @ centroids[chosen].T,
            asked @ centroids[others].T,
            np.ones(5, np.int64),
            np.ones(candidates, np.int64),
            fitted,
            independent,
            unknown=0.2,
        )
        for at, item in enumerate(decision.chosen):
            share = decision.shares[at]
            confidences.append(share[item] if item >= 0 else 1 - share.sum())
            right.append(item == (-1 if unknown[at] else shown[at]))
    assert np.mean(right) > 0.6
    assert expected_calibration_error(confidences, right) < 0.03


def test_a_seed_gives_one_calibration():
    centroids, vectors, truth = drawn(20, 10)
    scores, behind = vectors @ centroids.T, np.ones(20, bool)
    found = fit_calibration(scores, truth, behind)
    assert fit_calibration(scores, truth, behind) == found
    assert fit_calibration(scores, truth, behind, seed=1) != found


def test_too_few_photos_or_items_say_nothing():
    centroids, vectors, truth = drawn(4, 5)
    scores, behind = vectors @ centroids.T, np.ones(4, bool)
    assert fit_calibration(scores, truth, behind) is not None
    assert fit_calibration(scores[:19], truth[:19], behind) is None
    centroids, vectors, truth = drawn(2, 50)
    assert fit_calibration(vectors @ centroids.T, truth, np.ones(2, bool)) is None


@pytest.mark.parametrize("items", [size + 1 for size in SIZES[:3]])
def test_all_others_may_be_candidates(items):
    # Then nothing is left of the background for a photo of an item that is not in the catalogue.
    centroids, vectors, truth = drawn(items, 10)
    found = fit_calibration(vectors @ centroids.T, truth, np.ones(items, bool))
    slopes = 1 / np.array(found.temperatures) + np.array(found.bends)  # between 0 and 1
    assert np.abs(np.log(slopes) - np.log(15)).max() < 0.7


@pytest.mark.parametrize("behind", [0, 30, 60])
@pytest.mark.parametrize(
    "parameters",
    [(15.0, 0.0, 0.0, 0.0, 1.0), (8.0, 5.0, -3.0, 6.0, 0.8), (30.0, 9.0, 2.0, 12.0, 0.3)],
)
def test_the_slope_of_the_loss_is_its_derivative(behind, parameters):
    centroids, vectors, truth = drawn(60, 4)
    rng = np.random.default_rng(0)
    questions = _questions(vectors @ centroids.T, truth, np.arange(60) < behind, 10, rng)
    off = check_grad(
        lambda x: _loss(x, questions, 240)[0],
        lambda x: _loss(x, questions, 240)[1],
        np.array(parameters),
    )
    assert off < 1e-5


def asked_as_the_model_has_it(slope, bend, offset, outside, evidence, count=2000, size=10):
    """Questions whose answers are drawn with the probabilities that the formula gives."""
    rng = np.random.default_rng(0)
    scores, background = rng.normal(0, 0.3, (count, size)), rng.normal(0, 0.3, (count, 8))
    known, chosen = np.zeros(count, bool), np.zeros(count, int)
    for at, (own, others) in enumerate(zip(scores, background, strict=True)):
        ratios = by_hand(own, others, 1, 1 / slope, bend, offset, outside, evidence)
        odds = np.append(np.exp(ratios) / size, 1.0)
        answer = rng.choice(size + 1, p=odds / odds.sum())
        known[at], chosen[at] = answer < size, answer % size
    rows = np.arange(count)
    scores[rows, 0], scores[rows, chosen] = scores[rows, chosen], scores[rows, 0]
    return _Questions(scores, known, background, np.ones(background.shape, bool))


@pytest.mark.parametrize(("slope", "evidence"), [(12.0, 0.5), (6.0, 1.0)])
def test_the_part_of_the_evidence_that_answers_were_drawn_with_is_found(slope, evidence):
    questions = asked_as_the_model_has_it(slope, 4.0, 0.5, -1.0, evidence)
    found = _fit(questions, len(questions.scores))
    # Slope and bend make up for each other: how steep they are together, at 0.3.
    assert found[0] + 0.6 * found[1] == pytest.approx(slope + 0.6 * 4.0, rel=0.1)
    assert found[4] == pytest.approx(evidence, abs=0.1)


def test_half_of_the_questions_have_their_item_among_the_candidates():
    scores = np.arange(50 * 12, dtype=np.float64).reshape(50, 12)  # a score tells where it is from
    truth = np.random.default_rng(0).integers(12, size=50)
    found = _questions(scores, truth, np.ones(12, bool), 5, np.random.default_rng(0))
    photos, columns = np.divmod(found.scores.astype(int), 12)
    assert (photos == photos[:, :1]).all()
    right = columns == truth[photos]
    assert found.known.mean() == 0.5
    assert (right[:, 0] == found.known).all()
    assert not right[:, 1:].any()
    assert all(len(set(row)) == 5 for row in columns.tolist())
    candidate = np.zeros(found.counted.shape, bool)
    np.put_along_axis(candidate, columns, True, axis=1)
    own = np.arange(12) == truth[photos[:, :1]]
    hidden = ~candidate & ~found.counted
    assert not (candidate & found.counted).any()
    assert (hidden <= own).all()
    assert hidden.any(axis=1).mean() == 0.125


def test_independent_views_are_worth_a_photo_each():
    centroids, vectors, truth = drawn(60, 20, concentration=5.0)
    found = fit_calibration(vectors @ centroids.T, truth, np.ones(60, bool))
    assert found.views > 0.8


def test_copies_of_a_photo_are_worth_nothing():
    centroids, vectors, truth = drawn(60, 1, concentration=5.0)
    scores = np.repeat(vectors @ centroids.T, 3, axis=0)
    found = fit_calibration(scores, np.repeat(truth, 3), np.ones(60, bool))
    assert found.views < 0.1


def index_of(path, vectors, truth):
    """An index of photos as `build_index` would make it."""
    with WritableStore.create(path, IndexInfo("f" * 64, vectors.shape[1], 0.1, "")) as store:
        for item in np.unique(truth).tolist():
            rows = vectors[truth == item]
            mean = rows.mean(axis=0)
            dispersion = float(((rows - mean) ** 2).sum(axis=1).mean())
            centroid = unit(mean).astype(np.float32)
            store.put(Item(f"sku-{item:02}", centroid, len(rows), dispersion, "", b""))
        store.commit()
    return Store.open(path)


def labelled(vectors, truth):
    return LabelledVectors(vectors.astype(np.float32), tuple(f"sku-{item:02}" for item in truth))


def same(found, expected):
    for name, value in asdict(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-2, atol=1e-2, err_msg=name)


def test_a_photo_is_not_compared_with_a_centroid_it_is_in(tmp_path):
    _, vectors, truth = drawn(12, 6, concentration=8.0)
    means = np.array([vectors[truth == item].mean(axis=0) for item in range(12)])
    scores = vectors @ unit(means).T
    for at, item in enumerate(truth):
        rest = vectors[(truth == item) & (np.arange(len(truth)) != at)].mean(axis=0)
        scores[at, item] = vectors[at] @ unit(rest)
    with index_of(tmp_path / "items.index", vectors, truth) as store:
        found = calibrate(store, labelled(vectors, truth), background(store), given=False)
    same(found, fit_calibration(scores, truth, np.ones(12, bool)))


def test_photos_that_are_not_in_the_index_are_compared_with_all_of_it(tmp_path):
    _, vectors, truth = drawn(12, 12, concentration=8.0)
    first = np.arange(len(truth)) % 12 < 6
    means = np.array([vectors[first & (truth == item)].mean(axis=0) for item in range(12)])
    asked, items = vectors[~first], truth[~first]
    with index_of(tmp_path / "items.index", vectors[first], truth[first]) as store:
        others = background(store)
        found = calibrate(store, labelled(asked, items), others, given=True)
        # Photos of what the index does not have say nothing.
        more = labelled(np.concatenate([asked, asked[:9]]), [*items, *range(90, 99)])
        assert calibrate(store, more, others, given=True) == found
    expected = fit_calibration(asked @ unit(means).T, items, np.ones(12, bool))
    same(found, replace(expected, given=True))


def test_items_of_few_photos_are_not_asked_about_their_own(tmp_path):
    _, vectors, truth = drawn(12, 3)
    with index_of(tmp_path / "items.index", vectors, truth) as store:
        photos, others = labelled(vectors, truth), background(store)
        assert calibrate(store, photos, others, given=False) is None
        assert calibrate(store, photos, others, given=True).photos == 36


def test_the_background_of_a_large_index_is_a_sample_of_it(tmp_path):
    vectors = unit(np.random.default_rng(0).normal(size=(700, DIM)))
    with index_of(tmp_path / "items.index", vectors, np.arange(700)) as store:
        found = background(store)
        centroids, _ = store.centroids(found.items)
        assert found.items == background(store).items
    assert len(found.items) == len(set(found.items)) == 256
    np.testing.assert_array_equal(found.vectors, centroids)
