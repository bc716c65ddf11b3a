"""Requests as bytes, right and wrong ones, and what comes back of them."""

import socket
from contextlib import suppress

FORM = "Content-Type: multipart/form-data; boundary=BOUNDARY"
END = b"--BOUNDARY--\r\n"


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    found = b""
    with suppress(ConnectionError):
        while more := connection.recv(1 << 20):
            found += more
    return found


def status(answer: bytes) -> int:
    """Of the first answer in what was heard; 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def part(name: str, content: bytes, more: str = "") -> bytes:
    """A part of a form, whose boundary is BOUNDARY."""
    head = f'--BOUNDARY\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def posted(path: str, body: bytes, *headers: str, length: str | int | None = None) -> bytes:
    """A request as bytes; the server hangs up after it."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        *([] if any("Content-Type" in one for one in headers) else [FORM]),
        *([] if length == "" else [f"Content-Length: {len(body) if length is None else length}"]),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int = 65_536) -> bytes:
    """A body in chunks."""
    starts = range(0, len(body), size)
    pieces = [body[start : start + size] for start in starts]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
