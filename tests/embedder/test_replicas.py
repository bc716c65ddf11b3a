"""Steps of several replicas, in one process and in two, beside the same steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from addresses import free_address

from embedder import TrainingError
from embedder.backend import keras
from embedder.losses import TripletHardLoss, lifted_struct_loss
from embedder.replicas import Replicas, agreement, one_replica
from embedder.training import train, train_with_others
from embedder.workers import Workers

import tensorflow as tf  # isort: skip

STEPS = Path(__file__).parent.parent / "made" / "steps.py"
ROUNDING = 1e-12  # the largest difference of weights of about 1, after 12 steps of Adam


def begin(kind, out, **variables):
    command = [sys.executable, str(STEPS), kind, str(out)]
    return subprocess.Popen(
        command, env={**os.environ, **variables}, stderr=subprocess.PIPE, text=True
    )


def ended(process, out):
    _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    with np.load(out) as found:
        return dict(found)


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "one.npz"
    return ended(begin("one", out), out)


def assert_same_steps(found, of_one):
    assert found.keys() == of_one.keys()
    for name in of_one.keys() - {"refused"}:
        np.testing.assert_allclose(found[name], of_one[name], rtol=0, atol=ROUNDING)
    assert len(set(found["losses"].tolist())) == 12
    weights = [name for name in of_one if name.startswith("arr")]
    assert len(weights) == 35


def test_two_devices_make_the_same_steps_as_one(of_one, tmp_path):
    out = tmp_path / "two.npz"
    found = ended(begin("mirrored", out), out)
    assert_same_steps(found, of_one)
    assert not str(of_one["refused"])
    assert str(found["refused"]).startswith(
        "TrainingError: expected one replica, found 2 (MirroredStrategy): in `fit` a loss sees"
    )


def test_two_processes_make_the_same_steps_as_one(of_one, tmp_path):
    addresses = [free_address(), free_address()]
    outs = [tmp_path / f"{number}.npz" for number in (0, 1)]
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    tasks = [{"type": kind, "index": 0} for kind in ("chief", "worker")]
    processes = [
        begin("worker", out, TF_CONFIG=json.dumps({"cluster": cluster, "task": task}))
        for out, task in zip(outs, tasks, strict=True)
    ]
    for found in [ended(process, out) for process, out in zip(processes, outs, strict=True)]:
        assert_same_steps(found, of_one)
        assert "found 2 (CollectiveAllReduceStrategy)" in str(found["refused"])


class Strategy:
    """As many replicas as are said."""

    def __init__(self, count):
        self.num_replicas_in_sync = count


@pytest.mark.parametrize("batch", [5, 21, 128])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_the_whole_batch_in_order(batch, count):
    parts = [Replicas(Strategy(count), None, (at,)).share(batch) for at in range(count)]
    assert [at for part in parts for at in range(batch)[part]] == list(range(batch))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert Replicas(Strategy(count), None, tuple(range(count))).share(batch) == slice(0, batch)


def test_an_engine_in_use_is_refused_before_anything_is_done(catalogue, tmp_path):
    tf.constant(0)
    with pytest.raises(TrainingError, match="expected a process that has not used TensorFlow yet"):
        train_with_others(catalogue, tmp_path / "items.model", Workers(("a:1", "b:2"), 0))
    assert not list(tmp_path.iterdir())


def test_one_process_agrees_with_itself():
    numbers = np.array([0.25, 1 / 3])
    assert agreement(one_replica())(numbers) is numbers


@pytest.fixture
def data_parallel():
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    yield
    keras.distribution.set_distribution(None)


def test_data_parallel_is_refused_where_it_does_nothing(data_parallel, catalogue, tmp_path):
    message = "expected no keras.distribution, found DataParallel: on TensorFlow it does nothing"
    with pytest.raises(TrainingError, match=message):
        train(catalogue, tmp_path / "items.model")
    with pytest.raises(TrainingError, match=message):
        TripletHardLoss()
    assert not (tmp_path / "items.model.training").exists()
    # A function knows of no `fit`: what it is given, it takes for the whole batch.
    assert float(lifted_struct_loss([0, 0, 1], [[1.0, 0], [0, 1], [1, 1]])) > 0
