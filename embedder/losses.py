"""Triplet losses on P x K batches, in `keras.ops`.

Names, arguments and values follow tensorflow-addons 0.23, which was archived in 2024: a pure
function of labels (batch,) and embeddings (batch, dim), and a thin serialisable class around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedder.backend import keras, ops

DistanceMetric = str | Callable[[Any], Any]


def pairwise_distances(embeddings: Any, metric: DistanceMetric = "L2") -> Any:
    """Distances between all rows: float32 (batch, dim) -> (batch, batch), zero on the diagonal.

    Args:
        embeddings: float tensor (batch, dim).
        metric: "L2", "squared-L2", "angular" (1 - cosine), or a function of the embeddings.

    Raises:
        ValueError: the metric is not one of these.
    """
    if callable(metric):
        return metric(embeddings)
    if metric == "angular":
        unit = ops.normalize(embeddings, axis=1)
        return _off_diagonal(ops.maximum(1.0 - ops.matmul(unit, ops.transpose(unit)), 0.0))
    if metric not in ("L2", "squared-L2"):
        raise ValueError(
            f"Expected distance_metric 'L2', 'squared-L2', 'angular' or callable, found {metric!r}"
        )
    norms = ops.sum(ops.square(embeddings), axis=1)
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    squared = ops.maximum(norms[:, None] - 2.0 * products + norms[None, :], 0.0)
    squared = _off_diagonal(squared)
    if metric == "squared-L2":
        return squared
    # The slope of a square root is infinite at zero: take it at a safe place there instead.
    zero = ops.cast(ops.equal(squared, 0.0), squared.dtype)
    return ops.sqrt(squared + zero) * (1.0 - zero)


def _off_diagonal(matrix: Any) -> Any:
    return matrix * (1.0 - ops.eye(ops.shape(matrix)[0], dtype=matrix.dtype))


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
    hardest_positive = ops.max((distances - lowest) * _off_diagonal(same), axis=1) + lowest[:, 0]
    highest = ops.max(distances, axis=1, keepdims=True)
    hardest_negative = ops.min((distances - highest) * (1.0 - same), axis=1) + highest[:, 0]
    difference = hardest_positive - hardest_negative
    if soft:
        return ops.mean(ops.softplus(difference))
    return ops.mean(ops.maximum(difference + margin, 0.0))


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
        super().__init__(name=name, **kwargs)
        self.margin = margin
        self.soft = soft
        self.distance_metric = distance_metric

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch; see `triplet_hard_loss`."""
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for a round trip through `from_config`."""
        own = {"margin": self.margin, "soft": self.soft, "distance_metric": self.distance_metric}
        return {**super().get_config(), **own}
