"""How well an index tells the items of photos whose items are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue
from embedder.errors import PhotoError
from embedder.inference import Embedder
from embedder.score_space import cosines, projected
from embedder.validation import CANDIDATES, candidate_accuracies
from index.calibration import Calibration, read_calibration
from index.confidences import SetFigures, figures_of_sets
from index.measures import (
    Figure,
    average_precisions_at_r,
    bins,
    mean_figure,
    resampled,
    share_figure,
)
from index.photo_vectors import photo_vectors
from index.questions import Kinds, Questions, questions
from index.stores import AnyStore
from index.whitening import read_score_space

Exact = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RECALLS = (1, 5, 10)
_MOST_SCORES = 20_000_000  # at once
_MOST_PAIRS = 50


@dataclass(frozen=True)
class ItemFigures:
    """How the photos of one item fared.

    Attributes:
        item_id: its id.
        photos: how many were asked.
        recall_at_1: share of them that is nearest to it among all items.
        candidate_accuracy: expected share that is, among 10 candidates drawn at random.
        taken_for: the item that most of the others are nearest to; None if all are right.
    """

    item_id: str
    photos: int
    recall_at_1: float
    candidate_accuracy: float
    taken_for: str | None


@dataclass(frozen=True)
class Confusion:
    """Photos of an item that are nearer to another one.

    Attributes:
        item_id: what they show.
        taken_for: what they are nearest to among all items.
        photos: how many there are.
        asked: photos of the item that were asked.
        photo: the path of the worst.
    """

    item_id: str
    taken_for: str
    photos: int
    asked: int
    photo: str


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; shares are from 0 to 1.

    Attributes:
        kinds: what photos there were, and which were asked.
        items: of the photos that were asked.
        index_items: in the index.
        unreadable: photos that could not be read.
        calibrated: what the confidences of the index are fitted to: "held out" photos of training,
            photos that were "given" to `embed calibrate`, which may be these, or "not" at all.
        recall: share of photos whose item is among the k nearest of all items, by k.
        mean_average_precision: mAP@R of the photos that were asked, each among the others.
        sets: figures of sets of candidates, by their size.
        reliability: mean confidence, share right and answers, in bins; of sets of 10 candidates.
        by_item: the worst first.
        confusions: the most frequent first.
    """

    kinds: Kinds
    items: int
    index_items: int
    unreadable: tuple[PhotoError, ...]
    calibrated: Literal["held out", "given", "not"]
    recall: dict[int, Figure]
    mean_average_precision: Figure
    sets: tuple[SetFigures, ...]
    reliability: tuple[tuple[float, float, int], ...]
    by_item: tuple[ItemFigures, ...]
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class _Ranks:
    """Rivals of each photo: other items that score at least as high as its own, and the best."""

    rivals: Indices
    best: list[str]
    lead: Exact  # of the best over its own


