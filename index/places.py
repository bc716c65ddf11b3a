"""Where an index is: a file, or a database that several machines share."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from embedder.errors import IndexFileError

_SCHEMES = ("postgresql://", "postgres://")
_SHOWN = {"host", "port", "dbname", "user", "service"}  # of what can follow the question mark
_HOST = r"(\[[0-9A-Fa-f:.%]*\]|[^:,\[\]]*)(:\d*)?"


@dataclass(frozen=True, repr=False)
class DatabaseUrl:
    """The URL of a PostgreSQL database; as a text it is without the password, to be shown.

    Attributes:
        secret: the URL as it was given.
    """

    secret: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        scheme, _, rest = self.secret.partition("://")
        # Up to the last '@', as it may be in a password that was not escaped.
        login, at, place = rest.rpartition("@")
        hosts, slash, rest = place.partition("/")
        name, _, query = rest.partition("?")
        if "?" in login + hosts or not re.fullmatch(f"{_HOST}(,{_HOST})*", hosts):
            return f"{scheme}://..."  # what of it is a password cannot be told
        known = urlencode([pair for pair in parse_qsl(query) if pair[0] in _SHOWN], safe="/")
        user = re.split("[:/]", login)[0]
        return f"{scheme}://{user}{at}{hosts}{slash}{name}{'?' if known else ''}{known}"


Place = Path | DatabaseUrl
Where = str | os.PathLike[str] | DatabaseUrl


def is_url(text: str) -> bool:
    """Whether a text names a database, not a file."""
    return text.startswith(_SCHEMES)


def place_of(where: Where) -> Place:
    """Where an index is, of what was given.

    Raises:
        IndexFileError: it is a URL that was made a path, which loses a part of it.
    """
    if isinstance(where, DatabaseUrl):
        return where
    text = os.fspath(where)
    if is_url(text):
        return DatabaseUrl(text)
    if re.match(r"(?i)postgres\w*(\+\w+)?:/", text):  # not repeated: a password may be in it
        raise IndexFileError(
            "expected the URL of a database as a text, postgresql://user@host/name, found a path "
            "or another scheme"
        )
    return Path(text)


def local_place(place: Place) -> Path:
    """The index file; of a database the name of one in a folder of this machine.

    Files that go with the index are beside it: what photos gave, and what a search needs. They can
    be deleted at any time.

    Raises:
        IndexFileError: there is no home folder to have one in.
    """
    if isinstance(place, Path):
        return place
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise IndexFileError(
            f"{place}: expected a home folder to keep in what is made of photos, found none: name "
            "another folder in XDG_CACHE_HOME"
        ) from None
    shown = str(place)
    name = re.sub(r"\W+", "-", shown.partition("?")[0].rpartition("/")[2])[:40]
    digest = hashlib.sha256(shown.encode()).hexdigest()[:16]
    return Path(cache) / "embed-match" / f"{name}-{digest}" / "items.index"
