"""How the workers of a training meet, before TensorFlow's engine starts.

Its own start waits for the others without end, says nothing and cannot be stopped, and does not
look at whether all were given the same to do. So workers meet here first, at the addresses that the
engine uses afterwards. As there, nothing is encrypted.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from embedder.errors import TrainingError
from embedder.workers import VARIABLE, Workers

Alike = dict[str, str]

_LONGEST = 10_000  # bytes of what a worker says of itself
_SOON = 5.0  # seconds in which it has to be said
_PATIENCE = 60.0  # seconds for a peer that takes a parcel
_BETWEEN = 0.3  # seconds between looks for one that is not there
_KNOCKING = 100  # strangers at a time
_SIGN = b"."
# Seconds until a host that is gone without a word is missed.
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def meet(
    workers: Workers,
    alike: Alike,
    parcel: bytes,
    on_waiting: Callable[[list[str]], None] = lambda missing: None,
) -> bytes:
    """Wait until all workers are there, have the same to do, and have what worker 0 gives them.

    Args:
        workers: all of them.
        alike: what must be the same for each, by name.
        parcel: what worker 0 gives to the others.
        on_waiting: called with the names of those that are missing, whenever they are others.

    Returns:
        The parcel of worker 0.

    Raises:
        TrainingError: a worker has something else to do, was lost meanwhile, or has the number of
            another; this one cannot listen at its port.
    """
    if workers.number:
        return _join(workers, alike, on_waiting)
    with _Door(workers, on_waiting) as door:
        peers = door.wait()
        refusal = _differing(workers, alike, peers)
        # None goes on before all have what they need: it could not be stopped any more.
        lost = [number for number, peer in peers.items() if not _gave(peer, refusal, parcel)]
        refusal = refusal or (_lost(workers, lost[0]) if lost else None)
        if refusal:
            raise TrainingError(refusal)
        for peer in peers.values():
            with suppress(OSError):  # who is lost now is missed by the engine
                peer.socket.sendall(_SIGN)
    return parcel


@dataclass(eq=False)
class _Peer:
    """Who knocked: a worker, or a stranger.

    Attributes:
        socket: to it.
        until: when it has to have said who it is.
        said: so far.
        alike: what it was given to do, once that is known.
    """

    socket: socket.socket
    until: float
    said: bytearray = field(default_factory=bytearray)
    alike: Alike | None = None


class _Door:
    """Where worker 0 waits for the others.

    Raises:
        TrainingError: it cannot listen at its port.
    """

    def __init__(self, workers: Workers, on_waiting: Callable[[list[str]], None]) -> None:
        self._workers, self._on_waiting = workers, on_waiting
        self._others = range(1, len(workers.addresses))
        self._there: dict[int, _Peer] = {}
        self._knocking: list[_Peer] = []
        self._undo = ExitStack()

    def __enter__(self) -> _Door:
        port = self._workers.place(0)[1]
        try:
            self._door = self._undo.enter_context(socket.create_server(("", port)))
        except OSError as error:
            raise TrainingError(
                f"{self._workers.name(0)}: cannot listen at its port: {error.strerror}: end what "
                f"uses it, or name another in {VARIABLE} everywhere"
            ) from error
        self._door.setblocking(False)
        self._selector = self._undo.enter_context(selectors.DefaultSelector())
        self._selector.register(self._door, selectors.EVENT_READ)
        return self

    def __exit__(self, *exception: object) -> None:
        for peer in (*self._knocking, *self._there.values()):
            peer.socket.close()
        self._undo.close()

    def wait(self) -> dict[int, _Peer]:
        """The others by number, once all are there."""
        said: list[str] | None = None
        while len(self._there) < len(self._others):
            missing = [self._workers.name(at) for at in self._others if at not in self._there]
            if missing != said:
                self._on_waiting(missing)
                said = missing
            ready = [key.data for key, _ in self._selector.select(_BETWEEN)]
            for peer in filter(None, ready):
                self._listen(peer)
            if None in ready:  # the last, as too many who knock push out one that is heard above
                self._open()
            for late in [peer for peer in self._knocking if peer.until < time.monotonic()]:
                self._drop(late)
        for peer in self._there.values():
            self._selector.unregister(peer.socket)
            peer.socket.settimeout(_PATIENCE)
        return dict(sorted(self._there.items()))

    def _open(self) -> None:
        try:
            accepted = self._door.accept()[0]
        except BlockingIOError:
            return
        except OSError:  # too many files are open
            time.sleep(_BETWEEN)
            return
        accepted.setblocking(False)
        _keep_alive(accepted)
        peer = _Peer(accepted, time.monotonic() + _SOON)
        self._selector.register(accepted, selectors.EVENT_READ, peer)
        self._knocking.append(peer)
        if len(self._knocking) > _KNOCKING:
            self._drop(self._knocking[0])

    def _listen(self, peer: _Peer) -> None:
        try:
            found = peer.socket.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            found = b""
        if peer not in self._knocking:  # it waits for an answer, so it has gone
            return self._drop(peer)
        peer.said += found
        if found and b"\n" not in found and len(peer.said) < _LONGEST:
            return
        hello = _parsed(bytes(peer.said))
        number, alike = hello.get("worker"), hello.get("alike")
        if type(number) is not int or number not in self._others or not isinstance(alike, dict):
            return self._drop(peer)
        if number in self._there:
            name = self._workers.name(number)
            _gave(peer, f"{name} is there already: name each worker once", b"")
            return self._drop(peer)
        peer.alike = alike
        self._knocking.remove(peer)
        self._there[number] = peer

    def _drop(self, peer: _Peer) -> None:
        self._selector.unregister(peer.socket)
        peer.socket.close()
        if peer in self._knocking:
            self._knocking.remove(peer)
        self._there = {at: one for at, one in self._there.items() if one is not peer}


def _keep_alive(peer: socket.socket) -> None:
    """Hear of it when the other host has gone without a word."""
    with suppress(OSError):  # it has gone already
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # not on every system
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of JSON; nothing where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _gave(peer: _Peer, refusal: str | None, parcel: bytes) -> bool:
    """Whether a peer has taken its answer."""
    answer = {"refusal": refusal, "bytes": 0 if refusal else len(parcel)}
    try:
        peer.socket.sendall(json.dumps(answer).encode() + b"\n" + (b"" if refusal else parcel))
        return bool(refusal) or peer.socket.recv(1) == _SIGN
    except OSError:
        return False


def _differing(workers: Workers, alike: Alike, peers: dict[int, _Peer]) -> str | None:
    for number, peer in peers.items():
        for what, value in alike.items():
            if (peer.alike or {}).get(what) != value:
                return (
                    f"{workers.name(number)} has other {what} than {workers.name(0)}: give each "
                    "worker the same command, photos and versions"
                )
    return None


def _lost(workers: Workers, number: int) -> str:
    return f"lost {workers.name(number)} while the workers met: start all again"


def _join(workers: Workers, alike: Alike, on_waiting: Callable[[list[str]], None]) -> bytes:
    hello = json.dumps({"worker": workers.number, "alike": alike}).encode() + b"\n"
    on_waiting([workers.name(0)])
    while True:
        with suppress(OSError):  # it is not there yet, or was started anew
            parcel = _parcel_of_first(workers, hello)
            if parcel is not None:
                return parcel
        time.sleep(_BETWEEN)


def _parcel_of_first(workers: Workers, hello: bytes) -> bytes | None:
    """What worker 0 gives, when all are there; None if it is something else that answers."""
    with socket.create_connection(workers.place(0), _PATIENCE) as peer:
        _keep_alive(peer)
        peer.settimeout(None)  # until the last worker comes
        peer.sendall(hello)
        with peer.makefile("rb") as file:
            answer = _parsed(file.readline(_LONGEST))
            if isinstance(answer.get("refusal"), str):
                raise TrainingError(answer["refusal"])
            size = answer.get("bytes")
            if type(size) is not int or not 0 <= size < 1 << 40:
                return None
            parcel = file.read(size)
            if len(parcel) < size:
                return None
            peer.sendall(_SIGN)
            return parcel if file.read(1) == _SIGN else None
