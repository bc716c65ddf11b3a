"""What uvicorn leaves open: how long, and how large, the head of a request may be."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SECONDS = 10.0
_BYTES = 65_536


class Protocol(HttpToolsProtocol):
    """Drops who does not say what he wants: a connection costs memory."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0  # bytes of the head so far
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        """A client came: it has to ask for something soon."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came; a head of too many is not read on."""
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > _BYTES:
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

    def on_message_complete(self) -> None:
        """It is there as a whole: what comes now is the head of the next."""
        super().on_message_complete()
        self._in_head, self._head = True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(_SECONDS, self._drop)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
