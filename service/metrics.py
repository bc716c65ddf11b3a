"""What a service counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine import Engine
from service.forms import Memory

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts of one application."""

    def __init__(self, engine: Engine, memory: Memory) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "embed_requests", "Requests that were answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "embed_request_seconds",
            "Time to answer, from the head of a request.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._photos = Counter("embed_photos", "Photos or objects.", ["status"], registry=registry)
        for name, what, value in (
            ("waiting", "Requests that are worked on or wait.", lambda: engine.waiting),
            ("bytes_held", "Bytes of requests in memory.", lambda: memory.held),
            ("index_items", "Items of the index.", lambda: engine.generation.items),
            ("index_opened", "How often the index was opened.", lambda: engine.opened),
            ("index_stale", "1 if a changed index cannot be used.", lambda: bool(engine.trouble)),
        ):
            Gauge(f"embed_{name}", what, registry=registry).set_function(value)

    def photos(self, statuses: Iterable[str]) -> None:
        """Count photos by what was said of them."""
        for status in statuses:
            self._photos.labels(status).inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request; routes are few, whatever is asked for."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All counts, in the format of Prometheus."""
        return generate_latest(self._registry)


class Counted:
    """An ASGI middleware that counts each request by its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.request(path, status, time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
