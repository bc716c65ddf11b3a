"""The application: its routes, its page, and what it says where something is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from embedder.errors import CandidateError, CatalogueError, EmbedError, IndexBusyError, in_one_line
from embedder.version import __version__
from service import items, matching
from service.documents import ErrorDocument
from service.engine import Engine
from service.forms import Memory
from service.guard import Guard
from service.metrics import Counted, Metrics
from service.refusals import RefusedError, busy
from service.settings import Settings
from service.tokens import reader

_LOG = logging.getLogger("embed.serve")
_PAGE = Path(__file__).with_name("page")
_PAGES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/page.js": ("page.js", "text/javascript"),
    "/photos.js": ("photos.js", "text/javascript"),
    "/results.js": ("results.js", "text/javascript"),
    "/revise.js": ("revise.js", "text/javascript"),
    "/server.js": ("server.js", "text/javascript"),
}
_REFUSALS = {
    400: "What was sent cannot be read.",
    401: "No token, or another.",
    403: "Nobody may do that here.",
    404: "There is no such item.",
    408: "It came too slowly.",
    409: "The item is there already.",
    413: "It is larger than it may be.",
    415: "It is of another type.",
    422: "What was asked for cannot be: the line says why.",
    500: "The index is damaged; whoever runs the server sees how in its log.",
    503: "There is too much to do: try again after the seconds of Retry-After.",
}


def create_app(settings: Settings, only_loopback: bool = False) -> FastAPI:
    """The application of one index, with its threads running.

    Args:
        settings: what it is told.
        only_loopback: whether requests must name this machine as their host.

    Raises:
        EmbedError: the index or the model cannot be opened.
    """
    engine, memory = Engine(settings), Memory(settings.memory)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(engine.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        engine.close()

    app = FastAPI(
        title="embed",
        summary="Which item is in the photo?",
        version=__version__,
        docs_url=None,  # they would be scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # they would lead to whatever host a request names
        lifespan=lifespan,
        responses={
            status: {"model": ErrorDocument, "description": what}
            for status, what in _REFUSALS.items()
        },
    )
    app.state.engine, app.state.memory, app.state.small = engine, memory, 0
    app.state.metrics = metrics = Metrics(engine, memory)
    _add_errors(app)
    _add_pages(app)
    app.include_router(matching.router)
    app.include_router(items.router)
    app.add_middleware(Guard, body_bytes=settings.body_bytes, only_loopback=only_loopback)
    app.add_middleware(Counted, metrics=metrics)
    return app


def _add_errors(app: FastAPI) -> None:
    """Every error is one line of JSON."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        # Where the index is, is nobody's business but that of who runs the server.
        message = error.message.replace(f"{app.state.engine.settings.index}: ", "")
        return JSONResponse({"error": in_one_line(message, 2000)}, error.status, error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, IndexBusyError):
            return await refused(request, busy("the index is being written"))
        if isinstance(error, CandidateError | CatalogueError):
            return await refused(request, RefusedError(422, str(error)))
        _LOG.error("%s", error)
        return await refused(
            request, RefusedError(500, "the index or the model cannot be read now")
        )

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await refused(
            request, RefusedError(error.status_code, f"{error.detail}".lower(), error.headers)
        )

    async def invalid(request: Request, error: Exception) -> Response:
        return await refused(request, RefusedError(422, in_one_line(error)))

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(EmbedError, failed)
    app.add_exception_handler(HTTPException, known)
    app.add_exception_handler(RequestValidationError, invalid)


def _add_pages(app: FastAPI) -> None:
    """The page, and what tells other programs how the service is."""

    def sent(name: str, kind: str) -> Callable[[], Response]:
        headers = {"Cache-Control": "no-cache"}
        return lambda: FileResponse(_PAGE / name, media_type=kind, headers=headers)

    for place, (name, kind) in _PAGES.items():
        app.get(place, include_in_schema=False, response_class=Response)(sent(name, kind))

    @app.get("/healthz", tags=["operation"], summary="Whether it runs")
    async def healthz() -> dict[str, bool]:
        return {"running": True}

    @app.get("/readyz", tags=["operation"], summary="Whether it answers, and with which index")
    async def readyz() -> dict[str, str | int | bool]:
        generation = app.state.engine.generation
        return {
            "ready": True,
            "items": generation.items,
            "searchable": app.state.engine.searchable,
            "stale": app.state.engine.trouble is not None,
        }

    @app.get(
        "/metrics",
        dependencies=[Depends(reader)],
        tags=["operation"],
        summary="Counts, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        return Response(app.state.metrics.text(), media_type="text/plain; version=0.0.4")
