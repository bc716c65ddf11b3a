"""`Matcher`: which photo shows which candidate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder import Embedder, Photo
from embedder.labelled_vectors import LabelledVectors
from embedder.score_space import ScoreSpace, cosines, projected
from index.calibration import Calibration, read_background, read_calibration, uncalibrated
from index.candidates import Candidates, check_candidates, unknown_ids_error
from index.database import refuse_other_model, refuse_photos
from index.describing import MAX_ERROR, CandidateSet
from index.places import Where
from index.results import Found, Matches, Neighbour
from index.session import Rules, Session
from index.stores import AnyStore, open_store
from index.views import Views, as_views, embed_views
from index.whitening import read_score_space

if TYPE_CHECKING:
    from index.searching import Searcher

Floats = npt.NDArray[np.float32]

_MOST_PIECES = 2**40  # sums of them are still whole numbers


class Matcher:
    """Matches photos to candidates with an index and the model it was built with.

    Attributes:
        store: the index.
    """

    # `embedder` is a model that is open already, in place of `model`.
    def __init__(self, store: AnyStore, model: Path, embedder: Embedder | None = None) -> None:
        self.store = store
        self._model = model
        self._given = embedder

    @classmethod
    def open(
        cls,
        index: Where = "items.index",
        model: str | os.PathLike[str] | None = None,
    ) -> Matcher:
        """Open an index; the model is opened when the first photo is matched.

        Args:
            index: the index file, or the `postgresql://` URL of a database.
            model: the model folder, or the file of another network, as `Embedder.open` takes it;
                `items.model` beside the index file, or in the working folder, unless given.

        Raises:
            IndexFileError: there is no index, it is damaged or of a newer version, or the database
                cannot be reached.
        """
        store = open_store(index)
        beside = store.path if isinstance(store.path, Path) else Path("items.index")
        return cls(store, Path(model) if model else beside.with_name("items.model"))

    @cached_property
    def embedder(self) -> Embedder:
        """The model of the index.

        Raises:
            ModelError: there is none, it is damaged, or the index is of another one, or of vectors
                that were made elsewhere.
        """
        refuse_photos(self.store.path, self.store.info)
        embedder = self._given or Embedder.open(self._model)
        refuse_other_model(self.store.path, self.store.info, embedder.info.fingerprint)
        return embedder

    def match(
        self,
        photos: Iterable[Photo | Views],
        candidates: Candidates,
        *,
        independent: bool = False,
        unknown: float | None = None,
        max_error: float = MAX_ERROR,
        jobs: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Matches:
        """Say which photo shows which candidate.

        Args:
            photos: paths, file bytes, PIL images, or uint8 arrays (height, width, 3); several
                photos of one object as `Views`.
            candidates: item ids, or a dictionary of id to how many pieces there are.
            independent: score each photo by itself. Otherwise each piece is in one photo at most,
                and the likeliest assignment of all is chosen (`docs/matching.md`).
            unknown: share of photos expected to show none of the candidates, 0 if each shows one;
                estimated from the photos unless given.
            max_error: the highest probability of being wrong that a match may have without being
                called "unsure".
            jobs: threads; all cores unless given.
            on_progress: called with (photos done, photos to embed).

        Returns:
            One match a photo or object, in order. A photo that cannot be read has the status
            "unreadable" and changes nothing for the others.

        Raises:
            CandidateError: there is no candidate, or the index does not have one.
            IndexFileError: a row, the score space or the calibration of the index is damaged.
            ModelError: the model is missing, damaged, or not the one of the index.
            ValueError: a share or a probability is out of range, or an object has no photo.
        """
        rules = Rules(independent, unknown, max_error)
        return self._session(candidates, rules).extend(photos, jobs, on_progress)

    def match_vectors(
        self,
        vectors: Floats,
        candidates: Candidates,
        *,
        names: Sequence[str] | None = None,
        objects: Sequence[int] | None = None,
        independent: bool = False,
        unknown: float | None = None,
        max_error: float = MAX_ERROR,
    ) -> Matches:
        """`match` for photos that were embedded elsewhere, as those of the index were.

        Args:
            vectors: float (photos, dim); scaled to unit norm here.
            candidates: as in `match`.
            names: what to call the photos or objects; `photo 1`, `photo 2` ... unless given.
            objects: which object each photo shows, 0, 1 ...; each another one unless given.
            independent: as in `match`.
            unknown: as in `match`.
            max_error: as in `match`.

        Raises:
            CandidateError: as in `match`.
            ValueError: the vectors are not (photos, dim), finite and other than zero; or as in
                `match`.
        """
        session = self._session(candidates, Rules(independent, unknown, max_error))
        unit = unit_rows(vectors, self.store.info.dim)
        return session.extend_vectors(unit, names, objects)

    def nearest(
        self, vectors: Floats, candidates: Iterable[str], count: int = 10
    ) -> tuple[list[list[str]], Floats]:
        """The candidates whose centroids are nearest to each vector: scores alone.

        What a vector database would answer: no assignment, no confidence, no "none of these".

        Args:
            vectors: float (photos, dim); scaled to unit norm here.
            candidates: item ids.
            count: how many to find; fewer are found where there are fewer candidates.

        Returns:
            The ids for each vector, nearest first, and their scores, float32 (photos, found), which
            are cosines in the score space of the index.

        Raises:
            CandidateError: there is no candidate, or the index does not have one.
            IndexFileError: a row or the score space of the index is damaged.
            ValueError: the vectors are not (photos, dim), finite and other than zero, or the count
                is below 1.
        """
        if count < 1:
            raise ValueError(f"expected a count of 1 or more, got {count}")
        ids = list(check_candidates(candidates))
        unit = self._project(unit_rows(vectors, self.store.info.dim))
        scores = cosines(unit, self._centroids(ids))
        rows = np.arange(len(scores))[:, None]
        columns = np.argpartition(scores, -count, axis=1)[:, -count:] if count < len(ids) else None
        best = scores if columns is None else scores[rows, columns]
        order = np.argsort(-best, axis=1, kind="stable")
        columns = order if columns is None else columns[rows, order]
        return [[ids[column] for column in row] for row in columns.tolist()], best[rows, order]

    def search(
        self,
        photos: Iterable[Photo | Views],
        count: int = 10,
        *,
        jobs: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        on_making: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Found]:
        """The items of the whole index that are nearest to each photo.

        Which item it is has to be decided with candidates, by `match`, which can also say that it
        is none. What a large index needs for it is made at the first search, where it is missing
        or of an earlier index (`index.optimize`).

        Args:
            photos: as in `match`.
            count: how many to find; fewer are found where there are fewer items.
            jobs: threads; all cores unless given.
            on_progress: called with (photos done, photos to embed).
            on_making: called with (items done, items) while the search file is made.

        Returns:
            What was found for each photo or object, in order.

        Raises:
            IndexFileError: a row or the score space of the index is damaged.
            ModelError: the model is missing, damaged, or not the one of the index.
            ValueError: the count is below 1, or an object has no photo.
        """
        objects = as_views(photos)
        embedded = embed_views(objects, self.embedder.embed, jobs, on_progress)
        return self._searcher.search(objects, embedded, count, on_making)

    def search_vectors(
        self,
        vectors: Floats,
        count: int = 10,
        *,
        on_making: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[tuple[Neighbour, ...]]:
        """`search` for photos that were embedded elsewhere, as those of the index were.

        Args:
            vectors: float (photos, dim); scaled to unit norm here.
            count: as in `search`.
            on_making: as in `search`.

        Raises:
            IndexFileError: as in `search`.
            ValueError: the vectors are not (photos, dim), finite and other than zero, or the count
                is below 1.
        """
        asked = unit_rows(vectors, self.store.info.dim)
        return self._searcher.nearest(self._project(asked), count, on_making)

    def session(
        self, candidates: Candidates, *, unknown: float | None = None, max_error: float = MAX_ERROR
    ) -> Session:
        """Match photos as they arrive: `session.add(photo)`, then `session.matches`.

        Takes and raises what `match` does.
        """
        return self._session(candidates, Rules(False, unknown, max_error))

    def close(self) -> None:
        """Close the index."""
        self.store.close()

    def __enter__(self) -> Matcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @cached_property
    def _searcher(self) -> Searcher:
        from index.searching import Searcher  # matching does without it

        return Searcher(self.store, self._space)

    def _session(self, candidates: Candidates, rules: Rules) -> Session:
        checked = check_candidates(candidates)
        centroids = self._centroids(checked)
        pieces = np.array([min(count, _MOST_PIECES) for count in checked.values()], np.int64)
        calibration, background = self._fitted
        others = background.without(checked)
        known = CandidateSet(tuple(checked), pieces, centroids, others)
        return Session(
            known,
            calibration,
            lambda photos, jobs: self.embedder.embed(photos, jobs),
            self._project,
            rules,
        )

    def _centroids(self, ids: Iterable[str]) -> Floats:
        """Of candidates, in the score space of the index."""
        centroids, unknown = self.store.centroids(ids)
        if unknown:
            raise unknown_ids_error(unknown, self.store)
        return self._project(centroids)

    @cached_property
    def _space(self) -> ScoreSpace | None:
        return read_score_space(self.store)

    @cached_property
    def _fitted(self) -> tuple[Calibration, LabelledVectors]:
        """The calibration of the index, and the background it was fitted with, in its score space.

        Both of one moment: `embed calibrate` replaces them together.
        """
        with self.store.at_one_moment():
            calibration, found = read_calibration(self.store), read_background(self.store)
        calibration = calibration or uncalibrated(self.store.info.temperature)
        return calibration, replace(found, vectors=self._project(found.vectors))

    def _project(self, vectors: Floats) -> Floats:
        """Into the score space of the index."""
        return projected(vectors, self._space)


def unit_rows(vectors: npt.NDArray[np.floating], dim: int) -> Floats:
    """Vectors (photos, dim) of unit norm, as float32.

    Raises:
        ValueError: they are not (photos, dim), finite and other than zero.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"expected vectors of shape (photos, {dim}), got {array.shape}")
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError("expected finite vectors other than zero")
    unit: Floats = array / norms
    return unit
