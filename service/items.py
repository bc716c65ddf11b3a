"""`/v1/items`, `/v1/pictures` and `/v1/index`: what the index has, and changing that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Depends, Request, Response

from cli.report_pictures import shrunk
from embedder.catalogue import is_listable, same_form
from embedder.errors import ModelError, PhotoError
from index import AddReport, Matcher, add_item, remove_items
from service.documents import (
    AddedDocument,
    IndexDocument,
    ItemDocument,
    RemovedDocument,
    UnreadableDocument,
    form_body,
)
from service.refusals import RefusedError, busy
from service.requests import Progress, answered, engine_of, form_of, yes
from service.tokens import reader, writer

router = APIRouter(tags=["items"])

_SIDE = 240  # pixels of a picture's longer side
_MOST_AT_ONCE = 64  # small requests on threads


@router.get("/v1/index", dependencies=[Depends(reader)], summary="The index, and what may be sent")
async def index(request: Request) -> IndexDocument:
    """What a client wants to know before it sends photos."""
    engine = engine_of(request)
    settings = engine.settings
    return IndexDocument(
        items=engine.generation.items,
        created=engine.generation.matcher.store.info.created,
        photos_at_most=settings.photos,
        photo_bytes=settings.photo_bytes,
        body_bytes=settings.body_bytes,
        writable=settings.write_token is not None,
    )


@router.get("/v1/items/{item_id:path}", dependencies=[Depends(reader)], summary="An item")
async def item(request: Request, item_id: str) -> ItemDocument:
    """How many photos it is of, and how alike they are."""

    def read(matcher: Matcher) -> ItemDocument:
        known = _known(matcher, item_id)
        row = matcher.store.statistics([known])[known]
        added = known in matcher.store.added([known])
        return ItemDocument(
            item_id=known, photos=row.photos, dispersion=round(row.dispersion, 6), added=added
        )

    with _few(request), engine_of(request).used() as matcher:
        return await asyncio.to_thread(read, matcher)


@router.get(
    "/v1/pictures/{item_id:path}",
    dependencies=[Depends(reader)],
    summary="A small picture of an item",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def picture(request: Request, item_id: str) -> Response:
    """One of its photos in the catalogue, where that is still there."""

    def read(matcher: Matcher) -> bytes:
        known = _known(matcher, item_id)
        place = matcher.store.references([known])[known]
        try:
            return shrunk(place, _SIDE)[0]
        except PhotoError as error:
            raise RefusedError(
                404, f"expected a picture of '{known}', found none: {error.reason}"
            ) from None

    with _few(request), engine_of(request).used() as matcher:
        content = await asyncio.to_thread(read, matcher)
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(content, media_type="image/jpeg", headers=headers)


@router.post(
    "/v1/items",
    dependencies=[Depends(writer)],
    status_code=201,
    summary="Add an item",
    openapi_extra=form_body(
        "Photos of it.",
        item_id={"type": "string", "minLength": 1, "example": "sku-81", "needed": True},
        replace={"type": "boolean", "default": False, "description": "Whether it may be there."},
    ),
)
async def add(request: Request) -> AddedDocument:
    """As `embed add`: the next request finds it. Its photos are not kept."""
    async with form_of(request, "item_id", "replace") as form:
        item_id, replace = form.text("item_id"), yes(form.fields, "replace")
        path, photos = engine_of(request).settings.index, form.photos

        def run(matcher: Matcher, done: Progress) -> AddReport:
            known = same_form(item_id)
            if is_listable(known) and not replace and matcher.store.has(known):
                raise RefusedError(
                    409, f"expected a new item, found '{known[:200]}' in the index: replace it"
                )
            try:
                return add_item(
                    path, matcher.embedder, item_id, photos, replace=replace, on_progress=done
                )
            except ModelError:
                raise busy("the index has just been built with another model") from None

        report = await answered(request, run)
    await asyncio.to_thread(engine_of(request).refresh)
    unreadable = [
        UnreadableDocument(photo=one.photo, reason=one.reason) for one in report.unreadable
    ]
    return AddedDocument(photos=report.photos, unreadable=unreadable, replaced=report.replaced)


@router.delete("/v1/items/{item_id:path}", dependencies=[Depends(writer)], summary="Remove an item")
async def remove(request: Request, item_id: str) -> RemovedDocument:
    """As `embed remove`: an item of the catalogue comes back when the index is built again."""
    engine = engine_of(request)
    async for _ in request.stream():  # what it may send says nothing
        pass

    def run(matcher: Matcher, done: Progress) -> int:
        return remove_items(engine.settings.index, [_known(matcher, item_id)])

    removed = await answered(request, run)
    await asyncio.to_thread(engine.refresh)
    return RemovedDocument(removed=removed)


def _known(matcher: Matcher, item_id: str) -> str:
    known = same_form(item_id)
    if not is_listable(known) or not matcher.store.has(known):
        raise RefusedError(404, f"no such item: '{known[:200]}'")
    return known


@contextmanager
def _few(request: Request) -> Iterator[None]:
    """A place among the small requests that wait for threads."""
    state = request.app.state
    if state.small >= _MOST_AT_ONCE:
        raise busy(f"{state.small} requests are waiting already")
    state.small += 1
    try:
        yield
    finally:
        state.small -= 1
