"""Write tfa_losses.npz: what the real tensorflow-addons says of random and degenerate batches.

Run it as `python tests/oracle/tfa_losses.py [FILE]` with the Python of `.venv-tfa`, which `make
test` makes; tests/embedder/test_tfa_oracle.py compares with what it wrote, and it with a new run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

METRICS = ("L2", "squared-L2", "angular")


def batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    found = {}
    for number, (count, classes) in enumerate([(6, 2), (16, 4), (32, 8), (48, 5), (33, 20)]):
        labels, vectors = rng.integers(0, classes, count), rng.normal(size=(count, 7))
        found[f"random{number}"] = (labels, vectors / np.linalg.norm(vectors, axis=1)[:, None])
    labels, vectors = np.repeat(np.arange(8), 4), rng.normal(size=(32, 7))
    found["pk"] = (labels, vectors)
    found["large"] = (labels, vectors * 20)
    found["one class"] = (np.zeros(9, int), vectors[:9])
    found["every class once"] = (np.arange(9), vectors[:9])
    found["all equal"] = (labels, np.tile(vectors[:1], (32, 1)))
    found["equal in an item"] = (labels, np.repeat(vectors[:8], 4, axis=0))
    found["equal across items"] = (labels, np.tile(vectors[:4], (8, 1)))
    # Small whole numbers are not rounded: many distances are equal, also across classes.
    for number, levels in enumerate((2, 2, 2, 3, 3)):
        found[f"grid{number}"] = (rng.integers(0, 3, 14), rng.integers(0, levels, (14, 3)))
    found["zero alone"] = (np.array([0, 1, 1, 2]), np.array([[0, 0], [1, 0], [0, 2], [1, 2]]))
    return {name: (y, x.astype(np.float32)) for name, (y, x) in found.items()}


def losses():
    own = tfa.losses
    for metric in METRICS:
        for margin in (0.2, 1.0):
            yield (
                f"semihard {metric} {margin}",
                lambda y, x, m=metric, g=margin: own.triplet_semihard_loss(y, x, g, m),
            )
            yield (
                f"hard {metric} {margin}",
                lambda y, x, m=metric, g=margin: own.triplet_hard_loss(y, x, g, False, m),
            )
        yield f"soft {metric} 1.0", lambda y, x, m=metric: own.triplet_hard_loss(y, x, 1.0, True, m)
    for margin in (0.2, 1.0):
        yield f"lifted - {margin}", lambda y, x, g=margin: own.lifted_struct_loss(y, x, g)
        yield (
            f"contrastive - {margin}",
            lambda y, x, g=margin: own.contrastive_loss(
                tf.cast(y % 2, tf.float32), tf.reduce_sum(tf.abs(x), axis=1), g
            ),
        )
    yield "npairs - 1.0", lambda y, x: own.npairs_loss(y, tf.matmul(x, x, transpose_b=True))


def main() -> None:
    out = {}
    for batch, (labels, vectors) in batches().items():
        out[f"{batch}|labels"], out[f"{batch}|vectors"] = labels, vectors
        for name, loss in losses():
            x = tf.constant(vectors)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = loss(tf.constant(labels), x)
            out[f"{batch}|{name}|value"] = value.numpy()
            out[f"{batch}|{name}|gradient"] = tape.gradient(value, x).numpy()
    file = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".npz")
    np.savez_compressed(file, **out)


if __name__ == "__main__":
    main()
