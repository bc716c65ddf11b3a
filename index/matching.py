"""`Matcher`: which photo shows which candidate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedder import Embedder, ModelError, Photo, PhotoError
from embedder.photos import photo_name
from embedder.score_space import ScoreSpace
from index.assignment import best_assignment
from index.candidates import Candidates, check_candidates, unknown_ids_error
from index.store import Store
from index.whitening import read_score_space

Floats = npt.NDArray[np.float32]

Status = Literal["matched", "unsure", "unknown", "unreadable"]

_SURE = 0.5


@dataclass(frozen=True, slots=True)
class Match:
    """What is known about one photo.

    Attributes:
        photo: its path, or `photo 3` for the third if it has none.
        item_id: the candidate it was given; None if it got none or cannot be read.
        status: "matched"; "unsure" if the confidence is below one half; "unknown" if every
            candidate went to another photo; "unreadable".
        score: cosine to the item's centroid, -1 to 1; of whitened vectors if the index says so.
        confidence: softmax over the candidates of this photo's scores alone; it does not yet know
            that other photos take candidates away.
        runner_up: the best-scoring other candidate.
        runner_up_score: its score.
        margin: score less runner_up_score; negative where one-to-one matching gave the photo an
            item that is not its best by itself.
        reason: why a photo is unreadable.
    """

    photo: str
    item_id: str | None
    status: Status
    score: float | None = None
    confidence: float | None = None
    runner_up: str | None = None
    runner_up_score: float | None = None
    margin: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The attributes, in order."""
        return asdict(self)


