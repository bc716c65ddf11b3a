"""`/v1/match`, `/v1/search` and `/v1/report`: what is said of photos."""

from __future__ import annotations

import io
from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from cli.output import json_text
from cli.page import made
from cli.report import report_pieces
from embedder.errors import in_one_line
from index import Matcher, Matches, Views, read_candidates
from service.documents import MatchesDocument, SearchDocument, form_body
from service.engine import refuse_unready
from service.forms import Form
from service.refusals import RefusedError
from service.requests import Progress, answered, engine_of, form_of, number, whole, yes
from service.tokens import reader

router = APIRouter(dependencies=[Depends(reader)], tags=["photos"])

_PHOTOS = "A file each: JPEG, PNG, WebP, HEIC ... Their order counts, their names do not."
_VIEWS = {"type": "integer", "minimum": 1, "description": "So many photos in turn show one object."}


@router.post(
    "/v1/match",
    summary="Which photo shows which candidate",
    response_model=MatchesDocument,
    openapi_extra=form_body(
        _PHOTOS,
        candidates={
            "type": "string",
            "description": "The items that can be in the photos: one id a line, or 'id,quantity'.",
            "example": "sku-1\nsku-2,5",
            "needed": True,
        },
        independent={
            "type": "boolean",
            "default": False,
            "description": "Score each photo by itself, not one to one.",
        },
        unknown={
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Share of photos that show none; estimated unless given.",
        },
        max_error={
            "type": "number",
            "minimum": 1e-6,
            "maximum": 1,
            "default": 0.05,
            "description": "Call a photo unsure that is wrong with a higher probability.",
        },
        views=_VIEWS,
    ),
)
async def match(request: Request) -> Response:
    """As `embed match --format json`: all photos are matched together, one to one."""
    fields = ("candidates", "independent", "unknown", "max_error", "views")
    async with form_of(request, *fields) as form:
        listed = form.text("candidates").encode()
        independent = yes(form.fields, "independent")
        unknown = number(form.fields, "unknown", 0, 1)
        max_error = number(form.fields, "max_error", 1e-6, 1)
        objects = _objects(form)

        def run(matcher: Matcher, on_progress: Progress) -> Matches:
            return matcher.match(
                objects,
                read_candidates(io.BytesIO(listed), matcher.store.has),
                independent=independent,
                unknown=unknown,
                max_error=0.05 if max_error is None else max_error,
                on_progress=on_progress,
            )

        found = await answered(request, run)
    request.app.state.metrics.photos(one.status for one in found)
    return _json(found.to_dict())


@router.post(
    "/v1/search",
    summary="Which items of the whole index are nearest to each photo",
    response_model=SearchDocument,
    openapi_extra=form_body(
        _PHOTOS,
        top={"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
        views=_VIEWS,
    ),
)
async def search(request: Request) -> Response:
    """As `embed search --format json`: scores alone, for where no list of candidates is known."""
    refuse_unready(engine_of(request).generation)
    async with form_of(request, "top", "views") as form:
        top = whole(form.fields, "top", 1, 1000) or 10
        objects = _objects(form)
        found = await answered(
            request, lambda matcher, done: matcher.search(objects, top, on_progress=done)
        )
    request.app.state.metrics.photos("searched" if one.items else "unreadable" for one in found)
    return _json({"photos": [one.to_dict() for one in found]})


@router.post(
    "/v1/report",
    summary="A page with each photo beside the item it is said to show",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    openapi_extra=form_body(
        "The photos that were matched.",
        matches={
            "type": "string",
            "description": "What /v1/match said of them, as it was or revised by hand: JSON.",
            "needed": True,
        },
        views=_VIEWS,
    ),
)
async def report(request: Request) -> Response:
    """As `embed match --report`; one file, which needs no other and no network."""
    async with form_of(request, "matches", "views") as form:
        try:
            document = MatchesDocument.model_validate_json(form.text("matches"))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            what = in_one_line(f"{where}: {first['msg']}")
            raise RefusedError(422, f"expected 'matches' as /v1/match gives it: {what}") from None
        objects, matches = _objects(form), document.to_matches()
        if len(matches) != len(objects):
            raise RefusedError(
                422, f"expected a match for each of {len(objects)} photos, found {len(matches)}"
            )
        content = await answered(
            request, lambda matcher, done: _page(matcher, matches, objects, done)
        )
    headers = {"Content-Disposition": 'attachment; filename="report.html"'}
    return Response(content, media_type="text/html", headers=headers)


def _page(
    matcher: Matcher, matches: Matches, objects: Sequence[bytes | Views], done: Progress
) -> bytes:
    info = matcher.store.info
    missing = {item_id: max(pieces, 1) for item_id, pieces in matches.missing.items()}
    facts = [made(), ("Index", f"of {info.created}"), ("Model", info.fingerprint[:12])]
    pieces = report_pieces(matches, missing, objects, matcher.store, facts, 1, done)
    return "".join(pieces).encode(errors="replace")


def _objects(form: Form) -> list[bytes | Views]:
    """The photos, or objects of as many as `views` says."""
    count = whole(form.fields, "views", 1, 1000)
    if count is None or count == 1:
        return list(form.photos)
    if len(form.photos) % count:
        raise RefusedError(
            422, f"expected photos of objects with {count} each, found {len(form.photos)} photos"
        )
    starts = range(0, len(form.photos), count)
    return [
        Views(f"photos {start + 1} to {start + count}", tuple(form.photos[start : start + count]))
        for start in starts
    ]


def _json(document: object) -> Response:
    return Response(json_text(document, None), media_type="application/json")
