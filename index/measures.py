"""How right answers are: calibration error, AUROC, mAP@R, and how sure one can be of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

BINS = 15
RESAMPLES = 1000
_LEVEL = (2.5, 97.5)  # per cent: an interval of 95 %
_QUERIES_AT_ONCE = 512


class Figure(NamedTuple):
    """A figure and how far it can be relied on.

    Attributes:
        value: of the photos that were asked; not a number where there were none.
        low: where its interval of 95 % begins, by bootstrap over items.
        high: where that ends.
    """

    value: float
    low: float
    high: float


NOTHING = Figure(np.nan, np.nan, np.nan)


def resampled(items: int, seed: int = 0) -> Exact:
    """How often each item is in each of `RESAMPLES` samples of as many items: (samples, items).

    Photos of one item are right or wrong together, so items are resampled and not photos: the
    cluster bootstrap (Davison and Hinkley 1997, "Bootstrap methods and their application", 3.8).
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), RESAMPLES).astype(np.float64)


def mean_figure(values: Floats | Flags, item: Indices, weights: Exact) -> Figure:
    """A mean over photos, and its interval.

    Args:
        values: (photos,), as 1 for right and 0 for wrong.
        item: (photos,), the item of each, a column of `weights`.
        weights: from `resampled`.
    """
    if not len(values):
        return NOTHING
    sums = np.bincount(item, values, weights.shape[1])
    counts = np.bincount(item, minlength=weights.shape[1])
    drawn = weights @ counts
    means = (weights @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(means, _LEVEL)
    return Figure(float(np.mean(values)), float(low), float(high))


def share_figure(right: Flags, item: Indices, weights: Exact) -> Figure:
    """`mean_figure` of what is right or wrong.

    Where all is right, or all wrong, samples say nothing: the interval is that of Clopper and
    Pearson 1934, "The use of confidence or fiducial limits", as if each item had been tried once.
    """
    figure = mean_figure(right, item, weights)
    if figure.value not in (0.0, 1.0):
        return figure
    beyond = 1 - (_LEVEL[0] / 100) ** (1 / len(np.unique(item)))
    return Figure(1.0, 1 - beyond, 1.0) if figure.value else Figure(0.0, 0.0, beyond)


def calibration_figure(confidence: Floats, right: Flags, item: Indices, weights: Exact) -> Figure:
    """The expected calibration error, and its interval.

    Chance adds to the error of a sample, and again to that of a sample of it, so the interval is
    the basic one, which takes that off again (Davison and Hinkley 1997, 5.2).

    Args:
        confidence: (answers,).
        right: bool (answers,).
        item: (answers,), a column of `weights`.
        weights: from `resampled`.
    """
    if not len(confidence):
        return NOTHING
    value = expected_calibration_error(confidence, right)
    gaps = np.zeros((weights.shape[1], BINS))
    np.add.at(gaps, (item, _bin(confidence, BINS)), confidence - right)
    counts = weights @ np.bincount(item, minlength=weights.shape[1])
    errors = np.abs(weights @ gaps).sum(axis=1)[counts > 0] / counts[counts > 0]
    low, high = np.percentile(errors, _LEVEL)
    # By chance it can lie to one side of the error itself.
    lowest, highest = min(value, 2 * value - high), max(value, 2 * value - low)
    return Figure(value, max(0.0, float(lowest)), float(highest))


def auroc_figure(score: Floats, positive: Flags, item: Indices, weights: Exact) -> Figure:
    """The area under the ROC curve, and its interval; takes what `auroc` and the others take."""
    value = auroc(score, positive)
    if np.isnan(value):
        return NOTHING
    ranks = np.unique(score, return_inverse=True)[1]  # once: sorting is most of the work
    areas = [_area(ranks, positive, row[item]) for row in weights]
    low, high = np.nanpercentile(areas, _LEVEL)
    return Figure(value, float(low), float(high))


def bins(confidence: Floats, right: Flags, count: int = BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and number of answers of each bin that has any."""
    which = _bin(confidence, count)
    return [
        (float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (which == number for number in range(count))
        if inside.any()
    ]


def expected_calibration_error(confidence: Floats, right: Flags) -> float:
    """Guo et al. 2017, with 15 bins of equal width: the mean of |confidence - share right|."""
    return sum(abs(mean - share) * count for mean, share, count in bins(confidence, right)) / len(
        right
    )


def _bin(confidence: Floats, count: int) -> Indices:
    return np.minimum((confidence * count).astype(np.int64), count - 1)


def auroc(score: Floats, positive: Flags) -> float:
    """How often a positive scores higher than a negative; ties count half.

    Args:
        score: (answers,).
        positive: bool (answers,).

    Returns:
        Not a number unless there are both.
    """
    return _area(np.unique(score, return_inverse=True)[1], positive, np.ones(len(score)))


def _area(ranks: Indices, positive: Flags, counted: Exact) -> float:
    """Of answers by the rank of their score, each counted so many times."""
    negatives = np.bincount(ranks, counted * ~positive)
    positives = np.bincount(ranks, counted * positive)
    pairs = negatives.sum() * positives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / pairs) if pairs else float("nan")


def average_precisions_at_r(vectors: Floats, item: Indices) -> tuple[Exact, Indices]:
    """Of each photo among all others: the average precision of the first R, its item having R more.

    The mean is mAP@R (Musgrave, Belongie and Lim 2020, "A metric learning reality check").

    Args:
        vectors: (photos, dim), of unit norm.
        item: (photos,).

    Returns:
        float64 (queries,) and which photos they are, int64 (queries,): a photo without another of
        its item says nothing.
    """
    counts = np.bincount(item)[item] - 1
    queries = np.flatnonzero(counts > 0)
    if not len(queries):
        return np.zeros(0), queries
    most = int(counts.max())
    found = np.zeros(len(queries))
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = queries[start : start + _QUERIES_AT_ONCE]
        scores = vectors[rows] @ vectors.T
        scores[np.arange(len(rows)), rows] = -np.inf
        near = np.argpartition(scores, -most, axis=1)[:, -most:]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)
        places = np.arange(1, most + 1)
        relevant = (item[near] == item[rows, None]) & (places <= counts[rows, None])
        precision = np.cumsum(relevant, axis=1) / places
        found[start : start + len(rows)] = (precision * relevant).sum(axis=1) / counts[rows]
    return found, queries
