"""Losses on pairs, N-pairs and lifted structures; see `embedder.losses` for what is said of all."""

from __future__ import annotations

from typing import Any

from embedder.backend import keras, ops
from embedder.distances import off_diagonal, pairwise_distances
from embedder.distribution import refuse_fit_of_workers, refuse_replicas


def contrastive_loss(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Contrastive loss of each pair: `y d^2 + (1 - y) max(margin - d, 0)^2`.

    Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping".

    Args:
        y_true: 1 for pairs of one item, 0 for others; (batch,) or the shape of `y_pred`.
        y_pred: float distances between the pairs' embeddings, (batch,) or (batch, 1).
        margin: distance beyond which pairs of two items cost nothing.

    Returns:
        The losses in the shape and dtype of `y_pred`.
    """
    distances = ops.convert_to_tensor(y_pred)
    same = ops.cast(y_true, distances.dtype)
    apart = ops.square(ops.maximum(margin - distances, 0.0))
    return same * ops.square(distances) + (1.0 - same) * apart


def npairs_loss(y_true: Any, y_pred: Any) -> Any:
    """N-pairs loss, a scalar: softmax cross entropy over each anchor's row of similarities.

    Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective". The target
    of a row is shared evenly by all columns with its label.

    Args:
        y_true: integer labels (batch,) or (batch, 1).
        y_pred: float similarities of anchors (rows) to positives (columns), (batch, batch).
    """
    labels = ops.reshape(y_true, (-1,))
    similarities = ops.convert_to_tensor(y_pred)
    same = ops.cast(ops.equal(labels[:, None], labels[None, :]), similarities.dtype)
    target = same / ops.sum(same, axis=1, keepdims=True)
    return ops.mean(-ops.sum(target * ops.log_softmax(similarities, axis=1), axis=1))


def lifted_struct_loss(labels: Any, embeddings: Any, margin: float = 1.0) -> Any:
    """Lifted structured loss, a scalar: each positive pair against all negatives of both.

    Song et al. 2016, "Deep Metric Learning via Lifted Structured Feature Embedding", with L2
    distances. A pair without any negative costs nothing, and a batch without a pair is 0;
    tensorflow-addons gives NaN there. No array has more than batch x batch entries.

    Args:
        labels: integers (batch,) or (batch, 1).
        embeddings: float (batch, dim); not scaled to unit norm.
        margin: distance beyond which negatives hardly count.
    """
    given = ops.convert_to_tensor(embeddings)
    y = ops.reshape(labels, (-1,))
    distances = pairwise_distances(ops.cast(given, "float32"))
    same = ops.cast(ops.equal(y[:, None], y[None, :]), distances.dtype)
    closeness = margin - distances
    highest = ops.stop_gradient(ops.max(closeness, axis=1, keepdims=True))
    sums = ops.sum(ops.exp(closeness - highest) * (1.0 - same), axis=1, keepdims=True)
    has_negatives = ops.cast(sums > 0.0, distances.dtype)
    row = ops.log(sums + (1.0 - has_negatives)) + highest
    pair = ops.logaddexp(row, ops.transpose(row))
    positives = off_diagonal(same) * has_negatives
    costs = ops.square(ops.maximum((pair + distances) * positives, 0.0))
    pairs = ops.sum(off_diagonal(same))
    loss = 0.5 * ops.sum(costs) / ops.maximum(pairs, 1.0)
    return ops.cast(loss, given.dtype)


@keras.saving.register_keras_serializable(package="embedder")
class ContrastiveLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras publishes no types
    """`contrastive_loss` for `model.compile(loss=...)`, reduced over the batch as Keras does."""

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "contrastive_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each pair; see `contrastive_loss`."""
        return contrastive_loss(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for a round trip through `from_config`."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="embedder")
class NpairsLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras publishes no types
    """`npairs_loss` for `model.compile(loss=...)`."""

    def __init__(self, name: str | None = "npairs_loss", **kwargs: Any) -> None:
        refuse_fit_of_workers()
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch; see `npairs_loss`."""
        refuse_replicas()
        return npairs_loss(y_true, y_pred)


@keras.saving.register_keras_serializable(package="embedder")
class LiftedStructLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras publishes no types
    """`lifted_struct_loss` for `model.compile(loss=...)`."""

    def __init__(
        self, margin: float = 1.0, name: str | None = "lifted_struct_loss", **kwargs: Any
    ) -> None:
        refuse_fit_of_workers()
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch; see `lifted_struct_loss`."""
        refuse_replicas()
        return lifted_struct_loss(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for a round trip through `from_config`."""
        return {**super().get_config(), "margin": self.margin}
