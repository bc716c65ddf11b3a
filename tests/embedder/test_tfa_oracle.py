"""The losses beside the real tensorflow-addons 0.23.0, whose answers lie in tests/oracle."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedder.losses import (
    ContrastiveLoss,
    LiftedStructLoss,
    NpairsLoss,
    TripletSemiHardLoss,
    triplet_semihard_loss,
)

ROOT = Path(__file__).parents[2]
ORACLE = ROOT / "tests" / "oracle"
ANSWERS = dict(np.load(ORACLE / "tfa_losses.npz"))
CASES = sorted(key.removesuffix("|value") for key in ANSWERS if key.endswith("|value"))


loss_of = runpy.run_path(str(ORACLE / "our_losses.py"))["loss_of"]


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case):
    batch, name = case.split("|")
    compiled = batch == "pk"  # as in training; the others run as they are read, which is quicker
    kind, metric, margin = name.split()
    labels = tf.constant(ANSWERS[f"{batch}|labels"])
    x = tf.constant(ANSWERS[f"{batch}|vectors"])

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss_of(kind, metric, float(margin), labels, x)
        return value, tape.gradient(value, x)

    value, gradient = (tf.function(both) if compiled else both)(x)
    compare(case, value, gradient)


# Few, because jax compiles each anew; none with ties, where slopes are the backend's own.
ELSEWHERE = {
    "jax": {"random0", "one class", "every class once", "all equal"},
    "numpy": {case.split("|")[0] for case in CASES},
}


@pytest.mark.parametrize("backend", ELSEWHERE)
def test_the_other_backends(backend, tmp_path):
    batches = ELSEWHERE[backend]
    command = [sys.executable, ORACLE / "our_losses.py", tmp_path / "ours.npz", *batches]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    ours = np.load(tmp_path / "ours.npz")
    for case in CASES:
        if case.split("|")[0] in batches:
            gradient = None if backend == "numpy" else ours[f"{case}|gradient"]
            compare(case, ours[f"{case}|value"], gradient)


def compare(case, value, gradient):
    """A value, and a gradient unless it is None, with what tensorflow-addons answered."""
    batch, name = case.split("|")
    kind, metric, margin = name.split()
    theirs, slope = ANSWERS[f"{case}|value"], ANSWERS[f"{case}|gradient"]
    if np.isnan(theirs).any():
        assert (batch, kind) in NOT_A_NUMBER_THERE
        assert float(value) == 0.0
        assert gradient is None or not np.any(gradient)
        return
    assert np.isfinite(value).all()
    assert gradient is None or np.isfinite(gradient).all()
    if np.isinf(theirs).any():
        # Their exp overflows where the soft margin is plainly the difference.
        assert (batch, kind, metric) == ("large", "soft", "squared-L2")
        return
    if of_the_processor(case):
        return
    np.testing.assert_allclose(value, theirs, rtol=1e-5, atol=1e-5, err_msg=case)
    if gradient is None or np.isnan(slope).any():
        return
    if kind == "lifted" and batch.startswith("grid"):
        # Where two photos of an item are equally far from their nearest negatives, the maximum that
        # tensorflow-addons takes out of its exponentials does not cancel in its slope.
        slope = lifted_slope(ANSWERS[f"{batch}|labels"], ANSWERS[f"{batch}|vectors"], float(margin))
    close = 1e-5 * max(1, np.abs(slope).max())
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=close, err_msg=case)


def of_the_processor(name):
    """Whether the answer of tensorflow-addons itself differs from one processor to another.

    Many vectors of a grid are equally far apart; which of two equal angles is smaller, as products
    of matrices in float32 give them, is in their last bit. Angles of other batches are compared.
    """
    return name.startswith("grid") and " angular " in name


def test_the_answers_are_those_of_the_real_one(tmp_path):
    environment = ROOT / ".venv-tfa"
    if not (environment / ".ready").exists():
        message = "no .venv-tfa: `make test` makes it, given Python 3.11 on x86-64 Linux"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    command = [environment / "bin" / "python", ORACLE / "tfa_losses.py", tmp_path / "new.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    again = np.load(tmp_path / "new.npz")
    assert set(again.files) == set(ANSWERS)
    for name, answer in ANSWERS.items():
        if of_the_processor(name):
            continue
        close = 1e-6 * max(1, np.abs(answer[np.isfinite(answer)]).max(initial=0))
        np.testing.assert_allclose(again[name], answer, rtol=1e-6, atol=close, err_msg=name)


# Where tensorflow-addons divides by no pairs, or takes the logarithm of no negatives.
NOT_A_NUMBER_THERE = {
    ("every class once", "semihard"),
    ("every class once", "lifted"),
    ("one class", "lifted"),
}


def lifted_slope(labels, vectors, margin):
    """In float64, where nothing has to be taken out of an exponential."""
    x = tf.constant(vectors, tf.float64)
    same = labels[:, None] == labels[None]
    positives = same & ~np.eye(len(labels), dtype=bool)
    with tf.GradientTape() as tape:
        tape.watch(x)
        squares = tf.reduce_sum((x[:, None] - x[None]) ** 2, axis=2)
        apart = squares > 0
        distances = tf.where(apart, tf.sqrt(tf.where(apart, squares, 1.0)), 0.0)
        negatives = tf.reduce_sum(tf.where(same, 0.0, tf.exp(margin - distances)), axis=1)
        costs = tf.math.log(negatives[:, None] + negatives[None]) + distances
        loss = 0.5 * tf.reduce_mean(tf.maximum(costs[positives], 0.0) ** 2)
    return tape.gradient(loss, x)


def semihard_by_loops(labels, vectors, margin):
    costs = []
    count = range(len(labels))
    distance = [
        [float(np.sqrt(((vectors[i] - vectors[j]) ** 2).sum())) for j in count] for i in count
    ]
    for a in count:
        negatives = [distance[a][n] for n in count if labels[n] != labels[a]]
        for p in count:
            if p != a and labels[p] == labels[a]:
                beyond = [d for d in negatives if d > distance[a][p]]
                costs.append(
                    max(distance[a][p] + margin - (min(beyond) if beyond else max(negatives)), 0)
                )
    return np.mean(costs)


@pytest.mark.parametrize("seed", range(5))
def test_semihard_by_plain_loops(seed):
    rng = np.random.default_rng(seed)
    labels, vectors = rng.integers(0, 3, 14), rng.normal(size=(14, 4))
    found = triplet_semihard_loss(labels, vectors.astype(np.float32), 0.7)
    assert float(found) == pytest.approx(semihard_by_loops(labels, vectors, 0.7), abs=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        TripletSemiHardLoss(0.3, "angular"),
        ContrastiveLoss(0.4),
        NpairsLoss(),
        LiftedStructLoss(0.6),
    ],
)
def test_a_loss_survives_its_config(loss):
    again = type(loss).from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    rng = np.random.default_rng(0)
    square = rng.random((6, 6)).astype(np.float32)
    given = square[:, 0] if isinstance(loss, ContrastiveLoss) else square
    labels = np.array([0, 0, 1, 1, 0, 1])
    assert float(restored(labels, given)) == float(loss(labels, given)) > 0


def test_semihard_trains_in_compile():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 8)
    photos = rng.normal(size=(8, 10))[labels] + 0.7 * rng.normal(size=(64, 10))
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.UnitNormalization()])
    model.compile(keras.optimizers.Adam(0.02), TripletSemiHardLoss(0.5))
    history = model.fit(photos, labels, batch_size=64, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
