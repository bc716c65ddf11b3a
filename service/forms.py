"""Reading a multipart form into memory: each limit holds while it is read, none is trusted.

Nothing is written to disk, and the names that files bear are not looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from embedder.errors import in_one_line
from service.refusals import RefusedError, busy

_FIELD_BYTES = 8_000_000  # a list of candidates can name a whole catalogue


class Memory:
    """How many bytes all requests may hold."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, count: int) -> None:
        """Hold more.

        Raises:
            RefusedError: there is no room for that now.
        """
        if self.held + count > self._most:
            raise busy("other requests take all the memory there is for photos")
        self.held += count

    def give_back(self, count: int) -> None:
        """Hold less."""
        self.held -= count


@dataclass
class Form:
    """What was sent.

    Attributes:
        photos: the bytes of each, in order.
        fields: texts by their names.
        held: bytes that were taken of the memory.
    """

    photos: list[bytes] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    held: int = 0

    def text(self, name: str) -> str:
        """A field that must be there.

        Raises:
            RefusedError: it is not.
        """
        if name not in self.fields:
            raise RefusedError(422, f"expected a part '{name}', found none")
        return self.fields[name]


async def read_form(
    content_type: str,
    chunks: AsyncIterator[bytes],
    names: Mapping[str, int],
    photo_bytes: int,
    memory: Memory,
    form: Form,
) -> None:
    """Read a form; `form` holds what came so far, whatever happens.

    Args:
        content_type: what the request says it is.
        chunks: its body.
        names: of the parts it may have, and how many of each: `photos` are photos.
        photo_bytes: the most of a photo.
        memory: that of all requests.
        form: what is filled in.

    Raises:
        RefusedError: it is no such form, or larger than it may be.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary")
    if kind != "multipart/form-data" or not boundary:
        raise RefusedError(415, "expected multipart/form-data with a boundary, found another type")
    counts, name, content = dict.fromkeys(names, 0), "", bytearray()
    try:
        with PushMultipartParser(boundary) as parser:
            async for chunk in chunks:
                memory.take(len(chunk))
                form.held += len(chunk)
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        name, content = found.name or "", bytearray()
                        _count(name, names, counts)
                    elif found:
                        content += found
                        _measure(name, content, photo_bytes)
                    else:
                        _keep(form, name, bytes(content))
    except MultipartError as error:
        what = in_one_line(error)
        raise RefusedError(
            400, f"expected multipart/form-data, found other bytes: {what}"
        ) from None


def _count(name: str, names: Mapping[str, int], counts: dict[str, int]) -> None:
    """Refuse a part that may not be there, or not once more."""
    if name not in names:
        expected = ", ".join(names)
        raise RefusedError(422, f"expected parts of {expected}, found {name[:50]!r}")
    counts[name] += 1
    if counts[name] > names[name]:
        status = 413 if name == "photos" else 422
        raise RefusedError(status, f"expected at most {names[name]} of '{name}', found more")


def _measure(name: str, content: bytearray, photo_bytes: int) -> None:
    """Refuse a part that is larger than it may be."""
    most = photo_bytes if name == "photos" else _FIELD_BYTES
    if len(content) > most:
        what = "a photo" if name == "photos" else f"'{name}'"
        raise RefusedError(413, f"expected at most {most:,} bytes of {what}, found more")


def _keep(form: Form, name: str, content: bytes) -> None:
    if name == "photos":
        form.photos.append(content)
        return
    try:
        form.fields[name] = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError(422, f"expected '{name}' as UTF-8 text, found other bytes") from None
