"""The shapes of answers, for the description at /openapi.json and for what comes back of them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from index import Alternative, Match, Matches
from index.results import Status


class ErrorDocument(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="One line: what was expected, what was found, what to do.")


class AlternativeDocument(BaseModel):
    """A candidate that an object may be."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")

    item_id: str
    confidence: float
    score: float


class MatchDocument(BaseModel):
    """What is known about one photo, or several photos of one object."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")

    photo: str = Field(description="photo 1, photo 2 ... in the order they were sent.")
    item_id: str | None = Field(description="The candidate it was given; null if none.")
    status: Status
    confidence: float | None = Field(
        default=None, description="Probability that item_id is right; of none where that is null."
    )
    score: float | None = Field(default=None, description="Cosine to the item's centroid.")
    runner_up: str | None = None
    runner_up_score: float | None = None
    margin: float | None = None
    none: float | None = Field(
        default=None, description="Probability that it shows none of the candidates."
    )
    reason: str | None = Field(default=None, description="Why it is unsure or unreadable.")
    views: int = Field(default=0, ge=0, description="Photos of it that were read.")
    unreadable: int = Field(default=0, ge=0, description="Photos of it that could not be read.")
    alternatives: list[AlternativeDocument] = []


class MatchesDocument(BaseModel):
    """All matches of one request, in the order of the photos."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "matches": [
                    {
                        "photo": "photo 1",
                        "item_id": "sku-1",
                        "status": "matched",
                        "confidence": 0.993412,
                        "score": 0.871203,
                        "runner_up": "sku-2",
                        "runner_up_score": 0.402115,
                        "margin": 0.469088,
                        "none": 0.004102,
                        "reason": None,
                        "views": 1,
                        "unreadable": 0,
                        "alternatives": [
                            {"item_id": "sku-1", "confidence": 0.993412, "score": 0.871203}
                        ],
                    }
                ],
                "missing": {"sku-2": 1},
            }
        },
    )

    matches: list[MatchDocument]
    missing: dict[str, int] = Field(description="Candidates in no photo, and how many pieces.")

    def to_matches(self) -> Matches:
        """As the library has them."""
        found = []
        for one in self.matches:
            values: dict[str, Any] = one.model_dump(exclude={"alternatives"})
            others = tuple(Alternative(**other.model_dump()) for other in one.alternatives)
            found.append(Match(**values, alternatives=others))
        return Matches(tuple(found), self.missing)


class NeighbourDocument(BaseModel):
    """An item near a photo."""

    item_id: str
    score: float


class FoundDocument(BaseModel):
    """What a search found for one photo, the nearest first."""

    photo: str
    items: list[NeighbourDocument]
    reason: str | None


class SearchDocument(BaseModel):
    """What a search found, in the order of the photos."""

    photos: list[FoundDocument]


class ItemDocument(BaseModel):
    """An item of the index."""

    item_id: str
    photos: int = Field(description="Photos that its centroid is of.")
    dispersion: float = Field(description="1 less the mean cosine of its photos to the centroid.")
    added: bool = Field(description="Added by hand; it is in no catalogue.")


class IndexDocument(BaseModel):
    """The index, and what may be sent."""

    items: int
    created: str
    photos_at_most: int
    photo_bytes: int
    body_bytes: int
    writable: bool = Field(description="Whether items can be added and removed.")


class UnreadableDocument(BaseModel):
    """A photo that could not be read, and why."""

    photo: str
    reason: str


class AddedDocument(BaseModel):
    """What was added."""

    photos: int
    unreadable: list[UnreadableDocument]
    replaced: bool


class RemovedDocument(BaseModel):
    """How many items were removed."""

    removed: int


def form_body(photos: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """What /openapi.json says of a form: its photos, and other fields by their schemas."""
    several = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    required = ["photos", *(name for name, schema in fields.items() if schema.pop("needed", False))]
    properties = {"photos": several | {"description": photos}, **fields}
    schema = {"type": "object", "required": required, "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
