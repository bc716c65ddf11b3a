"""Our losses on the batches of tfa_losses.npz, with the backend that KERAS_BACKEND names.

Run it as `KERAS_BACKEND=jax python tests/oracle/our_losses.py OUT.npz BATCH...`; it writes the
value of each loss of these batches, and its gradient where the backend has any (numpy has none).
"""

import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import ops

from embedder import losses

ANSWERS = Path(__file__).with_name("tfa_losses.npz")


def loss_of(kind, metric, margin, labels, x):
    if kind == "semihard":
        return losses.triplet_semihard_loss(labels, x, margin, metric)
    if kind in ("hard", "soft"):
        return losses.triplet_hard_loss(labels, x, margin, kind == "soft", metric)
    if kind == "lifted":
        return losses.lifted_struct_loss(labels, x, margin)
    if kind == "contrastive":
        return losses.contrastive_loss(labels % 2, ops.sum(ops.abs(x), axis=1), margin)
    return losses.npairs_loss(labels, ops.matmul(x, ops.transpose(x)))


def value_and_gradient(loss, x):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        def summed(x):
            value = loss(x)
            return ops.sum(value), value

        gradient, value = jax.grad(summed, has_aux=True)(x)
        return value, gradient
    if backend == "torch":
        x.requires_grad_(True)
        value = loss(x)
        value.sum().backward()
        return value.detach(), x.grad
    return loss(x), None


def main():
    answers, found = np.load(ANSWERS), {}
    for key in answers.files:
        batch, name = key.split("|")[:2]
        if not key.endswith("|value") or batch not in sys.argv[2:]:
            continue
        kind, metric, margin = name.split()
        labels = ops.convert_to_tensor(answers[f"{batch}|labels"])
        x = ops.convert_to_tensor(answers[f"{batch}|vectors"])
        loss = partial(loss_of, kind, metric, float(margin), labels)
        value, gradient = value_and_gradient(loss, x)
        found[key] = ops.convert_to_numpy(value)
        if gradient is not None:
            found[f"{batch}|{name}|gradient"] = ops.convert_to_numpy(gradient)
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
