"""The losses that `learning.py` compares, and the recipes that are made of them.

A loss is a pure function of vectors float32 (batch, dim), labels (batch,) in 0...items-1, and
proxies float32 (items * each, dim): rows that are learned along with the network, one or more for
each item, `each` of one item beside each other. It gives a scalar. Losses without proxies ignore
them. Vectors are of unit norm unless said otherwise; proxies are scaled to it where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from embedder.backend import ops
from embedder.losses import triplet_hard_loss, triplet_semihard_loss

Loss = Callable[[Any, Any, Any], Any]

_NEVER = -1e9  # the exponent of what is left out
_STEEP = 1e-6  # squared sine below which the slope of an angle is not followed any farther


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes:
        loss: what to minimise.
        proxies: rows for each item.
        faster: learning rate of the proxies, in that of the network.
        unit: whether the loss takes the vectors as they are compared, of unit norm, or those 100
            numbers before they are scaled to it.
        pretraining: share of the time in which the network learns to reconstruct photos first.
        mined: whether every other batch is of items that look alike.
        note: its numbers, and whose they are.
    """

    loss: Loss
    proxies: int = 0
    faster: float = 10.0
    unit: bool = True
    pretraining: float = 0.0
    mined: bool = False
    note: str = ""


def semihard(
    vectors: Any, labels: Any, proxies: Any, margin: float = 1.0, metric: str = "L2"
) -> Any:
    """`embedder.losses.triplet_semihard_loss` (Schroff et al. 2015)."""
    return triplet_semihard_loss(labels, vectors, margin, metric)


def hard(vectors: Any, labels: Any, proxies: Any, margin: float = 0.2) -> Any:
    """`embedder.losses.triplet_hard_loss` with a margin (Hermans et al. 2017)."""
    return triplet_hard_loss(labels, vectors, margin)


def hard_soft(vectors: Any, labels: Any, proxies: Any, scale: float = 1.0) -> Any:
    """The same with the soft margin, distances times `scale`.

    Distances between unit-norm vectors end at 2, where the soft margin is hardly bent: without a
    scale a triplet that is right by far costs nearly as much as one that is wrong.
    """
    return triplet_hard_loss(labels, scale * vectors, soft=True)


def multi_similarity(
    vectors: Any,
    labels: Any,
    proxies: Any,
    alpha: float = 2.0,
    beta: float = 40.0,
    middle: float = 0.5,
    slack: float = 0.1,
) -> Any:
    """Wang et al. 2019, "Multi-Similarity Loss with General Pair Weighting".

    The mean over anchors i, with the cosines S, of
    `log(1 + sum_P exp(-alpha (S_ij - middle))) / alpha
    + log(1 + sum_N exp(beta (S_ij - middle))) / beta`,
    where P are the positives with `S_ij < max negative + slack` and N the negatives with
    `S_ij > min positive - slack`. An anchor without one or the other costs nothing.
    """
    cosines = ops.matmul(vectors, ops.transpose(vectors))
    same = ops.equal(labels[:, None], labels[None, :])
    positive = ops.logical_and(same, ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool")))
    negative = ops.logical_not(same)
    least = ops.min(ops.where(positive, cosines, math.inf), axis=1, keepdims=True)
    most = ops.max(ops.where(negative, cosines, -math.inf), axis=1, keepdims=True)
    positive = ops.logical_and(positive, cosines < most + slack)
    negative = ops.logical_and(negative, cosines > least - slack)
    pull = _log_one_plus_sum(-alpha * (cosines - middle), positive, 1) / alpha
    push = _log_one_plus_sum(beta * (cosines - middle), negative, 1) / beta
    counts = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
    return ops.mean(ops.where(counts, pull + push, 0.0))


def arcface(
    vectors: Any, labels: Any, proxies: Any, scale: float = 64.0, margin: float = 0.5, each: int = 1
) -> Any:
    """Deng et al. 2019, "ArcFace", and with `each` > 1 Deng et al. 2020, "Sub-center ArcFace".

    Cross entropy of `scale * cos(angle to the item)`, for the right item of
    `scale * cos(angle + margin)`; the angle to an item is that to the nearest of its proxies. Where
    angle + margin is beyond pi, `cos(angle) - margin * sin(margin)` goes on falling instead, as in
    the authors' code.
    """
    cosines = ops.matmul(vectors, ops.transpose(unit(proxies)))
    cosines = ops.max(ops.reshape(cosines, (ops.shape(vectors)[0], -1, each)), axis=2)
    sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), _STEEP))
    moved = cosines * math.cos(margin) - sines * math.sin(margin)
    moved = ops.where(cosines > -math.cos(margin), moved, cosines - margin * math.sin(margin))
    right = ops.one_hot(labels, ops.shape(cosines)[1], dtype=cosines.dtype)
    return _cross_entropy(scale * (right * moved + (1.0 - right) * cosines), right)


