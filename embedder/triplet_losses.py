"""Triplet losses on P x K batches; see `embedder.losses` for what is said of all losses."""

from __future__ import annotations

from typing import Any

from embedder.backend import keras, ops
from embedder.distances import DistanceMetric, off_diagonal, pairwise_distances
from embedder.distribution import refuse_fit_of_workers, refuse_replicas


def triplet_semihard_loss(
    y_true: Any, y_pred: Any, margin: float = 1.0, distance_metric: DistanceMetric = "L2"
) -> Any:
    """Semi-hard triplet loss, a scalar: each positive pair with the nearest negative beyond it.

    `max(positive - negative + margin, 0)`, averaged over all positive pairs (Schroff et al. 2015,
    "FaceNet"). Where no negative is farther than the positive, the farthest negative counts. Where
    tensorflow-addons divides by zero, because no two labels are equal, the loss is 0.

    No array has more than batch x batch entries; the time grows with the photos of the item that
    has most.

    Args:
        y_true: integer labels (batch,) or (batch, 1).
        y_pred: float embeddings (batch, dim), usually of unit norm.
        margin: distance by which a negative should be farther than a positive.
        distance_metric: see `pairwise_distances`.
    """
    labels = ops.reshape(y_true, (-1,))
    distances = pairwise_distances(ops.cast(y_pred, "float32"), distance_metric)
    fixed = ops.stop_gradient(distances)
    active, negatives = _mine_semihard(labels, fixed, margin)
    # The mined pairs enter as constant weights, so the slope needs no walk back through the mining.
    sums = ops.sum(active * (distances + margin)) - ops.sum(negatives * distances)
    same = ops.cast(ops.equal(labels[:, None], labels[None, :]), "float32")
    pairs = ops.sum(same) - ops.cast(ops.shape(labels)[0], "float32")
    return _as_given(sums / ops.maximum(pairs, 1.0), y_pred)


def _mine_semihard(labels: Any, distances: Any, margin: float) -> tuple[Any, Any]:
    """Weights (batch, batch) of the positives that cost something, and of their negatives.

    One round for each photo that an item can have besides the anchor: the k-th positive of every
    anchor at once. Negatives at the same distance share their positive's weight as they do in
    tensorflow-addons, also where the negative is its row's extreme (`_split`).
    """
    order = ops.argsort(labels)
    ordered = ops.take(labels, order)
    first = ops.searchsorted(ordered, labels, side="left")
    after = ops.searchsorted(ordered, labels, side="right")
    infinite = ops.cast(float("inf"), distances.dtype)
    same = ops.equal(labels[:, None], labels[None, :])
    negatives = ops.where(same, infinite, distances)
    farthest = ops.max(ops.where(same, -infinite, distances), axis=1, keepdims=True)
    # Without any negative tensorflow-addons takes the row's least distance.
    lonely = ops.logical_not(ops.isfinite(farthest))
    lowest = ops.min(distances, axis=1, keepdims=True)
    fallback = ops.where(lonely, lowest, farthest)
    fallback_ties = _split(ops.equal(negatives, fallback), distances, fallback, lowest)
    highest = ops.max(distances, axis=1, keepdims=True)
    at_highest = _split(ops.equal(negatives, highest), distances, highest, highest)
    numbers = ops.arange(ops.shape(labels)[0], dtype=first.dtype)[:, None]

    def mine(k: Any, active: Any, weights: Any) -> tuple[Any, Any, Any]:
        place = ops.minimum(first + k, after - 1)
        position = ops.cast(ops.take(order, place), first.dtype)[:, None]
        positive = ops.take_along_axis(distances, position, axis=1)
        beyond = ops.where(negatives > positive, negatives, infinite)
        nearest = ops.min(beyond, axis=1, keepdims=True)
        outside = ops.isfinite(nearest)
        cost = positive + margin - ops.where(outside, nearest, fallback)
        exists = ((first + k) < after)[:, None] & ops.not_equal(position, numbers)
        counts = ops.cast(exists & (cost >= 0.0), distances.dtype)
        ties = ops.where(nearest < highest, _share(ops.equal(beyond, nearest)), at_highest)
        ties = ops.where(outside, ties, fallback_ties)
        chosen = ops.cast(ops.equal(numbers[:, 0][None, :], position), distances.dtype)
        return k + 1, active + counts * chosen, weights + counts * ties

    rounds = ops.max(after - first)
    zeros = ops.zeros_like(distances)
    start = (ops.zeros_like(rounds), zeros, zeros)
    _, active, weights = ops.while_loop(lambda k, *_: k < rounds, mine, start)
    return ops.stop_gradient(active), ops.stop_gradient(weights)


