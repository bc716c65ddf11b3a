"""What holds for every request, whatever is asked: sizes, times, hosts and headers of answers."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.refusals import RefusedError
from service.settings import is_loopback

_LOG = logging.getLogger("embed.serve")

QUIET_SECONDS = 10.0  # without a byte, in either direction
SLOWEST = 20_000  # bytes a second, on average, after the first seconds
DRAINED_BYTES = 8_000_000  # of what is sent on after it was refused
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def longest(count: int) -> float:
    """Seconds in which so many bytes of a body have to be there."""
    return QUIET_SECONDS + count / SLOWEST


class Guard:
    """An ASGI middleware.

    Attributes:
        body_bytes: the most of a request's body.
        only_loopback: whether requests must name this machine as their host: otherwise a page from
            elsewhere, whose name was made to lead here, could ask in its reader's browser.
    """

    def __init__(self, app: ASGIApp, body_bytes: int, only_loopback: bool) -> None:
        self._app = app
        self.body_bytes = body_bytes
        self.only_loopback = only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = _Body(receive, self.body_bytes)
        body.ended = not {"content-length", "transfer-encoding"} & set(headers)
        answer = _Answer(send, body)
        try:
            self._refuse(headers)
            await self._answer(scope, body.receive, answer.send)
        except RefusedError as refused:
            if not answer.began:
                refusal = JSONResponse({"error": refused.message}, refused.status, refused.headers)
                await refusal(scope, body.receive, answer.send)
        except ClientDisconnect:
            pass

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except (RefusedError, ClientDisconnect):
            raise
        except Exception:
            _LOG.exception("a request failed, as none should")
            raise RefusedError(500, "the server failed: its log says how") from None

    def _refuse(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.body_bytes:
            raise too_large(self.body_bytes)
        host = re.sub(r":[0-9]*$", "", headers.get("host", ""))
        if self.only_loopback and not is_loopback(host):
            raise RefusedError(
                400,
                "expected a request to localhost, found another host: a server without a token "
                "answers only this machine",
            )


def too_large(most: int) -> RefusedError:
    """The refusal of a body that is larger than it may be."""
    return RefusedError(413, f"expected at most {most:,} bytes, found more: send fewer photos")


class _Body:
    """A request's body as it comes: counted, and not waited for without end."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._began = asyncio.get_running_loop().time()
        self._count = 0
        self.ended = False  # or there is none, or no more of it is waited for

    async def receive(self) -> Message:
        if self.ended:  # what is left to hear of is that the client goes
            return await self._receive()
        now = asyncio.get_running_loop().time()
        until = self._began + longest(self._count)
        try:
            async with asyncio.timeout(min(QUIET_SECONDS, max(until - now, 0))):
                message = await self._receive()
        except TimeoutError:
            self.ended = True
            raise RefusedError(
                408,
                "expected the rest of the request, found none in time: it came too slowly",
                {"Connection": "close"},
            ) from None
        self._count += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._count > self._most:
            raise too_large(self._most)
        return message

    async def drain(self) -> None:
        """Read on for a while and forget it: who is refused while sending would not hear of it."""
        self._most = self._count + DRAINED_BYTES
        with suppress(RefusedError):
            while not self.ended:
                await self.receive()


class _Answer:
    """An answer: with our headers, and not written without end to who does not read."""

    def __init__(self, send: Send, body: _Body) -> None:
        self._send, self._body = send, body
        self.began = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if not self._body.ended:
                headers["Connection"] = "close"
        elif not message.get("more_body", False) and not self._body.ended:
            # It was answered before it was read. It is read now, after all of the answer but its
            # formal end was written.
            await self._write({**message, "more_body": True})
            await self._body.drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._write(message)

    async def _write(self, message: Any) -> None:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None