class Matcher:
    """Matches photos to candidates with an index and the model it was built with.

    Attributes:
        store: the index.
    """

    def __init__(self, store: Store, model: Path) -> None:
        self.store = store
        self._model = model

    @classmethod
    def open(
        cls,
        index: str | os.PathLike[str] = "items.index",
        model: str | os.PathLike[str] | None = None,
    ) -> Matcher:
        """Open an index file; the model is opened when the first photo is matched.

        Args:
            index: the index file.
            model: the model folder; `items.model` beside the index unless given.

        Raises:
            IndexFileError: there is no index, or it is damaged or of a newer version.
        """
        store = Store.open(index)
        return cls(store, Path(model) if model else Path(index).with_name("items.model"))

    @cached_property
    def embedder(self) -> Embedder:
        """The model of the index.

        Raises:
            ModelError: there is none, it is damaged, or the index is of another one.
        """
        embedder = Embedder.open(self._model)
        if embedder.info.fingerprint != self.store.info.fingerprint:
            raise ModelError(
                f"{self.store.path} was built with another model than {self._model}: "
                "build the index again with this model, or name the right one with --model"
            )
        return embedder

    def match(
        self,
        photos: Iterable[Photo],
        candidates: Candidates,
        *,
        independent: bool = False,
        jobs: int | None = None,
    ) -> list[Match]:
        """Say which photo shows which candidate.

        Args:
            photos: paths, file bytes, PIL images, or uint8 arrays (height, width, 3).
            candidates: item ids, or a dictionary of id to how many pieces there are.
            independent: score each photo by itself. Otherwise each piece is in one photo at most,
                and the assignment with the highest total score is chosen.
            jobs: threads; all cores unless given.

        Returns:
            One match a photo, in order. A photo that cannot be read has the status "unreadable"
            and changes nothing for the others.

        Raises:
            CandidateError: there is no candidate, or the index does not have one.
            IndexFileError: a row or the score space of the index is damaged.
            ModelError: the model is missing, damaged, or not the one of the index.
        """
        centroids, ids, pieces = self._centroids(candidates)
        photos = list(photos)
        names = [photo_name(photo, position) for position, photo in enumerate(photos)]
        vectors = list(self.embedder.embed(photos, jobs))
        readable = [at for at, vector in enumerate(vectors) if not isinstance(vector, PhotoError)]
        embedded = np.array([vectors[at] for at in readable]).reshape(-1, centroids.shape[1])
        matches: list[Match] = [
            Match(name, None, "unreadable", reason=vector.reason)
            if isinstance(vector, PhotoError)
            else Match(name, None, "unknown")
            for name, vector in zip(names, vectors, strict=True)
        ]
        found = self._decide(
            [names[at] for at in readable],
            self._scores(embedded, centroids),
            ids,
            pieces,
            independent,
        )
        for at, match in zip(readable, found, strict=True):
            matches[at] = match
        return matches

    def match_vectors(
        self,
        vectors: Floats,
        candidates: Candidates,
        *,
        names: Sequence[str] | None = None,
        independent: bool = False,
    ) -> list[Match]:
        """`match` for photos that were embedded elsewhere with the model of the index.

        Args:
            vectors: float (photos, dim); scaled to unit norm here.
            candidates: as in `match`.
            names: what to call the photos; `photo 1`, `photo 2` ... unless given.
            independent: as in `match`.

        Raises:
            CandidateError: as in `match`.
            ValueError: the vectors are not (photos, dim), finite and other than zero.
        """
        centroids, ids, pieces = self._centroids(candidates)
        unit = _unit_rows(vectors, self.store.info.dim)
        names = (
            list(names) if names is not None else [photo_name(b"", at) for at in range(len(unit))]
        )
        return self._decide(names, self._scores(unit, centroids), ids, pieces, independent)

    def close(self) -> None:
        """Close the index file."""
        self.store.close()

    def __enter__(self) -> Matcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _centroids(self, candidates: Candidates) -> tuple[Floats, list[str], list[int]]:
        checked = check_candidates(candidates)
        centroids, unknown = self.store.centroids(checked)
        if unknown:
            raise unknown_ids_error(unknown, self.store)
        return centroids, list(checked), list(checked.values())

    @cached_property
    def _space(self) -> ScoreSpace | None:
        return read_score_space(self.store)

    def _scores(self, vectors: Floats, centroids: Floats) -> Floats:
        """Cosines (photos, items) in the score space of the index."""
        if self._space is not None:
            vectors, centroids = self._space.project(vectors), self._space.project(centroids)
        scores: Floats = np.clip(vectors @ centroids.T, -1, 1)
        return scores

    def _decide(
        self,
        names: Sequence[str],
        scores: Floats,
        ids: list[str],
        pieces: list[int],
        independent: bool,
    ) -> list[Match]:
        if independent:
            chosen = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64)
        else:
            useful = [min(count, len(names)) for count in pieces]  # there may be a million
            columns = np.repeat(np.arange(len(ids)), useful)
            assigned = best_assignment(scores[:, columns])
            chosen = np.where(assigned >= 0, columns[assigned], -1)
        temperature = self.store.info.temperature
        return [
            _describe(name, row, int(column), ids, temperature)
            for name, row, column in zip(names, scores, chosen, strict=True)
        ]


def missing(matches: Iterable[Match], candidates: Candidates) -> dict[str, int]:
    """Candidates that no photo was given, with how many pieces of each."""
    left = check_candidates(candidates)
    for match in matches:
        if match.item_id in left:
            left[match.item_id] -= 1
    return {item_id: count for item_id, count in left.items() if count > 0}


def _describe(name: str, scores: Floats, chosen: int, ids: list[str], temperature: float) -> Match:
    others = np.delete(np.arange(len(ids)), chosen) if chosen >= 0 else np.arange(len(ids))
    second = int(others[scores[others].argmax()]) if len(others) else None
    runner_up = ids[second] if second is not None else None
    runner_up_score = float(scores[second]) if second is not None else None
    if chosen < 0:
        return Match(name, None, "unknown", runner_up=runner_up, runner_up_score=runner_up_score)
    score = float(scores[chosen])
    confidence = float(1 / np.exp((scores.astype(np.float64) - score) / temperature).sum())
    status: Status = "matched" if confidence >= _SURE else "unsure"
    margin = None if runner_up_score is None else score - runner_up_score
    return Match(name, ids[chosen], status, score, confidence, runner_up, runner_up_score, margin)


def _unit_rows(vectors: Floats, dim: int) -> Floats:
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"expected vectors of shape (photos, {dim}), got {array.shape}")
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError("expected finite vectors other than zero")
    unit: Floats = array / norms
    return unit
