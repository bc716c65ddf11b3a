"""From a request to what it asks for: its form, its options, and whether its client is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from index import Matcher
from service.engine import Engine, GoneError
from service.forms import Form, Memory, read_form
from service.refusals import RefusedError

Result = TypeVar("Result")
Progress = Callable[[int, int], None]


def engine_of(request: Request) -> Engine:
    """The engine of the application that is asked."""
    engine: Engine = request.app.state.engine
    return engine


@asynccontextmanager
async def form_of(request: Request, *fields: str) -> AsyncIterator[Form]:
    """The form that a request sends, in memory; it is forgotten afterwards.

    Args:
        request: that is asked.
        fields: what it may have besides photos, each once.

    Raises:
        RefusedError: it is none, is too large, comes too slowly, or there is no room for it.
    """
    settings, memory = engine_of(request).settings, request.app.state.memory
    assert isinstance(memory, Memory)
    form = Form()
    names = {"photos": settings.photos, **dict.fromkeys(fields, 1)}
    try:
        kind = request.headers.get("content-type", "")
        with engine_of(request).coming():
            await read_form(kind, request.stream(), names, settings.photo_bytes, memory, form)
        if not form.photos:
            raise RefusedError(422, "expected one part 'photos' or more, found none")
        yield form
    finally:
        memory.give_back(form.held)


async def answered(
    request: Request, function: Callable[[Matcher, Progress], Result], search: bool = False
) -> Result:
    """Do what a request asks for, unless its client goes before; all of the request was read.

    Raises:
        RefusedError: as many requests wait as may.
        ClientDisconnect: it has gone.
    """
    gone = threading.Event()
    work = asyncio.ensure_future(engine_of(request).work(function, gone, search))
    listening = asyncio.ensure_future(request.receive())  # all was read: what comes is its end
    try:
        await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            gone.set()
        return await work
    except GoneError:
        raise ClientDisconnect from None
    finally:
        if not work.done():
            gone.set()  # the server ends
        listening.cancel()


def number(fields: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    """A field that is a number; None where there is none.

    Raises:
        RefusedError: it is no number, or out of range.
    """
    if not fields.get(name, "").strip():
        return None
    text = fields[name].strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise RefusedError(
            422, f"expected '{name}' from {least:g} to {most:g}, found {text[:50]!r}"
        )
    return value


def whole(fields: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """A field that is a whole number; None where there is none.

    Raises:
        RefusedError: it is none, or out of range.
    """
    value = number(fields, name, least, most)
    if value is not None and value != int(value):
        raise RefusedError(422, f"expected '{name}' as a whole number, found {value:g}")
    return None if value is None else int(value)


def yes(fields: Mapping[str, str], name: str) -> bool:
    """A field that is `true` or `false`, which it is where there is none.

    Raises:
        RefusedError: it is something else.
    """
    text = fields.get(name, "").strip().lower()
    if text not in ("", "true", "false"):
        raise RefusedError(422, f"expected '{name}' as true or false, found {text[:50]!r}")
    return text == "true"
