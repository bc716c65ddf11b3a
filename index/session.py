"""Photos against one list of candidates: all at once, or as they arrive on a packing bench."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embedder import Photo
from embedder.photos import photo_name
from embedder.score_space import cosines
from index.calibration import Calibration
from index.deciding import decide
from index.describing import MAX_ERROR, CandidateSet, describe
from index.results import Match, Matches
from index.views import Embed, Views, as_views, embed_views, pooled, unreadable_views

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rules:
    """How photos are decided on.

    Attributes:
        independent: score each by itself. Otherwise each piece is in one photo at most.
        unknown: share of photos expected to show none of the candidates, 0 if each shows one;
            estimated from the photos unless given.
        max_error: the highest probability of being wrong that "matched" and "unknown" may have.
    """

    independent: bool = False
    unknown: float | None = None
    max_error: float = MAX_ERROR

    def __post_init__(self) -> None:
        if self.unknown is not None and not 0 <= self.unknown <= 1:
            raise ValueError(f"expected a share of unknown from 0 to 1, got {self.unknown}")
        if not 0 < self.max_error <= 1:
            raise ValueError(f"expected a max_error above 0, up to 1, got {self.max_error}")


class Session:
    """The photos so far, matched anew with each that comes.

    Made by `Matcher.session`. A photo that comes later can take an item from an earlier one: all
    are matched jointly each time. Not for use from several threads at once.
    """

    def __init__(
        self,
        candidates: CandidateSet,
        calibration: Calibration,
        embed: Embed,
        project: Callable[[Floats], Floats],
        rules: Rules,
    ) -> None:
        self._candidates, self._calibration = candidates, calibration
        self._embed, self._project, self._rules = embed, project, rules
        self._names: list[str] = []
        self._bad: list[list[str]] = []  # of each object: what is wrong with its photos
        self._owners: list[int] = []  # of each readable photo
        self._vectors: list[Floats] = []  # of each readable photo, in the score space
        self._matches: Matches | None = None

    def add(self, photo: Photo | Views) -> Match:
        """Take in one photo, or several of one object, and match all so far anew.

        Returns:
            The match of this one; `matches` has those of the others, which may have changed.
        """
        return self.extend([photo])[-1]

    def extend(
        self,
        photos: Iterable[Photo | Views],
        jobs: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Matches:
        """Take in several photos at once; returns all matches so far.

        Args:
            photos: as in `Matcher.match`.
            jobs: threads; all cores unless given.
            on_progress: called with (photos done, photos to embed).
        """
        objects = as_views(photos, len(self._names))
        found = embed_views(objects, self._embed, jobs, on_progress)
        first = len(self._names)
        self._names += [views.name for views in objects]
        self._bad += found.bad
        self._owners += [first + owner for owner in found.owners]
        for vector in found.vectors:
            self._vectors += list(self._project(vector[None]))
        self._matches = None
        return self.matches

    def extend_vectors(
        self, vectors: Floats, names: Sequence[str] | None, objects: Sequence[int] | None
    ) -> Matches:
        """`extend` with unit-norm vectors (photos, dim), of the objects 0, 1 ... if given."""
        first = len(self._names)
        owners = np.arange(len(vectors)) if objects is None else np.asarray(objects, np.int64)
        count = int(owners.max()) + 1 if len(owners) else 0
        if len(owners) != len(vectors) or sorted(set(owners.tolist())) != list(range(count)):
            raise ValueError(
                f"expected an object of each of {len(vectors)} vectors, numbered 0, 1, 2 ... "
                "without gaps"
            )
        if names is not None and len(names) != count:
            raise ValueError(f"expected a name of each of {count} objects, got {len(names)}")
        unnamed = [photo_name(b"", first + at) for at in range(count)]
        self._names += unnamed if names is None else list(names)
        self._bad += [[] for _ in range(count)]
        self._owners += (first + owners).tolist()
        self._vectors += list(self._project(vectors))
        self._matches = None
        return self.matches

    @property
    def matches(self) -> Matches:
        """One a photo or object so far, in the order they came."""
        if self._matches is None:
            self._matches = self._match()
        return self._matches

    def _match(self) -> Matches:
        candidates, rules = self._candidates, self._rules
        owners = np.array(self._owners, dtype=np.int64)
        vectors = np.array(self._vectors, np.float32).reshape(-1, candidates.centroids.shape[1])
        means, counts = pooled(vectors, owners, len(self._names))
        readable = np.flatnonzero(counts)
        means, counts = means[readable], counts[readable]
        scores, background = (
            np.clip(cosines(means, known), -1, 1)
            for known in (candidates.centroids, candidates.background)
        )
        decision = decide(
            scores,
            background,
            counts,
            candidates.pieces,
            self._calibration,
            rules.independent,
            rules.unknown,
        )
        found = describe(decision, scores, candidates, rules.max_error)
        matches = [
            Match(name, None, "unreadable", reason=unreadable_views(bad), unreadable=len(bad))
            for name, bad in zip(self._names, self._bad, strict=True)
        ]
        for at, count, match in zip(readable.tolist(), counts.tolist(), found, strict=True):
            name, bad = self._names[at], self._bad[at]
            parts = (match.reason, unreadable_views(bad))
            reason = "; ".join(part for part in parts if part) or None
            matches[at] = replace(
                match, photo=name, views=count, unreadable=len(bad), reason=reason
            )
        return Matches(tuple(matches), candidates.missing(matches))