def proxy_anchor(
    vectors: Any, labels: Any, proxies: Any, alpha: float = 32.0, delta: float = 0.1
) -> Any:
    """Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning".

    With the cosines s of the batch to the proxies p: the mean over the proxies of items in the
    batch of `log(1 + sum exp(-alpha (s - delta)))` over the item's photos, and the mean over all
    proxies of `log(1 + sum exp(alpha (s + delta)))` over the photos of other items.
    """
    cosines = ops.matmul(vectors, ops.transpose(unit(proxies)))
    items = ops.shape(cosines)[1]
    own = ops.one_hot(labels, items, dtype="bool")
    present = ops.cast(ops.any(own, axis=0), cosines.dtype)
    pull = _log_one_plus_sum(-alpha * (cosines - delta), own, 0)
    push = _log_one_plus_sum(alpha * (cosines + delta), ops.logical_not(own), 0)
    return ops.sum(pull * present) / ops.sum(present) + ops.mean(push)


def softmax(numbers: Any, labels: Any, proxies: Any) -> Any:
    """Cross entropy of one linear layer over all items, on vectors that are not of unit norm."""
    logits = ops.matmul(numbers, ops.transpose(proxies))
    return _cross_entropy(logits, ops.one_hot(labels, ops.shape(logits)[1], dtype=logits.dtype))


def semihard_and_softmax(vectors: Any, labels: Any, proxies: Any, weight: float = 0.2) -> Any:
    """Semi-hard triplets as FaceNet, and beside them a softmax of scaled cosines.

    The softmax is that of Wang et al. 2017, "NormFace": cosines over a temperature of 0.05. It is
    what `TrainingOptions(loss="semi-hard", softmax=0.2)` does.
    """
    cosines = ops.matmul(vectors, ops.transpose(unit(proxies)))
    right = ops.one_hot(labels, ops.shape(cosines)[1], dtype=cosines.dtype)
    triplets = semihard(vectors, labels, proxies, 0.2, "squared-L2")
    return triplets + weight * _cross_entropy(cosines / 0.05, right)


def unit(rows: Any) -> Any:
    """Rows of unit norm."""
    squared = ops.sum(ops.square(rows), axis=1, keepdims=True)
    return rows * ops.rsqrt(ops.maximum(squared, 1e-12))


def _log_one_plus_sum(exponents: Any, counted: Any, axis: int) -> Any:
    """`log(1 + sum exp)` of the counted ones along an axis, without overflow."""
    return ops.softplus(ops.logsumexp(ops.where(counted, exponents, _NEVER), axis=axis))


def _cross_entropy(logits: Any, right: Any) -> Any:
    return -ops.mean(ops.sum(right * ops.log_softmax(logits, axis=1), axis=1))


# Proxies start as rows of unit norm. Kim et al. let them learn 100 times as fast as the network, at
# 1e-2; ten times our highest rates is that or more. The last layer of an ordinary classifier learns
# as fast as the rest. 64 and 0.5 are for thousands of faces in 512 numbers, where a cosine of
# cos(angle + 0.5) has to win against all; 16 and 0.3 ask for less, and were not tuned.
RECIPES = {
    "semi-hard, L2, margin 1": Recipe(semihard, note="tensorflow-addons' defaults"),
    "semi-hard, squared L2, margin 0.2": Recipe(
        partial(semihard, margin=0.2, metric="squared-L2"), note="as FaceNet"
    ),
    "semi-hard and softmax 0.2": Recipe(
        semihard_and_softmax, 1, note="the two together, temperature 0.05"
    ),
    "hard, margin 0.2": Recipe(hard, note="as Hermans et al."),
    "hard, soft margin": Recipe(hard_soft, note="the default here"),
    "hard, soft margin, mined batches": Recipe(
        hard_soft, mined=True, note="the default here from 128 items on"
    ),
    "hard, soft margin, distances x 5": Recipe(partial(hard_soft, scale=5.0)),
    "multi-similarity": Recipe(
        multi_similarity, note="alpha 2, beta 40, lambda 0.5, epsilon 0.1: the authors' code"
    ),
    "ArcFace 64, 0.5": Recipe(arcface, 1, note="scale and margin of the paper"),
    "ArcFace 16, 0.3": Recipe(partial(arcface, scale=16.0, margin=0.3), 1, note="gentler"),
    "sub-centre ArcFace 16, 0.3": Recipe(
        partial(arcface, scale=16.0, margin=0.3, each=3), 3, note="3 proxies an item: the paper's"
    ),
    "Proxy-Anchor": Recipe(proxy_anchor, 1, note="alpha 32, delta 0.1: the paper's"),
    "autoencoder, then hard, soft margin": Recipe(
        hard_soft, pretraining=0.3, note="0.3 of the time to reconstruct photos at a quarter size"
    ),
    "one softmax over all items": Recipe(softmax, 1, faster=1.0, unit=False),
}