def _share(ties: Any) -> Any:
    weights = ops.cast(ties, "float32")
    return weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)


def _split(tied: Any, distances: Any, found: Any, extreme: Any) -> Any:
    """How the slope of a masked extreme is shared among its row (batch, batch).

    tensorflow-addons masks by multiplying the distance to the row's opposite extreme with zero. So
    where what it finds is that very extreme, the whole row ties at zero: each tied negative gets
    one part in the size of the batch, and what is left goes to all that are at the extreme.
    """
    weights = ops.cast(tied, "float32")
    each = weights / ops.cast(ops.shape(distances)[0], "float32")
    left = 1.0 - ops.sum(each, axis=1, keepdims=True)
    at_extreme = each + left * _share(ops.equal(distances, extreme))
    return ops.where(ops.equal(found, extreme), at_extreme, _share(tied))


def _as_given(loss: Any, y_pred: Any) -> Any:
    """The loss in the precision of the embeddings."""
    return ops.cast(loss, ops.convert_to_tensor(y_pred).dtype)


def triplet_hard_loss(
    y_true: Any,
    y_pred: Any,
    margin: float = 1.0,
    soft: bool = False,
    distance_metric: DistanceMetric = "L2",
) -> Any:
    """Batch-hard triplet loss, a scalar: each anchor with its farthest positive, nearest negative.

    `max(positive - negative + margin, 0)`, or `log(1 + exp(positive - negative))` if `soft`,
    averaged over the batch (Hermans et al. 2017, "In Defense of the Triplet Loss"). As in
    tensorflow-addons, an anchor without a positive counts with a positive at distance 0.

    Args:
        y_true: integer labels (batch,) or (batch, 1).
        y_pred: float embeddings (batch, dim), usually of unit norm.
        margin: distance by which a negative should be farther than a positive.
        soft: use the soft margin, which has no margin to choose.
        distance_metric: see `pairwise_distances`.
    """
    labels = ops.reshape(y_true, (-1,))
    embeddings = ops.cast(y_pred, "float32")
    distances = pairwise_distances(embeddings, distance_metric)
    same = ops.cast(ops.equal(labels[:, None], labels[None, :]), distances.dtype)
    # Shifted by the row's extremes, so that what is masked to zero never wins, whatever the scale.
    lowest = ops.min(distances, axis=1, keepdims=True)
    hardest_positive = ops.max((distances - lowest) * off_diagonal(same), axis=1) + lowest[:, 0]
    highest = ops.max(distances, axis=1, keepdims=True)
    hardest_negative = ops.min((distances - highest) * (1.0 - same), axis=1) + highest[:, 0]
    difference = hardest_positive - hardest_negative
    if soft:
        loss = ops.mean(ops.softplus(difference))
    else:
        loss = ops.mean(ops.maximum(difference + margin, 0.0))
    return _as_given(loss, y_pred)


@keras.saving.register_keras_serializable(package="embedder")
class TripletSemiHardLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras publishes no types
    """`triplet_semihard_loss` for `model.compile(loss=...)`."""

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: DistanceMetric = "L2",
        name: str | None = "triplet_semihard_loss",
        **kwargs: Any,
    ) -> None:
        refuse_fit_of_workers()
        super().__init__(name=name, **kwargs)
        self.margin = margin
        self.distance_metric = distance_metric

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch; see `triplet_semihard_loss`."""
        refuse_replicas()
        return triplet_semihard_loss(y_true, y_pred, self.margin, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for a round trip through `from_config`."""
        own = {"margin": self.margin, "distance_metric": self.distance_metric}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="embedder")
class TripletHardLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras publishes no types
    """`triplet_hard_loss` for `model.compile(loss=...)`."""

    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        distance_metric: DistanceMetric = "L2",
        name: str | None = "triplet_hard_loss",
        **kwargs: Any,
    ) -> None:
        refuse_fit_of_workers()
        super().__init__(name=name, **kwargs)
        self.margin = margin
        self.soft = soft
        self.distance_metric = distance_metric

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch; see `triplet_hard_loss`."""
        refuse_replicas()
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for a round trip through `from_config`."""
        own = {"margin": self.margin, "soft": self.soft, "distance_metric": self.distance_metric}
        return {**super().get_config(), **own}
