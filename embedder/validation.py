"""What training is judged by: right answers among a few candidates, on photos held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.sampling import Indices, evenly
from embedder.score_space import fit_score_space, unit, within_scatter

Floats = npt.NDArray[np.float32]

CANDIDATES = 10
DEFAULT_TEMPERATURE = 0.1

_HELD_OUT_SHARE = 0.1
_GALLERY_PHOTOS = 8  # enough for a centroid between epochs
_MOST_ITEMS = 500  # to judge by: of more, evenly chosen ones
_MOST_QUERIES = 2000
_FEWEST_TO_SHARE = 4  # an item with fewer photos gives none away


def hold_out(labels: Indices, seed: int) -> npt.NDArray[np.bool_]:
    """Which photos to keep out of training: about a tenth of each item's, at least one of four.

    Args:
        labels: int64 (photos,), the item of each photo.
        seed: decides which.

    Returns:
        bool (photos,), true for photos to validate with.
    """
    rng = np.random.default_rng([seed, 0])
    held = np.zeros(len(labels), dtype=bool)
    order = np.argsort(labels, kind="stable")
    for photos in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(photos) >= _FEWEST_TO_SHARE:
            count = max(1, round(len(photos) * _HELD_OUT_SHARE))
            held[rng.choice(photos, count, replace=False)] = True
    return held


def gallery_and_queries(labels: Indices, held: npt.NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Photos to make centroids of, a few of each item, and photos to ask about.

    Of a large catalogue, 500 items and 2,000 of their photos are judged by, evenly chosen among
    those with photos held out, so that this stays short beside an epoch.

    Args:
        labels: int64 (photos,), the item of each photo.
        held: bool (photos,), from `hold_out`.

    Returns:
        int64 (gallery,) and int64 (queries,), positions into `labels`. The same photos where none
        is held out, because every item has too few.
    """
    asked = np.unique(labels[held])
    others = np.setdiff1d(labels, asked)
    asked = asked[evenly(len(asked), _MOST_ITEMS)]
    others = others[evenly(len(others), _MOST_ITEMS - len(asked))]
    judged = np.isin(labels, np.concatenate([asked, others]))
    usable = np.flatnonzero(judged & ~held)
    order = usable[np.argsort(labels[usable], kind="stable")]
    ordered = labels[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    gallery = np.sort(order[place < _GALLERY_PHOTOS])
    queries = np.flatnonzero(judged & held) if held.any() else gallery
    return gallery, queries[evenly(len(queries), _MOST_QUERIES)]


def centroids(vectors: Floats, labels: Indices, items: int) -> Floats:
    """Unit-norm mean of each item's vectors: (photos, dim) -> (items, dim)."""
    sums = np.zeros((items, vectors.shape[1]))
    np.add.at(sums, labels, vectors)
    return unit(sums).astype(np.float32)


def rivals(vectors: Floats, truth: Indices, centres: Floats) -> Indices:
    """How many other items score at least as high as the right one, for each photo.

    Args:
        vectors: (photos, dim), unit norm.
        truth: (photos,), the right rows of `centres`.
        centres: (items, dim), unit norm.

    Returns:
        int64 (photos,); 0 where the photo is right among all items.
    """
    counts = []
    for start in range(0, len(vectors), 1024):
        scores = vectors[start : start + 1024] @ centres.T
        right = truth[start : start + 1024, None]
        counts.append((scores >= np.take_along_axis(scores, right, axis=1)).sum(axis=1) - 1)
    return np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64)


def candidate_accuracies(
    rival_counts: Indices, items: int, candidates: int = CANDIDATES
) -> npt.NDArray[np.float64]:
    """The chance of each photo to be right among `candidates` drawn at random with the right one.

    Exact, without drawing: with r rivals among the other M = items - 1, the right one of c wins
    with probability C(M - r, c - 1) / C(M, c - 1). Each photo is scored by itself.
    """
    others = items - 1
    wins = np.ones(len(rival_counts))
    for drawn in range(min(candidates, items) - 1):
        wins *= np.maximum(others - rival_counts - drawn, 0) / (others - drawn)
    return wins


