"""Fitting a `Calibration`: to photos whose item is known, among candidates drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embedder.labelled_vectors import LabelledVectors
from embedder.sampling import evenly
from embedder.score_space import unit
from index.calibration import LOWEST_TEMPERATURE, Calibration, Scores, bent, log_mean_exp
from index.rows import Row
from index.stores import AnyStore
from index.whitening import read_score_space

Exact = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SIZES = (2, 10, 50, 200)
FEWEST_PHOTOS = 20
MOST_BACKGROUND = 256

_QUESTIONS, _KINDS = 2000, 8
_VIEWS, _VIEWS_AMONG = 3, 10
_FEWEST_OF_ITEM = 4  # photos: an item with fewer says little without one of them
_LEAST_EVIDENCE = 0.1
_STARTS = ((15.0, 0.0, 0.0, 0.0, 1.0), (15.0, 0.0, -10.0, 8.0, 1.0))


def background(store: AnyStore) -> LabelledVectors:
    """A sample of the items of an index, the same for the same items.

    Raises:
        IndexFileError: a row is damaged.
    """
    ids = sample_ids(store, MOST_BACKGROUND)
    vectors, unknown = store.centroids(ids)
    if unknown:
        raise store.damaged_ids()
    return LabelledVectors(vectors, tuple(ids))


def sample_ids(store: AnyStore, most: int) -> list[str]:
    """At most so many of the ids of an index, evenly spread.

    Raises:
        IndexFileError: an id is damaged.
    """
    wanted = set(evenly(len(store), most).tolist())
    return [item_id for at, item_id in enumerate(store.ids()) if at in wanted]


def calibrate(
    store: AnyStore, photos: LabelledVectors, others: LabelledVectors, given: bool
) -> Calibration | None:
    """Fit a calibration for an index.

    Args:
        store: an index with its score space.
        photos: vectors of photos and their items; items that the index does not have are left out.
        others: its background.
        given: whether they are other photos than those of the index. If not, each is taken out of
            its item's centroid before it is compared with it.

    Returns:
        None where there are too few photos or items.

    Raises:
        IndexFileError: a row or the score space is damaged.
    """
    ids = sorted({*others.items, *photos.items})
    found = store.statistics(ids)
    columns = {item: at for at, item in enumerate(found)}
    least = 1 if given else _FEWEST_OF_ITEM
    usable = [
        at for at, item in enumerate(photos.items) if item in found and found[item].photos >= least
    ]
    if not usable:
        return None
    items = [photos.items[at] for at in usable]
    vectors, truth = photos.vectors[usable], np.array([columns[item] for item in items])
    space = read_score_space(store)
    project = space.project if space is not None else lambda rows: rows
    asked = project(vectors)
    scores = asked @ project(np.array([row.vector() for row in found.values()])).T
    if not given:
        own = [without(vector, found[item]) for vector, item in zip(vectors, items, strict=True)]
        scores[np.arange(len(truth)), truth] = (asked * project(np.array(own))).sum(axis=1)
    behind = np.isin(np.arange(len(found)), [columns[item] for item in others.items])
    fitted = fit_calibration(scores, truth, behind)
    return fitted and replace(fitted, given=given)


def without(vector: npt.NDArray[np.float32], row: Row) -> npt.NDArray[np.float32]:
    """The centroid (dim,) of an item without one of its photos, of which `vector` is one."""
    # Vectors have unit norm, so the squared length of their mean is 1 less the dispersion.
    total = row.vector() * (row.photos * np.sqrt(max(0.0, 1.0 - row.dispersion)))
    without: npt.NDArray[np.float32] = unit(total - vector).astype(np.float32)
    return without


def fit_calibration(
    scores: Scores, truth: Indices, behind: Mask, seed: int = 0
) -> Calibration | None:
    """Fit temperature and background for sets of 2, 10, 50 and 200 candidates.

    Half of the questions have the right item among the candidates, the others have not; in an
    eighth of all it is not in the catalogue either.

    Args:
        scores: (photos, items), the score of each photo for each item of a sample; of its own
            item as if the photo were not in the index.
        truth: int64 (photos,), the right columns.
        behind: bool (items,), which items are the background.
        seed: decides what is drawn.

    Returns:
        None where there are fewer than 20 photos or three items: too few to say anything.
    """
    photos, items = scores.shape
    if photos < FEWEST_PHOTOS or items < SIZES[0] + 1:
        return None
    rng = np.random.default_rng(seed)
    sizes = [size for size in SIZES if size < items]
    fits = [_fit(_questions(scores, truth, behind, size, rng), photos) for size in sizes]
    slopes, bends, offsets, outside, evidence = (
        tuple(numbers) for numbers in zip(*fits, strict=True)
    )
    return Calibration(
        tuple(sizes),
        tuple(1 / slope for slope in slopes),
        bends,
        offsets,
        outside,
        evidence,
        _worth_of_views(scores, truth, behind, rng),
        photos,
    )


@dataclass(frozen=True)
class _Questions:
    """Scores (questions, candidates), the right one first where `known`, and of the background."""

    scores: Exact
    known: Mask
    background: Exact
    counted: Mask


def _questions(
    scores: Scores, truth: Indices, behind: Mask, size: int, rng: np.random.Generator
) -> _Questions:
    photos, items = scores.shape
    asked = _as_often_each(truth, min(_QUESTIONS, 8 * photos), rng)
    kind = rng.permutation(len(asked)) % _KINDS
    drawn = np.stack([rng.choice(items - 1, size, replace=False) for _ in asked])
    drawn += drawn >= truth[asked, None]
    known = kind < _KINDS // 2
    drawn[known, 0] = truth[asked[known]]
    counted = np.tile(behind, (len(asked), 1))
    np.put_along_axis(counted, drawn, False, axis=1)
    outside = kind == _KINDS - 1
    counted[outside, truth[asked[outside]]] = False
    exact = scores[asked].astype(np.float64)
    chosen = np.take_along_axis(exact, drawn, axis=1)
    return _Questions(chosen, known, exact[:, behind], counted[:, behind])


def _as_often_each(truth: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Photos to ask about, each item as often as another: that is how they will be asked about."""
    order = np.lexsort((rng.random(len(truth)), truth))
    starts = np.flatnonzero(np.diff(truth[order], prepend=-1))
    counts = np.diff(starts, append=len(truth))
    item = np.concatenate([rng.permutation(len(starts)) for _ in range(-(-count // len(starts)))])[
        :count
    ]
    turn = np.arange(count) // len(starts)
    chosen: Indices = order[starts[item] + turn % counts[item]]
    return chosen


def _fit(questions: _Questions, photos: int) -> tuple[float, ...]:
    """Slope, bend, background, outside and evidence with the least log loss.

    A right answer counts as right with probability `(photos + 1) / (photos + 2)`, as in Platt 1999,
    "Probabilistic outputs for support vector machines": photos that are all right would ask for
    total certainty otherwise.
    """
    from scipy.optimize import minimize

    steepest = 1 / LOWEST_TEMPERATURE
    bounds = [
        (1.0, steepest),
        (0.0, steepest),
        (-20.0, 20.0),
        (-50.0, 2 * steepest),
        (_LEAST_EVIDENCE, 1.0),
    ]
    found = min(
        (
            minimize(_loss, start, (questions, photos), "L-BFGS-B", jac=True, bounds=bounds)
            for start in _STARTS
        ),
        key=lambda result: float(result.fun),
    )
    return tuple(found.x.tolist())


def _loss(parameters: Exact, questions: _Questions, photos: int) -> tuple[float, Exact]:
    """Log loss a question, in nats, and its gradient."""
    slope, bend, offset, outside, evidence = parameters
    scores, background, counted = questions.scores, questions.background, questions.counted
    count, size = scores.shape
    near, likelihoods = bent(background, slope, bend), bent(scores, slope, bend)
    likeness = log_mean_exp(near, counted) if background.shape[1] else np.full(count, -np.inf)
    none = np.logaddexp(offset + likeness, outside)
    some = log_mean_exp(likelihoods, np.ones(scores.shape, dtype=np.bool_))
    held = evidence * none + (1 - evidence) * some
    logits = np.concatenate([held[:, None], likelihoods - np.log(size)], axis=1)
    logs = logits - np.logaddexp(held, some)[:, None]
    wanted = np.full(logits.shape, 1 / (photos + 2) / size)
    wanted[np.arange(count), np.where(questions.known, 1, 0)] = (photos + 1) / (photos + 2)
    slopes = np.exp(logs) - wanted
    from_none = slopes[:, 0]
    from_some = (1 - evidence) * from_none[:, None] * np.exp(logits[:, 1:] - some[:, None])
    from_candidates = slopes[:, 1:] + from_some
    from_background = evidence * from_none * np.exp(offset + likeness - none)
    weights = np.exp(np.where(counted, near - likeness[:, None], -np.inf))
    weights *= from_background[:, None] / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    by_slope = (from_candidates * scores).sum() + (weights * background).sum()
    squares = np.maximum(scores, 0.0) ** 2, np.maximum(background, 0.0) ** 2
    by_bend = (from_candidates * squares[0]).sum() + (weights * squares[1]).sum()
    by_offset = from_background.sum()
    by_outside = evidence * from_none.sum() - by_offset
    by_evidence = (from_none * (none - some)).sum()
    gradient = np.array([by_slope, by_bend, by_offset, by_outside, by_evidence]) / count
    return float(-(wanted * logs).sum() / count), gradient


def _worth_of_views(
    scores: Scores, truth: Indices, behind: Mask, rng: np.random.Generator
) -> float:
    """How fast several photos of one object become sure, from threes of photos of one item."""
    items, counts = np.unique(truth, return_counts=True)
    items = items[counts >= _VIEWS]
    if len(items) < 2 or scores.shape[1] <= _VIEWS_AMONG:
        return Calibration.views
    groups = rng.choice(items, 300)
    rows = [rng.choice(np.flatnonzero(truth == item), _VIEWS, replace=False) for item in groups]
    pooled = scores[np.array(rows)].mean(axis=1)
    steepness = []
    for rows_of, items_of in ((pooled, groups), (scores, truth)):
        questions = _questions(rows_of, items_of, behind, _VIEWS_AMONG, rng)
        slope, bend, *_ = _fit(questions, len(rows_of))
        typical = float(np.maximum(questions.scores[questions.known, 0], 0.0).mean())
        steepness.append(slope + 2 * bend * typical)
    return float(np.clip(np.log(steepness[0] / steepness[1]) / np.log(_VIEWS), 0, 1))
