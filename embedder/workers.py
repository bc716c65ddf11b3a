"""Training on several hosts: who the workers are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from embedder.errors import TrainingError, in_one_line

VARIABLE = "TF_CONFIG"
_EXPECTED = (
    'expected {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


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

    def place(self, number: int) -> tuple[str, int]:
        """The host and port of a worker."""
        return _split(self.addresses[number])

    @property
    def variable(self) -> str:
        """What the engine is told of these, as TF_CONFIG; all are of one kind."""
        task = {"type": "worker", "index": self.number}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


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
    # TensorFlow's server does not listen at addresses of IPv6.
    known = host and ":" not in host and port.isascii() and port.isdigit()
    if not (known and 0 < int(port) < 65536):
        raise TrainingError(
            f"{VARIABLE}: expected HOST:PORT, with a name or an IPv4 address, found "
            f"'{in_one_line(address)}'"
        )
    return host, int(port)