def candidate_accuracy(rival_counts: Indices, items: int, candidates: int = CANDIDATES) -> float:
    """The mean of `candidate_accuracies`; not a number without photos."""
    wins = candidate_accuracies(rival_counts, items, candidates)
    return float(wins.mean()) if len(wins) else float("nan")


def accuracies(vectors: Floats, truth: Indices, centres: Floats) -> tuple[float, float]:
    """Shares of photos that are right among `CANDIDATES`, and among all items.

    Args:
        vectors: (photos, dim), unit norm.
        truth: (photos,), the right rows of `centres`.
        centres: (items, dim), unit norm.
    """
    counts = rivals(vectors, truth, centres)
    return candidate_accuracy(counts, len(centres)), float((counts == 0).mean())


@dataclass(frozen=True)
class Judgement:
    """How the held-out photos fare in one score space.

    Attributes:
        candidate_accuracy: right among `CANDIDATES`.
        top1: right among all items.
        temperature: the fitted one.
        log_loss: of the confidences with it.
    """

    candidate_accuracy: float
    top1: float
    temperature: float
    log_loss: float

    def better_than(self, other: Judgement) -> bool:
        """By candidate accuracy, then top-1, then log loss."""
        return self._key() > other._key()

    def _key(self) -> tuple[float, float, float]:
        return self.candidate_accuracy, self.top1, -self.log_loss


def judge(vectors: Floats, truth: Indices, centres: Floats, seed: int) -> Judgement:
    """Judge held-out photos against centroids; takes what `fit_temperature` takes."""
    return Judgement(
        *accuracies(vectors, truth, centres), *fit_temperature(vectors, truth, centres, seed)
    )


def judge_spaces(
    gallery: Floats, labels: Indices, queries: Floats, truth: Indices, items: int, seed: int
) -> tuple[Judgement, Judgement | None]:
    """Judge held-out photos by plain cosines, and by cosines of whitened vectors.

    Args:
        gallery: photos trained on (photos, dim): centroids and whitening are of these.
        labels: (photos,), their items.
        queries: photos held out (queries, dim).
        truth: (queries,), their items.
        items: how many there are.
        seed: decides the candidate sets that temperatures are fitted on.

    Returns:
        Plain and whitened; None for the latter where there are too few photos to whiten.
    """
    centres = centroids(gallery, labels, items)
    plain = judge(queries, truth, centres, seed)
    space = fit_score_space(*within_scatter(gallery, labels), centres)
    if space is None:
        return plain, None
    return plain, judge(space.project(queries), truth, space.project(centres), seed)


def fit_temperature(
    vectors: Floats, truth: Indices, centres: Floats, seed: int
) -> tuple[float, float]:
    """The temperature whose softmax over random candidate sets has the least log loss.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", with a grid instead of a gradient.
    The lowest value is 0.005: a few held-out photos, all right, would ask for total certainty.

    Args:
        vectors: held-out photos (photos, dim), unit norm.
        truth: (photos,), the right rows of `centres`.
        centres: (items, dim), unit norm.
        seed: decides the candidate sets.

    Returns:
        The temperature, and the log loss with it: nats a photo, not a number without photos.
    """
    if len(vectors) == 0 or len(centres) < 2:
        return DEFAULT_TEMPERATURE, float("nan")
    rng = np.random.default_rng([seed, 1])
    draws = max(1, 2000 // len(vectors))
    rows = np.tile(np.arange(len(vectors)), draws)
    others = min(CANDIDATES, len(centres)) - 1
    # With replacement: in a large catalogue the same rival is hardly ever drawn twice.
    drawn = rng.integers(len(centres) - 1, size=(len(rows), others))
    drawn += drawn >= truth[rows, None]
    sets = np.concatenate([truth[rows, None], drawn], axis=1)
    scores = np.einsum("qd,qcd->qc", vectors[rows], centres[sets])
    gaps = scores - scores[:, :1]
    grid = np.geomspace(0.005, 1.0, 80)
    losses = [np.log(np.exp(gaps / temperature).sum(axis=1)).mean() for temperature in grid]
    best = int(np.argmin(losses))
    return float(grid[best]), float(losses[best])
