"""What a request is refused for: a status and one line."""

from __future__ import annotations

from collections.abc import Mapping

RETRY_AFTER = 1  # seconds


class RefusedError(Exception):
    """A request that is not answered as it was asked.

    Attributes:
        status: of HTTP.
        message: one line: what was expected, what was found, what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def busy(what: str) -> RefusedError:
    """The refusal where there is too much to do: it is worth trying again soon."""
    return RefusedError(503, f"{what}: try again in a moment", {"Retry-After": str(RETRY_AFTER)})


def too_many() -> RefusedError:
    """The refusal where as many requests wait as may."""
    return busy("as many requests are waiting as may")
