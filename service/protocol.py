"""What uvicorn leaves open: how long, and how large, a head may be, and who does not read."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.guard import HEADERS, QUIET_SECONDS, SLOWEST

_BYTES = 65_536

# Strangers could fill a log with what it warns of.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class Protocol(HttpToolsProtocol):
    """Drops who does not say what he wants, or does not read: a connection costs memory."""

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _unread = 0  # bytes, when that was last looked at
    _head = 0  # bytes that are none of a body, since the last that were
    _in_head = True

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
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Its head is there; its body is the guard's matter."""
        self._stop()
        self._in_head, self._head = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body came."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is there as a whole: what comes now is the head of the next."""
        super().on_message_complete()
        self._in_head, self._head = True, 0

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
        content = json.dumps({"error": "expected a request of HTTP/1.1, found other bytes"})
        lines = [
            "HTTP/1.1 400 Bad Request",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in HEADERS.items()),
        ]
        self.transport.write("\r\n".join([*lines, "", content]).encode())
        self.transport.close()

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
