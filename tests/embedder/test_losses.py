"""Tests of the triplet loss against plain loops that follow tensorflow-addons 0.23."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from embedder.distances import pairwise_distances
from embedder.losses import TripletHardLoss, triplet_hard_loss

SCIPY_NAMES = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}
METRICS = list(SCIPY_NAMES)


def batch(seed: int, count: int = 12, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, count), rng.normal(size=(count, 5)).astype(np.float32)


def by_loops(labels, vectors, margin=1.0, soft=False, metric="L2"):
    distances = cdist(vectors.astype(float), vectors.astype(float), SCIPY_NAMES[metric])
    losses = []
    for anchor in range(len(labels)):
        farthest, nearest = 0.0, None
        for other in range(len(labels)):
            distance = distances[anchor][other]
            if labels[other] != labels[anchor]:
                nearest = distance if nearest is None else min(nearest, distance)
            elif other != anchor:
                farthest = max(farthest, distance)
        if nearest is None:
            # The masked minimum of tensorflow-addons, with all masked: the row's maximum.
            nearest = max(distances[anchor])
        difference = farthest - nearest
        losses.append(np.log1p(np.exp(difference)) if soft else max(difference + margin, 0))
    return np.mean(losses)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_scipy(metric: str, seed: int):
    _, vectors = batch(seed)
    found = pairwise_distances(keras.ops.convert_to_tensor(vectors), metric)
    np.testing.assert_allclose(found, cdist(vectors, vectors, SCIPY_NAMES[metric]), atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_the_distance_to_itself_and_to_an_equal_is_zero(metric: str):
    vectors = np.tile(batch(0)[1][:1] * 100, (3, 1))
    np.testing.assert_allclose(pairwise_distances(vectors, metric), 0, atol=1e-6)
    _, vectors = batch(0, count=60)
    distances = np.asarray(pairwise_distances(vectors, metric))
    assert (np.diag(distances) == 0).all()
    assert distances.min() == 0


def test_a_function_may_be_the_metric():
    labels, vectors = batch(1)

    def manhattan(embeddings):
        return keras.ops.sum(keras.ops.abs(embeddings[:, None] - embeddings[None]), axis=2)

    np.testing.assert_allclose(
        pairwise_distances(keras.ops.convert_to_tensor(vectors), manhattan),
        cdist(vectors, vectors, "cityblock"),
        rtol=1e-5,
    )
    assert triplet_hard_loss(labels, vectors, distance_metric=manhattan) > 0


def test_an_anchor_is_never_its_own_positive():
    vectors = np.float32([[3, 0], [1, 1], [0, 3], [1, 2]])

    def similarity(embeddings):  # highest with itself
        return keras.ops.matmul(embeddings, keras.ops.transpose(embeddings))

    # Each anchor's positive is 3, 3, 6, 6; its nearest negative is 0, 3, 0, 3.
    found = triplet_hard_loss([0, 0, 1, 1], vectors, 0.0, distance_metric=similarity)
    assert float(found) == pytest.approx((3 + 0 + 6 + 3) / 4)


def test_a_metric_may_be_negative():
    vectors = np.float32([[3, 0], [1, 1], [0, 3], [1, 2]])

    def opposite(embeddings):  # minus the similarity
        return -keras.ops.matmul(embeddings, keras.ops.transpose(embeddings))

    # Each anchor's positive is -3, -3, -6, -6; its nearest negative is -3, -3, -3, -3.
    found = triplet_hard_loss([0, 0, 1, 1], vectors, 9.0, distance_metric=opposite)
    assert float(found) == pytest.approx((9 + 9 + 6 + 6) / 4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("margin_or_soft", [0.0, 0.2, 1.0, 5.0, "soft"])
def test_loss_is_that_of_plain_loops(metric: str, margin_or_soft: float | str):
    soft = margin_or_soft == "soft"
    margin = 1.0 if soft else margin_or_soft
    for seed in range(8):
        labels, vectors = batch(seed, count=4 + seed * 2, classes=2 + seed % 4)
        found = triplet_hard_loss(labels, vectors, margin, soft, metric)
        expected = by_loops(labels, vectors, margin, soft, metric)
        assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("labels", [[3] * 6, [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 1]])
def test_anchors_without_positives_or_negatives(metric: str, soft: bool, labels: list[int]):
    _, vectors = batch(5, count=6)
    found = triplet_hard_loss(labels, vectors, 0.5, soft, metric)
    expected = by_loops(labels, vectors, 0.5, soft, metric)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("soft", "loss"), [(False, 0.3), (True, np.log(2))])
@pytest.mark.parametrize("metric", METRICS)
def test_equal_vectors_lose_the_margin(metric: str, soft: bool, loss: float):
    found = triplet_hard_loss([0, 0, 1, 1], np.full((4, 3), 0.5, np.float32), 0.3, soft, metric)
    assert float(found) == pytest.approx(loss, abs=1e-6)


def test_labels_may_be_a_column():
    labels, vectors = batch(2)
    assert triplet_hard_loss(labels[:, None], vectors) == triplet_hard_loss(labels, vectors)


def test_a_far_soft_loss_does_not_overflow():
    vectors = np.array([[0.0], [1e4], [1.0]], np.float32)
    found = float(triplet_hard_loss([0, 0, 1], vectors, soft=True))
    assert found == pytest.approx((9999 + 1 + np.log1p(np.exp(-1))) / 3, rel=1e-3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "vectors",
    [np.ones((4, 3)), np.zeros((4, 3)), np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])],
    ids=["equal", "zero", "equal-but-one"],
)
def test_gradients_are_finite_at_distance_zero(metric: str, soft: bool, vectors: np.ndarray):
    variable = tf.Variable(vectors, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = triplet_hard_loss(tf.constant([0, 0, 1, 1]), variable, 1.0, soft, metric)
    assert np.isfinite(tape.gradient(loss, variable)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_those_of_finite_differences(metric: str):
    labels, vectors = batch(4, count=6, classes=2)
    variable = tf.Variable(vectors)
    with tf.GradientTape() as tape:
        loss = triplet_hard_loss(labels, variable, 3.0, distance_metric=metric)
    step = 1e-5
    expected = np.zeros(vectors.shape)
    for at in np.ndindex(*vectors.shape):
        ahead, behind = vectors.astype(float), vectors.astype(float)
        ahead[at] += step
        behind[at] -= step
        rise = by_loops(labels, ahead, 3.0, metric=metric)
        expected[at] = (rise - by_loops(labels, behind, 3.0, metric=metric)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(loss, variable), expected, atol=1e-3)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="'L1'"):
        triplet_hard_loss([0, 1], np.eye(2, dtype=np.float32), distance_metric="L1")


def test_the_class_gives_the_value_of_the_function():
    labels, vectors = batch(3)
    loss = TripletHardLoss(margin=0.4, soft=False, distance_metric="squared-L2")
    found = loss(labels, vectors)
    assert float(found) == pytest.approx(by_loops(labels, vectors, 0.4, metric="squared-L2"), 1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"margin": 0.2, "distance_metric": "angular"}, {"soft": True, "name": "mine"}],
)
def test_the_class_survives_serialization(options: dict[str, object]):
    loss = TripletHardLoss(**options)
    for again in (
        TripletHardLoss.from_config(loss.get_config()),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss)),
    ):
        assert type(again) is TripletHardLoss
        assert again.get_config() == loss.get_config()
        assert {**loss.get_config(), **options} == again.get_config()


def test_fit_lowers_the_loss():
    keras.utils.set_random_seed(0)
    labels, vectors = batch(0, count=48)
    vectors[:, 0] += labels  # something to learn
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.1), loss=TripletHardLoss(margin=0.5))
    history = model.fit(vectors, labels, batch_size=48, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
