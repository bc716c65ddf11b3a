"""Figures of sets of candidates: how many are right, and how right their confidences are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embedder.score_space import cosines
from index.assignment import best_assignment
from index.calibrating import fit_calibration
from index.calibration import Calibration, uncalibrated
from index.deciding import decide
from index.describing import MAX_ERROR
from index.measures import NOTHING, Figure, auroc_figure, calibration_figure, share_figure
from index.questions import Questions

Exact = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

SIZES = (2, 5, 10, 20, 50, 100, 200)
SHOWN_BY = 10  # candidates of the sets whose reliability is shown

_ANSWERS = 2000  # a size
_FEWEST_DRAWS = 20


@dataclass(frozen=True)
class SetFigures:
    """Of sets of candidates that are drawn at random.

    Accuracy is of photos that each show a candidate, one of each, where that is known. The others
    are of answers as `embed match` gives them, one to one, where in half of the sets half of the
    photos show no candidate, as far as there are other items; no numbers where the confidences of
    the index were fitted to the photos that are asked, and these are too few to do otherwise.

    Attributes:
        candidates: in each set.
        photos: in each set: one an item, of those that photos were asked of.
        independent: share right, each photo by itself.
        one_to_one: share right, all together.
        calibration_error: expected calibration error of the confidences.
        unknown_auroc: how often a photo that shows a candidate is held likelier to show one than
            a photo that does not; no number where the index is not calibrated.
        matched: share of the photos of candidates that are rightly called "matched".
        wrong: share of what is called "matched" that is not.
    """

    candidates: int
    photos: int
    independent: Figure
    one_to_one: Figure
    calibration_error: Figure
    unknown_auroc: Figure
    matched: Figure
    wrong: Figure


@dataclass(frozen=True)
class Answers:
    """Answers with the truth, one a photo and set.

    Attributes:
        item: int64 (answers,), the item of the photo, as a number of those asked.
        confidence: (answers,), of what was said.
        right: bool (answers,), whether it was.
        known: bool (answers,), whether the photo shows a candidate.
        likeness: (answers,), probability that it shows one.
        matched: bool (answers,), whether it was called "matched".
        mixed: bool (answers,), of a set where half of the photos show no candidate.
    """

    item: Indices
    confidence: Exact
    right: Flags
    known: Flags
    likeness: Exact
    matched: Flags
    mixed: Flags


def figures_of_sets(
    asked: Questions,
    calibration: Calibration | None,
    temperature: float,
    weights: Exact,
    item: Indices,
    on_progress: Callable[[int, int], None],
) -> tuple[tuple[SetFigures, ...], Answers | None]:
    """Figures for each size that there are items for, and the answers among 10 candidates.

    Args:
        asked: photos whose items are known.
        calibration: of the index, if it has one.
        temperature: of the index, for where it has none.
        weights: of the items of the photos, from `measures.resampled`.
        item: int64 (photos,), the item of each photo, a column of `weights`.
        on_progress: called with (sizes done, sizes in all).
    """
    folds = list(_folds(asked, calibration, temperature))
    found, shown = [], None
    sizes = [size for size in SIZES if size <= len(asked.ids)]
    for done, size in enumerate(sizes):
        on_progress(done, len(sizes))
        closed = list(_closed(asked, size, item))
        both = _answers(folds, size, item)
        shown = both if size == SHOWN_BY and folds else shown
        figures = _figures(size, closed, both, weights)
        found.append(figures if calibration else replace(figures, unknown_auroc=NOTHING))
    on_progress(len(sizes), len(sizes))
    return tuple(found), shown


def _figures(
    size: int, closed: list[tuple[Indices, Flags, Flags]], answers: Answers, weights: Exact
) -> SetFigures:
    of, alone, together = (np.concatenate(parts) for parts in zip(*closed, strict=True))
    item, known, sure = answers.item, answers.known, answers.matched
    mixed = answers.mixed
    return SetFigures(
        candidates=size,
        photos=len(closed[0][0]),
        independent=share_figure(alone, of, weights),
        one_to_one=share_figure(together, of, weights),
        calibration_error=calibration_figure(answers.confidence, answers.right, item, weights),
        unknown_auroc=auroc_figure(answers.likeness[mixed], known[mixed], item[mixed], weights),
        matched=share_figure((sure & answers.right)[known], item[known], weights),
        wrong=share_figure(~answers.right[sure], item[sure], weights),
    )


def _folds(
    asked: Questions, own: Calibration | None, temperature: float
) -> Iterator[tuple[Questions, Indices, Calibration]]:
    """Photos, their rows, and the calibration that their confidences are to be of."""
    every, items = np.arange(len(asked.photos)), np.unique(asked.item)
    if own is None or own.given or not asked.indexed.any():
        yield asked, every, own or uncalibrated(temperature)
        return
    # The index is calibrated to these photos. What was fitted to a photo says nothing about it.
    half = np.random.default_rng(0).permutation(items)[: len(items) // 2]
    first = np.isin(asked.item, half)
    for part, rest in ((first, ~first), (~first, first)):
        fitted = _fitted(asked.of(np.flatnonzero(rest)))
        if fitted is not None:
            yield asked.of(np.flatnonzero(part)), every[part], fitted


def _fitted(asked: Questions) -> Calibration | None:
    """A calibration to some photos, among their items and the background."""
    columns = np.union1d(np.flatnonzero(asked.behind), asked.item)
    scores = cosines(asked.vectors, asked.centroids[columns])
    truth = np.searchsorted(columns, asked.item)
    scores[np.arange(len(truth)), truth] = asked.own
    return fit_calibration(scores, truth, asked.behind[columns])


def _closed(asked: Questions, size: int, item: Indices) -> Iterator[tuple[Indices, Flags, Flags]]:
    """Of draws: items of the photos, and what is right by itself and one to one."""
    rng = np.random.default_rng([size, 0])
    for _ in range(_draws(asked, size)):
        photos, candidates = _draw(asked, size, False, rng)
        scores, _ = _scores(asked, photos, candidates)
        truth = np.arange(len(photos))
        # As `decide` does where each photo shows a candidate, without its probabilities.
        together = best_assignment(scores.astype(np.float64) - scores.min() + 1)
        yield item[photos], scores.argmax(axis=1) == truth, together == truth


def _answers(
    folds: list[tuple[Questions, Indices, Calibration]], size: int, item: Indices
) -> Answers:
    parts = []
    for number, (asked, rows, calibration) in enumerate(folds):
        rng = np.random.default_rng([size, 1, number])
        for draw in range(_draws(asked, size)):
            photos, candidates = _draw(asked, size, bool(draw % 2), rng)
            said = _said(asked, photos, candidates, calibration)
            mixed = np.full(len(photos), bool(draw % 2))
            parts.append((item[rows[photos]], *said, mixed))
    if not parts:
        nothing, none = np.zeros(0), np.zeros(0, np.bool_)
        return Answers(np.zeros(0, np.int64), nothing, none, none, nothing, none, none)
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _said(
    asked: Questions, photos: Indices, candidates: Indices, calibration: Calibration
) -> tuple[Exact, Flags, Flags, Exact, Flags]:
    """What `embed match` says of photos: the columns of `Answers` that hang on it."""
    scores, behind = _scores(asked, photos, candidates)
    ones = np.ones(len(photos), np.int64)
    pieces = np.ones(len(candidates), np.int64)
    decision = decide(scores, behind, ones, pieces, calibration)
    same = candidates == asked.item[photos][:, None]
    known = same.any(axis=1)
    truth = np.where(known, same.argmax(axis=1), -1)
    none = np.clip(1 - decision.shares.sum(axis=1), 0, 1)
    given = decision.chosen
    confidence = np.where(given < 0, none, decision.shares[np.arange(len(photos)), given])
    sure = (given >= 0) & (1 - confidence <= MAX_ERROR)
    return confidence, given == truth, known, 1 - none, sure


def _draws(asked: Questions, size: int) -> int:
    return max(_FEWEST_DRAWS, _ANSWERS // min(size, len(asked.photos_of)))


def _draw(
    asked: Questions, size: int, mixed: bool, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """One photo of each of some items, and candidates: first their items, as far as they are."""
    most = min(size, len(asked.photos_of))
    shown = max(1, most // 2) if mixed else most
    items = np.array(list(asked.photos_of))
    unknown = min(shown, len(items) - shown, len(asked.ids) - size) if mixed else 0
    drawn = rng.choice(items, shown + unknown, replace=False)
    # A few more than are missing, as some may be drawn already: there may be thousands.
    missing = size - shown
    some = rng.choice(len(asked.ids), min(len(asked.ids), missing + len(drawn)), replace=False)
    others = some[~np.isin(some, drawn)][:missing]
    photos = [rng.choice(asked.photos_of[item]) for item in drawn.tolist()]
    return np.array(photos, np.int64), np.concatenate([drawn[:shown], others])


def _scores(asked: Questions, photos: Indices, candidates: Indices) -> tuple[Floats, Floats]:
    """Of photos with candidates, and with those of the background that are none."""
    behind = np.flatnonzero(asked.behind)
    others = behind[~np.isin(behind, candidates)]
    columns = np.concatenate([candidates, others])
    scores = np.clip(cosines(asked.vectors[photos], asked.centroids[columns]), -1, 1)
    rows, places = np.nonzero(columns == asked.item[photos][:, None])
    scores[rows, places] = asked.own[photos[rows]]
    return scores[:, : len(candidates)], scores[:, len(candidates) :]
