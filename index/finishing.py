"""What an index gets when all its items are in it: score space, background and calibration.

A model that learned from the catalogue says whether to whiten, and brings photos that it did not
see to fit confidences to. Any other network saw none of them, so the photos of the index itself say
both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from embedder.inference import Embedder
from embedder.labelled_vectors import LabelledVectors
from embedder.sampling import evenly
from embedder.score_space import ScoreSpace, fit_score_space, within_scatter
from embedder.validation import (
    DEFAULT_TEMPERATURE,
    centroids,
    gallery_and_queries,
    hold_out,
    judge_spaces,
)
from index import whitening
from index.calibrating import background, calibrate
from index.calibration import Calibration, kept_calibration, write_calibration
from index.kept_photos import KeptPhotos
from index.store_writing import WritableStore

Indices = npt.NDArray[np.int64]

_MOST_ASKED = 2000  # vectors to fit confidences to, as many as training holds out
_MOST_OF_ITEM = 16  # photos to fit to: more would say little more of one item


def finish_trained(
    store: WritableStore, embedder: Embedder, before: bool | None, changed: int
) -> Calibration | None:
    """Fit an index of a trained model, and say that it is whole.

    Args:
        store: with all items, and the spreads of a sample.
        embedder: the model.
        before: whether the index from before this update was whitened; None if there was none.
        changed: items that are changed by this update.

    Returns:
        the calibration; None where there are too few photos for one.
    """
    temperature = embedder.info.whitened_temperature
    space = whitening.fit(store)
    if space is None or temperature is None:
        whitening.write_score_space(store, None)
    else:
        whitening.write_score_space(store, space)
        store.write_info(replace(store.info, whitened=True, temperature=temperature))
    return _calibrate(store, embedder.held_out(), before, changed)


def finish_ready_made(
    store: WritableStore,
    known: LabelledVectors,
    *,
    given: LabelledVectors | None = None,
    before: bool | None = None,
    changed: int = 0,
) -> Calibration | None:
    """Fit an index of a network that did not learn from its photos, and say that it is whole.

    Scores are whitened where that is better on photos that are held out for it: those given, or a
    tenth of each item's.

    Args:
        store: with all items.
        known: photos of it, item by item.
        given: others, which are not in it.
        before: as in `finish_trained`.
        changed: as in `finish_trained`.

    Returns:
        the calibration; None where there are too few photos for one.
    """
    whiten, temperature = _space_to_use(known, given)
    space = _fitted_space(known) if whiten else None
    whitening.write_score_space(store, space)
    store.write_info(replace(store.info, whitened=space is not None, temperature=temperature))
    asked = given or _some_of(known)
    return _calibrate(store, asked, before, changed, given=given is not None)


def items_to_fit(photos: Mapping[str, Sequence[object]]) -> frozenset[str]:
    """The items that `photos_to_fit` takes photos of: a sample that is the same for the same items.

    Args:
        photos: of each item, by its id.
    """
    ids = sorted(photos)
    some = {ids[at] for at in evenly(len(ids), whitening.MOST_ITEMS)} if ids else set()
    return whitening.sample(photos) | some


def photos_to_fit(kept: KeptPhotos, items: Iterable[str]) -> LabelledVectors:
    """Some photos of some items, as a build has kept them, item by item."""
    vectors, owners = [], list[str]()
    for item in sorted(items):
        photos = [photo for _, photo in sorted(kept.of_item(item).items())]
        chosen = evenly(len(photos), _MOST_OF_ITEM) if photos else ()
        vectors += [photos[at].vector for at in chosen]
        owners += [item] * len(chosen)
    rows = np.array(vectors, np.float32).reshape(len(owners), -1)
    return LabelledVectors(rows, tuple(owners))


def _calibrate(
    store: WritableStore,
    asked: LabelledVectors | None,
    before: bool | None,
    changed: int,
    given: bool = False,
) -> Calibration | None:
    others = background(store)
    calibration = kept_calibration(store, changed) if before == store.info.whitened else None
    if calibration is None and asked is not None:
        calibration = calibrate(store, asked, others, given=given)
    write_calibration(store, calibration, others)
    store.write_info(replace(store.info, created=datetime.now(UTC).isoformat("T", "microseconds")))
    return calibration


def _some_of(known: LabelledVectors) -> LabelledVectors:
    count = len(known.items)
    rows = evenly(count, _MOST_ASKED) if count else np.zeros(0, np.int64)
    return LabelledVectors(known.vectors[rows], tuple(known.items[at] for at in rows.tolist()))


def _space_to_use(known: LabelledVectors, given: LabelledVectors | None) -> tuple[bool, float]:
    """Whether to whiten, and the temperature of scores then, as a training decides it."""
    columns = {item: at for at, item in enumerate(dict.fromkeys(known.items))}
    labels = np.array([columns[item] for item in known.items], dtype=np.int64)
    vectors, held = known.vectors, hold_out(labels, 0)
    if given is not None:
        rows = [at for at, item in enumerate(given.items) if item in columns]
        truth = np.array([columns[given.items[at]] for at in rows], dtype=np.int64)
        vectors = np.concatenate([vectors, given.vectors[rows]])
        held = np.arange(len(vectors)) >= len(labels)
        labels = np.concatenate([labels, truth])
    if not held.any():
        return False, DEFAULT_TEMPERATURE
    gallery, queries = gallery_and_queries(labels, held)
    judged, within = np.unique(labels[gallery], return_inverse=True)
    truth = np.searchsorted(judged, labels[queries])
    plain, whitened = judge_spaces(
        vectors[gallery], within, vectors[queries], truth, len(judged), 0
    )
    if whitened is not None and whitened.better_than(plain):
        return True, whitened.temperature
    return False, plain.temperature


def _fitted_space(known: LabelledVectors) -> ScoreSpace | None:
    """The score space of a sample of the items; None if there are too few photos for one."""
    of_item: dict[str, list[int]] = {}
    for row, item in enumerate(known.items):
        of_item.setdefault(item, []).append(row)
    items = sorted(whitening.sample(of_item))
    if not items:
        return None
    rows = np.array([row for item in items for row in of_item[item]], np.int64)
    labels: Indices = np.repeat(np.arange(len(items)), [len(of_item[item]) for item in items])
    vectors = known.vectors[rows]
    return fit_score_space(*within_scatter(vectors, labels), centroids(vectors, labels, len(items)))
