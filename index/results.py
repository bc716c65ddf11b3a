"""What is said of photos: a `Match` for each object, and what a search found of the whole index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, overload

from embedder.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["matched", "unsure", "unknown", "unreadable"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """A candidate that an object may be.

    Attributes:
        item_id: its id.
        confidence: the probability of it.
        score: cosine to its centroid.
    """

    item_id: str
    confidence: float
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """What is known about one photo, or several photos of one object.

    Attributes:
        photo: its path, `photo 3` for the third if it has none, or the name of several views.
        item_id: the candidate it was given; None if it got none or cannot be read.
        status: "matched"; "unknown" if it shows none of the candidates; "unsure" if that is wrong
            with a higher probability than was accepted; "unreadable".
        confidence: the probability that `item_id` is right; of showing none where that is None.
        score: cosine to the item's centroid, -1 to 1; of whitened vectors if the index says so.
        runner_up: the likeliest other candidate.
        runner_up_score: its score.
        margin: score less runner_up_score; negative where one-to-one matching gave the photo an
            item that is not its best by itself.
        none: the probability that it shows none of the candidates.
        reason: why it is unsure, and which of its photos are unreadable.
        views: how many photos of it were read.
        unreadable: how many could not be.
        alternatives: the likeliest candidates, `item_id` among them, the likeliest first.
    """

    photo: str
    item_id: str | None
    status: Status
    confidence: float | None = None
    score: float | None = None
    runner_up: str | None = None
    runner_up_score: float | None = None
    margin: float | None = None
    none: float | None = None
    reason: str | None = None
    views: int = 0
    unreadable: int = 0
    alternatives: tuple[Alternative, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The attributes, in order; alternatives as dictionaries."""
        found = asdict(self)
        return found | {"alternatives": list(found["alternatives"])}


# Of a row of a table, which has no room for the alternatives.
COLUMNS = tuple(field.name for field in fields(Match) if field.name != "alternatives")


@dataclass(frozen=True, slots=True)
class Matches(Sequence[Match]):
    """All matches of one call, in the order of the photos.

    Attributes:
        matches: one a photo, or an object of several photos.
        missing: candidates that no photo was given, with how many pieces of each.
    """

    matches: tuple[Match, ...]
    missing: dict[str, int]

    @overload
    def __getitem__(self, at: int) -> Match: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, at: int | slice) -> Match | tuple[Match, ...]:
        return self.matches[at]

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, as `embed match --format json` prints them."""
        return {"matches": [match.to_dict() for match in self], "missing": dict(self.missing)}

    def to_dataframe(self) -> pd.DataFrame:
        """A pandas frame with a row a match, without the alternatives.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_dataframe", "pandas") from None
        rows = [[getattr(match, name) for name in COLUMNS] for match in self]
        return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item near a photo.

    Attributes:
        item_id: its id.
        score: cosine to its centroid, -1 to 1; of whitened vectors if the index says so. Of several
            photos of one object the mean.
    """

    item_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a search says of one photo, or several photos of one object.

    Attributes:
        photo: as `index.Match` calls it.
        items: the nearest, the nearest first; none if it cannot be read.
        reason: why it cannot be read, or which of its photos cannot; None if all can.
    """

    photo: str
    items: tuple[Neighbour, ...]
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, as `embed search --format json` prints them."""
        items = [{"item_id": item.item_id, "score": item.score} for item in self.items]
        return {"photo": self.photo, "items": items, "reason": self.reason}
