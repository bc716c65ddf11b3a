"""Distances between all embeddings of a batch, as the losses and tensorflow-addons know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedder.backend import ops

DistanceMetric = str | Callable[[Any], Any]


_SHORT = 1e-12  # squared norm below which a vector has no direction


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
        norms = ops.sum(ops.square(embeddings), axis=1)
        # As in tensorflow-addons: short vectors are not blown up to unit norm, so that slopes stay
        # bounded, and a zero vector is at distance one from all, itself included.
        unit = embeddings * ops.rsqrt(ops.maximum(norms, _SHORT))[:, None]
        angular = ops.maximum(1.0 - ops.matmul(unit, ops.transpose(unit)), 0.0)
        own = ops.eye(ops.shape(angular)[0], dtype=angular.dtype)
        return angular * (1.0 - own * ops.cast(norms >= _SHORT, angular.dtype))
    if metric not in ("L2", "squared-L2"):
        raise ValueError(
            f"Expected distance_metric 'L2', 'squared-L2', 'angular' or callable, found {metric!r}"
        )
    norms = ops.sum(ops.square(embeddings), axis=1)
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    squared = ops.maximum(norms[:, None] - 2.0 * products + norms[None, :], 0.0)
    squared = off_diagonal(squared)
    if metric == "squared-L2":
        return squared
    # The slope of a square root is infinite at zero: take it at a safe place there instead.
    zero = ops.cast(ops.equal(squared, 0.0), squared.dtype)
    return ops.sqrt(squared + zero) * (1.0 - zero)


def off_diagonal(matrix: Any) -> Any:
    """The matrix (batch, batch) with zeros on its diagonal."""
    return matrix * (1.0 - ops.eye(ops.shape(matrix)[0], dtype=matrix.dtype))