def evaluate(
    catalogue: Catalogue,
    embedder: Embedder,
    store: AnyStore,
    *,
    jobs: int | None = None,
    on_embedded: Callable[[int, int], None] = lambda done, total: None,
    on_asked: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure an index with photos whose items are known.

    Photos that the index was not built from are asked as they are, and photos of the index that
    training held out as if the index did not have them. Confidences are those of the index; where
    these were fitted to the held-out photos that are asked, they are fitted anew for each half of
    the items, to the photos of the other half. Nothing is changed. Intervals are by bootstrap over
    items. The same photos give the same figures.

    Args:
        catalogue: items and photos; of the index, or better others.
        embedder: the model of the index.
        store: the index.
        jobs: threads; all cores unless given.
        on_embedded: called with (photos done, photos in all).
        on_asked: called with (sizes of candidate sets done, sizes in all).

    Raises:
        CatalogueError: no photo can be asked.
        IndexFileError: the index is damaged.
        ModelError: the model is not that of the index, or cannot be run.
    """
    found = photo_vectors(catalogue, embedder, store, jobs=jobs, on_progress=on_embedded)
    asked, kinds = questions(found, store, embedder.held_out(), embedder.info.ready_made)
    ranks = _ranks(asked, store)
    items, item = np.unique(asked.item, return_inverse=True)
    weights = resampled(len(items))
    precisions, queries = average_precisions_at_r(asked.vectors, item)
    calibration = read_calibration(store)
    sets, answers = figures_of_sets(
        asked, calibration, store.info.temperature, weights, item, on_asked
    )
    return Evaluation(
        kinds=kinds,
        items=len(items),
        index_items=len(store),
        unreadable=found.unreadable,
        calibrated=_calibrated(calibration),
        recall={k: share_figure(ranks.rivals < k, item, weights) for k in RECALLS},
        mean_average_precision=mean_figure(precisions, item[queries], weights),
        sets=sets,
        reliability=tuple(bins(answers.confidence, answers.right, 10)) if answers else (),
        by_item=tuple(_by_item(asked, ranks, len(store))),
        confusions=tuple(_confusions(asked, ranks)),
    )


def _calibrated(calibration: Calibration | None) -> Literal["held out", "given", "not"]:
    if calibration is None:
        return "not"
    return "given" if calibration.given else "held out"


def _ranks(asked: Questions, store: AnyStore) -> _Ranks:
    """Compare all photos with all items of an index."""
    space = read_score_space(store)
    photos = len(asked.photos)
    rivals = np.zeros(photos, np.int64)
    best, score = [""] * photos, np.full(photos, -np.inf)
    own = {asked.ids[item]: np.flatnonzero(asked.item == item) for item in np.unique(asked.item)}
    for ids in _parts(store, max(1, _MOST_SCORES // photos)):
        centroids, _ = store.centroids(ids)
        known = projected(centroids, space)
        scores = cosines(asked.vectors, known)
        for column, item_id in enumerate(ids):
            if item_id in own:
                scores[own[item_id], column] = -np.inf
        rivals += (scores >= asked.own[:, None]).sum(axis=1)
        nearest = scores.argmax(axis=1)
        found = scores[np.arange(photos), nearest]
        for row in np.flatnonzero(found > score):
            best[row], score[row] = ids[nearest[row]], found[row]
    return _Ranks(rivals, best, score - asked.own)


def _parts(store: AnyStore, count: int) -> Iterator[list[str]]:
    ids = store.ids()
    while part := list(islice(ids, count)):
        yield part


def _by_item(asked: Questions, ranks: _Ranks, items: int) -> list[ItemFigures]:
    right = candidate_accuracies(ranks.rivals, items, CANDIDATES)
    found = []
    for item in np.unique(asked.item):
        rows = np.flatnonzero(asked.item == item)
        wrong = Counter(ranks.best[row] for row in rows if ranks.rivals[row])
        found.append(
            ItemFigures(
                asked.ids[item],
                len(rows),
                float((ranks.rivals[rows] == 0).mean()),
                float(right[rows].mean()),
                wrong.most_common(1)[0][0] if wrong else None,
            )
        )
    return sorted(found, key=lambda one: (one.candidate_accuracy, one.recall_at_1, one.item_id))


def _confusions(asked: Questions, ranks: _Ranks) -> list[Confusion]:
    counts = Counter(asked.item.tolist())
    rows_of: dict[tuple[int, str], list[int]] = {}
    for row in np.flatnonzero(ranks.rivals):
        rows_of.setdefault((int(asked.item[row]), ranks.best[row]), []).append(int(row))
    found = []
    for (item, other), rows in rows_of.items():
        worst = max(rows, key=lambda row: ranks.lead[row])
        found.append(
            Confusion(asked.ids[item], other, len(rows), counts[item], asked.photos[worst])
        )
    found.sort(key=lambda one: (-one.photos, -one.photos / one.asked, one.item_id, one.taken_for))
    return found[:_MOST_PAIRS]
