"""`/v1/match`, `/v1/search` and `/v1/report`: what is said of photos."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from cli.output import json_text
from cli.page import made
from cli.report import report_pieces
from embedder.errors import in_one_line
from index import Found, Matcher, Matches, Views, read_candidates
from index.describing import MAX_ERROR
from service.documents import MatchesDocument, SearchDocument, form_body
from service.forms import Form
from service.refusals import RefusedError
from service.requests import Progress, answered, engine_of, form_of, number, whole, yes
from service.tokens import reader

router = APIRouter(dependencies=[Depends(reader)], tags=["photos"])

_one_at_a_time = threading.Lock()  # reports: photos are decoded larger for them than for a match

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

        def run(matcher: Matcher, on_progress: Progress) -> tuple[Matches, str]:
            found = matcher.match(
                objects,
                read_candidates(io.BytesIO(listed), matcher.store.has),
                independent=independent,
                unknown=unknown,
                max_error=MAX_ERROR if max_error is None else max_error,
                on_progress=on_progress,
            )
            return found, json_text(found.to_dict(), None)

        found, text = await answered(request, run)
    request.app.state.metrics.photos(one.status for one in found)
    return _json(text)


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
    engine_of(request).refuse_unsearchable()
    async with form_of(request, "top", "views") as form:
        top = whole(form.fields, "top", 1, 1000) or 10
        objects = _objects(form)

        def run(matcher: Matcher, on_progress: Progress) -> tuple[list[Found], str]:
            found = matcher.search(objects, top, on_progress=on_progress)
            return found, json_text({"photos": [one.to_dict() for one in found]}, None)

        found, text = await answered(request, run, search=True)
    request.app.state.metrics.photos("searched" if one.items else "unreadable" for one in found)
    return _json(text)


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
        text, objects = form.text("matches"), _objects(form)
        most = engine_of(request).settings.pixels

        def run(matcher: Matcher, on_progress: Progress) -> bytes:
            matches = _matches(text, len(objects))
            with _one_at_a_time:
                return _page(matcher, matches, objects, most, on_progress)

        content = await answered(request, run)
    headers = {"Content-Disposition": 'attachment; filename="report.html"'}
    return Response(content, media_type="text/html", headers=headers)


def _matches(text: str, count: int) -> Matches:
    """What a client says of so many photos or objects."""
    try:
        document = MatchesDocument.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        what = in_one_line(f"{where}: {first['msg']}")
        raise RefusedError(422, f"expected 'matches' as /v1/match gives it: {what}") from None
    if len(document.matches) != count:
        found = len(document.matches)
        raise RefusedError(422, f"expected a match for each of {count} photos, found {found}")
    return document.to_matches()


def _page(
    matcher: Matcher,
    matches: Matches,
    objects: Sequence[bytes | Views],
    most: int,
    done: Progress,
) -> bytes:
    info = matcher.store.info
    missing = {item_id: max(pieces, 1) for item_id, pieces in matches.missing.items()}
    facts = [made(), ("Index", f"of {info.created}"), ("Model", info.fingerprint[:12])]
    pieces = report_pieces(matches, missing, objects, matcher.store, facts, 1, done, most)
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


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
