"""Reading a multipart form into memory: each limit holds while it is read, none is trusted.

Nothing is written to disk, and the names that files bear are not looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.refusals import RefusedError, busy

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FIELD_BYTES = 8_000_000  # a list of candidates can name a whole catalogue
_HEADERS = 16  # of a part


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
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    if kind.lower() != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusedError(415, "expected multipart/form-data with a boundary, found another type")
    parts = _Parts(form, names, photo_bytes)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks(), max_header_count=_HEADERS)
        async for chunk in chunks:
            memory.take(len(chunk))
            form.held += len(chunk)
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise RefusedError(
            400, "expected multipart/form-data, found what cannot be read so"
        ) from None
    if not parts.ended:
        raise RefusedError(400, "expected the end of the form, found none: it was cut off")


class _Parts:
    """Takes in the parts of a form as a parser finds them."""

    def __init__(self, form: Form, names: Mapping[str, int], photo_bytes: int) -> None:
        self._form, self._names, self._photo_bytes = form, names, photo_bytes
        self._counts = dict.fromkeys(names, 0)
        self._header, self._value = bytearray(), bytearray()
        self._name = ""
        self._content = bytearray()
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all_read,
        }

    def _begin(self) -> None:
        self._name, self._content = "", bytearray()

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode(errors="replace")
        self._header, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        name = self._name
        if name not in self._names:
            expected = ", ".join(self._names)
            raise RefusedError(422, f"expected parts of {expected}, found {name[:50]!r}")
        self._counts[name] += 1
        most = self._names[name]
        if self._counts[name] > most:
            status = 413 if name == "photos" else 422
            raise RefusedError(
                status, f"expected at most {most} of '{name}', found more: send fewer"
            )

    def _data(self, data: bytes, start: int, end: int) -> None:
        most = self._photo_bytes if self._name == "photos" else _FIELD_BYTES
        if len(self._content) + end - start > most:
            what = "a photo" if self._name == "photos" else f"'{self._name}'"
            raise RefusedError(413, f"expected at most {most:,} bytes of {what}, found more")
        self._content += data[start:end]

    def _end(self) -> None:
        content, self._content = bytes(self._content), bytearray()
        if self._name == "photos":
            self._form.photos.append(content)
            return
        try:
            self._form.fields[self._name] = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RefusedError(
                422, f"expected '{self._name}' as UTF-8 text, found other bytes"
            ) from None

    def _all_read(self) -> None:
        self.ended = True
