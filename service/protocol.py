"""What uvicorn leaves open: how long, and how large, a head may be, and who does not read.

And what has to be quick: where there is too much to do, a request with photos is refused here. To
call the application for it would take longer, and many come then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.guard import DRAINED_BYTES, HEADERS, QUIET_SECONDS, SLOWEST, longest
from service.refusals import RefusedError, too_many

_BYTES = 65_536
_FULL = too_many()
_NO_HTTP = RefusedError(400, "expected a request of HTTP/1.1, found other bytes")

# Strangers could fill a log with what it warns of.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class Protocol(HttpToolsProtocol):
    """Drops who does not say what he wants, or does not read: a connection costs memory."""

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _unread = 0  # bytes, when that was last looked at
    _head = 0  # bytes that are none of a body, since the last that were
    _in_head = True
    _unwanted: int | None = None  # bytes so far of the body of a request that was refused
    _refused_at = 0.0
    _goes_on = True  # after a refusal, with the next request

    def connection_made(self, transport: Any) -> None:
        """A client came: it has to ask for something soon."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # to hear of whatever the client has not taken
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came; a head of too many is not read on, nor what may follow a body."""
        self._head += len(data)
        if self._in_head and self._timer is None and self._is_idle():
            self._wait_for_head()  # empty lines are no request, but uvicorn waits on for one
        super().data_received(data)
        if self._head > _BYTES:
            self._drop()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._unset_keepalive_if_required()  # it may be in one piece with the end of the last
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Its head is there: it is refused at once, or its body is the guard's matter."""
        self._stop()
        self._in_head, self._head = False, 0
        if self.transport.is_closing():  # it was in one piece with what was refused
            self._unwanted = 0
        elif self._is_too_much():
            self._refuse()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body came."""
        self._head = 0
        if self._unwanted is None:
            super().on_body(body)
            return
        # Who is refused while sending would not hear of it if nobody read on.
        self._unwanted += len(body)
        took = self.loop.time() - self._refused_at
        self._wait_for_head()
        if self._unwanted > DRAINED_BYTES or took > longest(self._unwanted):
            self._drop()

    def on_message_complete(self) -> None:
        """It is there as a whole: what comes now is the head of the next."""
        self._in_head, self._head = True, 0
        if self._unwanted is None:
            super().on_message_complete()
            return
        self._unwanted = None
        self._stop()
        if self._goes_on:
            self.on_response_complete()
        else:
            self._drop()

    def pause_writing(self) -> None:
        """The client does not read what it asked for; it has to go on soon."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """It read nearly all."""
        self._stop_reading()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop()
        self._stop_reading()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What was sent is no HTTP; as for every other error, the answer is one line of JSON."""
        if self._unwanted is None:  # otherwise it was answered
            self._write(_NO_HTTP, False)
        self.transport.close()

    def _is_too_much(self) -> bool:
        """Whether it is refused now; where connections are too many, uvicorn does that."""
        plain = self.parser.get_method() == b"POST" and not self.parser.should_upgrade()
        room = len(self.connections) < (self.limit_concurrency or math.inf)
        return plain and room and self._is_idle() and self._state.engine.full

    def _refuse(self) -> None:
        """Answer without the application, and forget what the client goes on to send."""
        self._state.metrics.request("other", _FULL.status, 0.0)
        lasting = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self._goes_on = lasting and not self.expect_100_continue
        self._write(_FULL, self._goes_on)
        self._unwanted, self._refused_at = 0, self.loop.time()
        self._wait_for_head()
        if self.flow.write_paused:  # the client asks for more and reads nothing
            self.transport.abort()
        elif self.expect_100_continue:  # what comes next may be a body or not
            self._drop()

    @property
    def _state(self) -> Any:
        return self.config.app.state  # type: ignore[union-attr]

    def _write(self, refused: RefusedError, goes_on: bool) -> None:
        known = tuple(self.server_state.default_headers)
        self.transport.write(_as_bytes(refused, known, goes_on))

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(QUIET_SECONDS, self._drop)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(QUIET_SECONDS, self._look_at_reader)

    def _look_at_reader(self) -> None:
        read = self._unread - self.transport.get_write_buffer_size()
        if read < QUIET_SECONDS * SLOWEST:
            self._reading = None
            self.transport.abort()  # to close it would wait for the reader
        else:
            self._wait_for_reader()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _drop(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


@lru_cache(16)
def _as_bytes(
    refused: RefusedError, known: tuple[tuple[bytes, bytes], ...], goes_on: bool
) -> bytes:
    content = json.dumps({"error": refused.message})
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        *(f"{name.decode()}: {value.decode()}" for name, value in known),
        *(f"{name}: {value}" for name, value in {**HEADERS, **refused.headers}.items()),
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *([] if goes_on else ["Connection: close"]),
    ]
    return "\r\n".join([*lines, "", content]).encode()
