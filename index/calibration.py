"""From scores to log odds.

A photo of a candidate and a photo of something else are told apart by the ratio of how likely their
scores are. `exp(score / temperature + bend * score^2)` stands for the likelihood of the photo if it
shows an item: temperature scaling (Guo et al. 2017, "On calibration of modern neural networks"),
bent, as high scores say more. What it is if the photo shows none of the candidates is taken from a
background: a sample of the other items of the catalogue, as impostors are in speaker verification
(Reynolds et al. 2000, "Speaker verification using adapted Gaussian mixture models"). A photo that
is like many items is not held to show a candidate because it is a little like it too.

What scores say about whether a photo shows a candidate at all is less than what they say about
which one. So the log likelihood ratio of "some candidate" to "none" is scaled once more, as in
speaker verification (Brümmer and du Preez 2006, "Application-independent evaluation of speaker
detection"); the ratios of candidates to each other stay.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFileError
from embedder.labelled_vectors import LabelledVectors
from index.parts import damaged_part, put_part, read_part
from index.rows import are_centroids
from index.stores import AnyStore, AnyWritableStore

Exact = npt.NDArray[np.float64]
Scores = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

LOWEST_TEMPERATURE = 0.005  # as in `embedder.validation`: held-out photos are few

_NEVER = -50.0  # nats
_ITEMS_FOR_A_CHANGE = 100
_CALIBRATION, _BACKGROUND = "calibration", "background"  # their names in the index


@dataclass(frozen=True)
class Calibration:
    """What turns scores into log likelihood ratios.

    Attributes:
        sizes: numbers of candidates that it was fitted for, rising.
        temperatures: for each, what divides a score.
        bends: for each, what the square of a score above 0 adds: high scores say more than in
            proportion.
        background: for each, the log likelihood of a photo of none of the candidates, beyond what
            the scores of the background say.
        outside: for each, the least that log likelihood can be: of a photo that is like nothing.
        evidence: for each, the part of the log likelihood ratio of "some candidate" to "none" that
            counts, above 0 and 1 at most.
        views: what the mean score of k photos of one object counts as: k to this power photos. 1
            if they were independent, 0 if the second says nothing new.
        photos: that it was fitted on; 0 where it was not.
        given: whether somebody gave these photos, and not training held them out.
        changed: items that were changed since in the index that it was fitted to.
    """

    sizes: tuple[int, ...]
    temperatures: tuple[float, ...]
    bends: tuple[float, ...]
    background: tuple[float, ...]
    outside: tuple[float, ...]
    evidence: tuple[float, ...]
    views: float = 0.5
    photos: int = 0
    given: bool = False
    changed: int = 0

    def log_ratios(self, scores: Scores, background: Scores, counts: Indices) -> Exact:
        """Log likelihood ratios of "this candidate" to "none", in nats.

        Args:
            scores: (objects, candidates), cosines, each the mean over the photos of the object.
            background: (objects, items), the same for items that are no candidates; may be empty.
            counts: int64 (objects,), how many photos those were.
        """
        at, size = np.log(self.sizes), np.log(max(1, scores.shape[1]))
        slope = 1 / np.exp(np.interp(size, at, np.log(self.temperatures)))
        bend = np.interp(size, at, self.bends)
        weights = (counts.astype(np.float64) ** self.views)[:, None]
        none = np.full(len(scores), np.interp(size, at, self.outside))
        if background.shape[1]:
            every = np.ones(background.shape, dtype=np.bool_)
            likeness = log_mean_exp(weights * bent(background, slope, bend), every)
            none = np.logaddexp(none, likeness + np.interp(size, at, self.background))
        likelihoods = weights * bent(scores, slope, bend)
        some = log_mean_exp(likelihoods, np.ones(likelihoods.shape, dtype=np.bool_))
        evidence = np.interp(size, at, self.evidence)
        ratios: Exact = likelihoods - (evidence * none + (1 - evidence) * some)[:, None]
        return ratios


def bent(scores: Scores, slope: float, bend: float) -> Exact:
    """Log likelihoods of scores, but for a constant; they rise with the score."""
    exact = np.asarray(scores, dtype=np.float64)
    return exact * (slope + bend * np.maximum(exact, 0.0))


def log_mean_exp(values: Exact, counted: npt.NDArray[np.bool_]) -> Exact:
    """Log of the mean of the exponentials along the last axis, of those that are counted.

    Hundreds of nats below the others where none is.
    """
    most = values.max(axis=-1, keepdims=True)
    sums = np.exp(values - most).sum(axis=-1, where=counted)
    means = np.maximum(sums / np.maximum(counted.sum(axis=-1), 1), 1e-300)
    found: Exact = np.log(means) + most[..., 0]
    return found


def uncalibrated(temperature: float) -> Calibration:
    """Where there is nothing to fit on: a photo shows none only if no piece is left for it."""
    return Calibration(
        (1,), (temperature,), (0.0,), (-np.inf,), (_NEVER - 1.0 / temperature,), (1.0,)
    )


def write_calibration(
    store: AnyWritableStore, calibration: Calibration | None, background: LabelledVectors
) -> None:
    """Put a calibration and its background into a store; `commit` keeps them."""
    text = None if calibration is None else json.dumps(asdict(calibration)).encode()
    put_part(store, _CALIBRATION, text)
    put_part(store, _BACKGROUND, background.to_bytes())


def read_calibration(store: AnyStore) -> Calibration | None:
    """The calibration of an index; None if it has none.

    Raises:
        IndexFileError: it is damaged.
    """
    content = read_part(store, _CALIBRATION)
    try:
        return None if content is None else _checked(json.loads(content))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise damaged_part(store, _CALIBRATION, str(error)) from error


def kept_calibration(store: AnyStore, changed: int) -> Calibration | None:
    """The calibration of an index that is brought up to date, if it is good for it still.

    Fitting one takes seconds, and a few items of many change it by less than chance did.

    Args:
        store: the index.
        changed: items that are changed by this update.

    Returns:
        The one that somebody gave photos for; the one fitted to photos that training held out while
        at most one in a hundred items was changed since; None otherwise, or if it is damaged.
    """
    try:
        found = read_calibration(store)
    except IndexFileError:
        return None
    if found is None or found.given:
        return found
    found = replace(found, changed=found.changed + changed)
    return found if found.changed * _ITEMS_FOR_A_CHANGE <= len(store) else None


def read_background(store: AnyStore) -> LabelledVectors:
    """Centroids of a sample of the items of an index; none if it has no background.

    Raises:
        IndexFileError: it is damaged.
    """
    content = read_part(store, _BACKGROUND)
    if content is None:
        return LabelledVectors(np.zeros((0, store.info.dim), np.float32), ())
    try:
        found = LabelledVectors.from_bytes(content, store.info.dim)
    except ValueError as error:
        raise damaged_part(store, _BACKGROUND, str(error)) from error
    if not are_centroids(found.vectors).all():
        raise damaged_part(store, _BACKGROUND, "a vector is not of unit norm")
    return found


def _checked(document: object) -> Calibration:
    """A calibration from what JSON holds; the checksum says who wrote it only by accident."""
    names = {field.name for field in fields(Calibration)}
    # Those from before them have no `changed` and no `evidence`.
    if not isinstance(document, dict) or {*document, "changed", "evidence"} != names:
        raise ValueError("not a calibration")
    document = {"evidence": [1.0] * len(document["sizes"]), **document}
    sizes, *numbers = (
        np.array(document[name], dtype=np.float64)
        for name in ("sizes", "temperatures", "bends", "background", "outside", "evidence")
    )
    views, photos = float(document["views"]), int(document["photos"])
    changed = int(document.get("changed", 0))
    if sizes.ndim != 1 or not len(sizes) or any(part.shape != sizes.shape for part in numbers):
        raise ValueError("expected as many numbers of each kind as sizes")
    in_order = sizes[0] >= 1 and (np.diff(sizes) > 0).all()
    temperatures, bends, *offsets, parts = numbers
    usable = ((temperatures >= 1e-6) & (temperatures <= 1e6) & (bends >= 0) & (bends <= 1e6)).all()
    usable &= ((parts > 0) & (parts <= 1)).all()
    if not (in_order and usable and 0 <= views <= 1 and min(photos, changed) >= 0):
        raise ValueError("a number is out of range")
    if not all((np.abs(part) < 1e6).all() for part in offsets):
        raise ValueError("a number is out of range")
    lists = [tuple(part.tolist()) for part in numbers]
    whole = tuple(int(size) for size in sizes.tolist())
    temperature, bend, behind, outside, evidence = lists
    given = bool(document["given"])
    return Calibration(
        whole, temperature, bend, behind, outside, evidence, views, photos, given, changed
    )
