"""Training on several hosts: who the workers are, and how they meet before the engine starts.

TensorFlow's own start waits for the others without end, says nothing and cannot be stopped, and
does not look at whether all were given the same to do. So workers meet here first.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from embedder.errors import TrainingError, in_one_line

VARIABLE = "TF_CONFIG"
_EXPECTED = (
    'expected {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_LONGEST = 10_000  # bytes of what a worker says of itself
_PATIENCE = 10.0  # seconds for a peer that is connected
_BETWEEN = 0.3  # seconds between looks for one that is not


@dataclass(frozen=True)
class Workers:
    """The workers of a training, of which this process is one.

    Attributes:
        addresses: HOST:PORT of each.
        number: of this one, from 0. Number 0 writes checkpoints and the model.
    """

    addresses: tuple[str, ...]
    number: int

    def name(self, number: int) -> str:
        """How messages call a worker."""
        return f"worker {number} ({self.addresses[number]})"


def workers_from_environment() -> Workers | None:
    """What TF_CONFIG says, as TensorFlow and the managers of clusters use it; None without others.

    Raises:
        TrainingError: it is not as expected.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        given = json.loads(text)
        cluster, task = given["cluster"], given["task"]
        kinds = {kind: list(addresses) for kind, addresses in cluster.items() if addresses}
        place = (task["type"], task["index"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_as_expected(text) from error
    if not kinds.keys() <= {"chief", "worker"}:
        raise TrainingError(
            f"{VARIABLE}: expected workers, and perhaps a chief, found {', '.join(sorted(kinds))}: "
            "all train alike here; leave the others out"
        )
    chiefs, others = kinds.get("chief", []), kinds.get("worker", [])
    places = [("chief", at) for at in range(len(chiefs))]
    places += [("worker", at) for at in range(len(others))]
    addresses = [*chiefs, *others]
    if place not in places or len(set(map(str, addresses))) < len(addresses) or len(chiefs) > 1:
        raise _not_as_expected(text)
    for address in addresses:
        _split(address)
    return Workers(tuple(addresses), places.index(place)) if len(addresses) > 1 else None


def _not_as_expected(found: str) -> TrainingError:
    return TrainingError(
        f"{VARIABLE}: {_EXPECTED}, another index for each worker, found {in_one_line(found)}"
    )


def _split(address: Any) -> tuple[str, int]:
    host, _, port = str(address).rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise TrainingError(f"{VARIABLE}: expected HOST:PORT, found '{in_one_line(address)}'")
    return host.strip("[]"), int(port)


def meet(
    workers: Workers,
    alike: dict[str, str],
    parcel: bytes,
    on_waiting: Callable[[list[str]], None] = lambda missing: None,
) -> bytes:
    """Wait until all workers are there, have the same to do, and have what worker 0 gives them.

    The addresses are those that the engine uses afterwards. Nothing is encrypted, as nothing is
    in the engine.

    Args:
        workers: all of them.
        alike: what must be the same for each, by name.
        parcel: what worker 0 gives to the others.
        on_waiting: called with the names of those that are missing, whenever they are others.

    Returns:
        The parcel of worker 0.

    Raises:
        TrainingError: a worker has something else to do; this one cannot listen at its address.
    """
    if workers.number:
        return _join(workers, alike, on_waiting)
    _gather(workers, alike, parcel, on_waiting)
    return parcel


def _gather(
    workers: Workers,
    alike: dict[str, str],
    parcel: bytes,
    on_waiting: Callable[[list[str]], None],
) -> None:
    port = _split(workers.addresses[0])[1]
    with ExitStack() as stack:
        try:
            listening = stack.enter_context(socket.create_server(("", port)))
        except OSError as error:
            raise TrainingError(
                f"{workers.name(0)}: cannot listen at its port: {error.strerror}: end what uses "
                f"it, or name another in {VARIABLE} everywhere"
            ) from error
        listening.settimeout(_BETWEEN)
        there: dict[int, tuple[socket.socket, dict[str, str]]] = {}
        said: list[str] | None = None
        while len(there) < len(workers.addresses) - 1:
            missing = [
                workers.name(at) for at in range(1, len(workers.addresses)) if at not in there
            ]
            if missing != said:
                on_waiting(missing)
                said = missing
            with suppress(OSError):
                peer = stack.enter_context(listening.accept()[0])
                if (hello := _hello(peer, len(workers.addresses))) is not None:
                    there[hello[0]] = (peer, hello[1])
            there = {at: one for at, one in there.items() if not _gone(one[0])}
        others = {at: found for at, (_, found) in there.items()}
        refusal = _differing(workers, alike, others)
        for peer, _ in there.values():
            answer = json.dumps({"refusal": refusal, "bytes": len(parcel)}).encode()
            peer.settimeout(None)
            with suppress(OSError):  # who is lost here is missed by the engine
                peer.sendall(answer + b"\n" + (b"" if refusal else parcel))
    if refusal:
        raise TrainingError(refusal)


def _hello(peer: socket.socket, count: int) -> tuple[int, dict[str, str]] | None:
    """What a worker says of itself; None for anything that is no worker."""
    peer.settimeout(_PATIENCE)
    try:
        with peer.makefile("rb") as file:
            said = json.loads(file.readline(_LONGEST))
        number, alike = said["worker"], said["alike"]
        known = type(number) is int and 0 < number < count and isinstance(alike, dict)
        return (number, alike) if known else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _gone(peer: socket.socket) -> bool:
    """Whether a worker that waits for an answer was stopped: it says no more unless it ends."""
    peer.settimeout(0)
    try:
        return not peer.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _differing(
    workers: Workers, alike: dict[str, str], others: dict[int, dict[str, str]]
) -> str | None:
    for number, found in sorted(others.items()):
        for what, value in alike.items():
            if found.get(what) != value:
                return (
                    f"{workers.name(number)} has other {what} than {workers.name(0)}: give each "
                    "worker the same command, photos and versions"
                )
    return None


def _join(
    workers: Workers, alike: dict[str, str], on_waiting: Callable[[list[str]], None]
) -> bytes:
    hello = json.dumps({"worker": workers.number, "alike": alike}).encode() + b"\n"
    on_waiting([workers.name(0)])
    while True:
        try:
            with socket.create_connection(_split(workers.addresses[0]), _PATIENCE) as peer:
                peer.settimeout(None)
                peer.sendall(hello)
                with peer.makefile("rb") as file:
                    answer = json.loads(file.readline(_LONGEST))
                    parcel = file.read(answer["bytes"]) if not answer["refusal"] else b""
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(_BETWEEN)  # it is not there yet, was started anew, or is something else
            continue
        if answer["refusal"]:
            raise TrainingError(answer["refusal"])
        if len(parcel) == answer["bytes"]:
            return parcel
