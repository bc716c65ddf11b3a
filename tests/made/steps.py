"""A few training steps on one replica or on several: the same ones, to be compared.

    python steps.py one|mirrored|worker OUT.npz

In double precision, where what is left of a difference is no rounding that training magnifies.
`worker` reads TF_CONFIG. Losses and weights are written, and of `fit` what it says.
"""

from __future__ import annotations

import sys

import numpy as np

from embedder.backend import keras
from embedder.losses import TripletHardLoss
from embedder.model_files import Architecture
from embedder.networks import build_network
from embedder.replicas import agreement, one_replica, replicas_of
from embedder.training_options import TrainingOptions
from embedder.training_step import training_step
from embedder.workers import workers_from_environment

import tensorflow as tf  # isort: skip

OPTIONS = TrainingOptions(softmax=0.5)
STEPS, ITEMS, PHOTOS, SIDE = 12, 7, 3, 32  # 21 photos: replicas have unequal shares


def replicas_for(kind):
    if kind == "worker":
        return replicas_of(workers_from_environment())
    if kind == "one":
        return one_replica()
    processor = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)
    return replicas_of(None, ["CPU:0", "CPU:1"])


def main():
    kind, out = sys.argv[1:]
    keras.config.set_floatx("float64")
    replicas = replicas_for(kind)
    keras.utils.set_random_seed(0)
    with replicas.strategy.scope():
        network = build_network(Architecture(size=SIDE))
        optimizer = keras.optimizers.Adam(1e-3)
        directions = keras.Variable(np.random.default_rng(1).normal(size=(ITEMS, 100)))
        optimizer.build([*network.trainable_variables, directions])
    step = training_step(network, optimizer, OPTIONS, directions, replicas)
    agreed = agreement(replicas)
    rng, losses = np.random.default_rng(0), []
    labels = np.repeat(np.arange(ITEMS), PHOTOS)
    for _ in range(STEPS):
        photos = rng.integers(0, 256, (len(labels), SIDE, SIDE, 3), dtype=np.uint8)
        loss, vectors = step(photos[replicas.share(len(labels))], labels)
        assert vectors.shape == (len(labels), 100)
        losses.append(float(loss))
    own = np.array([replicas.here[0], 7])
    assert agreed(own).tolist() == [0, 7]
    assert agreed(own / 3).tolist() == [0, 7 / 3]
    refused = ""
    try:
        with replicas.strategy.scope():
            TripletHardLoss()(labels, vectors)
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"
    weights = [*network.get_weights(), np.asarray(directions)]
    np.savez(out, *weights, losses=losses, refused=refused)


if __name__ == "__main__":
    main()
