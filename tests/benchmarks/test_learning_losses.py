"""The compared losses against plain loops over the formulas of their papers."""

from functools import partial
from math import acos, cos, exp, log, pi, sin

import keras
import numpy as np
import pytest
import tensorflow as tf
from learning_losses import RECIPES, arcface, hard_soft, multi_similarity, proxy_anchor, softmax

from embedder.losses import triplet_hard_loss

ITEMS, DIM = 5, 4


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def batch(seed, count=10, each=1, spread=1.0):
    """Vectors, labels (one item is not in the batch), proxies that are not of unit norm."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, ITEMS - 1, count)
    proxies = rng.normal(size=(ITEMS * each, DIM)) * rng.uniform(0.5, 2, (ITEMS * each, 1))
    centres = rng.normal(size=(ITEMS, DIM))
    vectors = unit(centres[labels] + spread * rng.normal(size=(count, DIM)))
    return vectors.astype(np.float32), labels, proxies.astype(np.float32)


def multi_similarity_by_loops(vectors, labels, alpha, beta, middle, slack):
    total = 0.0
    for i, anchor in enumerate(vectors):
        positives = [
            float(anchor @ vectors[j])
            for j in range(len(labels))
            if j != i and labels[j] == labels[i]
        ]
        negatives = [
            float(anchor @ vectors[j]) for j in range(len(labels)) if labels[j] != labels[i]
        ]
        if not positives or not negatives:
            continue
        kept_positives = [s for s in positives if s < max(negatives) + slack]
        kept_negatives = [s for s in negatives if s > min(positives) - slack]
        if kept_positives and kept_negatives:
            total += log(1 + sum(exp(-alpha * (s - middle)) for s in kept_positives)) / alpha
            total += log(1 + sum(exp(beta * (s - middle)) for s in kept_negatives)) / beta
    return total / len(labels)


@pytest.mark.parametrize("spread", [0.1, 0.4, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity(seed, spread):
    vectors, labels, proxies = batch(seed, spread=spread)
    for numbers in [(2.0, 50.0, 0.5, 0.1), (1.0, 10.0, 0.8, 0.0)]:
        found = float(multi_similarity(vectors, labels, proxies, *numbers))
        expected = multi_similarity_by_loops(vectors.astype(float), labels, *numbers)
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def arcface_by_loops(vectors, labels, proxies, scale, margin, each):
    proxies = unit(proxies)
    total = 0.0
    for vector, label in zip(vectors, labels, strict=True):
        logits = []
        for item in range(len(proxies) // each):
            own = [float(vector @ proxies[item * each + number]) for number in range(each)]
            angle = acos(max(own))
            if item != label:
                logits.append(scale * cos(angle))
            elif angle + margin < pi:
                logits.append(scale * cos(angle + margin))
            else:
                logits.append(scale * (cos(angle) - margin * sin(margin)))
        total += log(sum(exp(logit - logits[label]) for logit in logits))
    return total / len(labels)


@pytest.mark.parametrize(("scale", "margin"), [(16.0, 0.3), (64.0, 0.5), (8.0, 0.0), (4.0, 2.0)])
@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_arcface(seed, each, scale, margin):
    vectors, labels, proxies = batch(seed, each=each)
    found = float(arcface(vectors, labels, proxies, scale, margin, each))
    expected = arcface_by_loops(vectors.astype(float), labels, proxies, scale, margin, each)
    assert found == pytest.approx(expected, rel=1e-4)


def proxy_anchor_by_loops(vectors, labels, proxies, alpha, delta):
    proxies = unit(proxies)
    pull, push, present = 0.0, 0.0, 0
    for item, proxy in enumerate(proxies):
        own = [float(v @ proxy) for v, label in zip(vectors, labels, strict=True) if label == item]
        rest = [float(v @ proxy) for v, label in zip(vectors, labels, strict=True) if label != item]
        if own:
            present += 1
            pull += log(1 + sum(exp(-alpha * (s - delta)) for s in own))
        push += log(1 + sum(exp(alpha * (s + delta)) for s in rest))
    return pull / present + push / len(proxies)


@pytest.mark.parametrize("numbers", [(32.0, 0.1), (3.0, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_proxy_anchor(seed, numbers):
    vectors, labels, proxies = batch(seed)
    found = float(proxy_anchor(vectors, labels, proxies, *numbers))
    expected = proxy_anchor_by_loops(vectors.astype(float), labels, proxies, *numbers)
    assert found == pytest.approx(expected, rel=1e-4)


def test_softmax_takes_the_numbers_as_they_are():
    vectors, labels, proxies = batch(0)
    expected = 0.0
    for vector, label in zip(10 * vectors.astype(float), labels, strict=True):
        logits = [float(vector @ proxy) for proxy in proxies]
        expected += log(sum(exp(logit - logits[label]) for logit in logits)) / len(labels)
    assert float(softmax(10 * vectors, labels, proxies)) == pytest.approx(expected, rel=1e-4)


def test_the_scale_of_the_soft_margin_is_one_of_distances():
    vectors, labels, proxies = batch(1)

    def distances(rows):
        return 5 * keras.ops.sqrt(
            keras.ops.sum(keras.ops.square(rows[:, None] - rows[None]), axis=2)
        )

    expected = triplet_hard_loss(labels, vectors, soft=True, distance_metric=distances)
    found = hard_soft(vectors, labels, proxies, scale=5.0)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["random", "one item", "all alike"])
def test_slopes_are_numbers(name, kind):
    recipe = RECIPES[name]
    vectors, labels, proxies = batch(2, each=max(recipe.proxies, 1))
    if kind == "one item":
        labels = np.zeros_like(labels)
    if kind == "all alike":
        vectors = np.repeat(unit(proxies[:1]).astype(np.float32), len(vectors), axis=0)
    x, p = tf.constant(vectors), tf.constant(proxies)
    with tf.GradientTape() as tape:
        tape.watch([x, p])
        loss = recipe.loss(x, tf.constant(labels), p)
    assert np.isfinite(float(loss))
    for slope in tape.gradient(loss, [x, p], unconnected_gradients="zero"):
        assert np.isfinite(np.asarray(slope)).all()


def test_the_recipes_have_the_proxies_that_their_losses_take():
    for recipe in RECIPES.values():
        loss = recipe.loss
        each = loss.keywords.get("each", 1) if isinstance(loss, partial) else 1
        assert recipe.proxies in (0, each)
