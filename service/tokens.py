"""Who may ask, and who may write."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.refusals import RefusedError
from service.requests import engine_of
from service.settings import is_token

Given = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="The token the server was started with.")),
]


async def reader(request: Request, given: Given) -> None:
    """Refuse who does not bear the token, where there is one.

    Raises:
        RefusedError: there is another, or none.
    """
    settings = engine_of(request).settings
    token = given.credentials if given else ""
    wanted = [one for one in (settings.token, settings.write_token) if one is not None]
    # All are compared, whether or not one fits.
    if settings.token is not None and not any([is_token(token, one) for one in wanted]):
        raise _unauthorised("the token")


async def writer(request: Request, given: Given) -> None:
    """Refuse who does not bear the token for writing.

    Raises:
        RefusedError: there is another or none, or nobody may write.
    """
    wanted = engine_of(request).settings.write_token
    if wanted is None:
        raise RefusedError(
            403, "adding and removing items is not enabled: start with a write token"
        )
    if not is_token(given.credentials if given else "", wanted):
        raise _unauthorised("the token for writing")


def _unauthorised(what: str) -> RefusedError:
    wanted = {"WWW-Authenticate": "Bearer"}
    return RefusedError(
        401, f"expected {what} as 'Authorization: Bearer ...', found another", wanted
    )
