"""Requests made at random: right ones with wrong values, and some of their bytes changed."""

import json
import random
from urllib.parse import quote

from pictures import encoded, picture
from raw_http import END, chunked, part, posted

PHOTOS = [
    encoded(picture(24, 48, seed=1)),
    encoded(picture(48, 24, seed=2), "JPEG"),
    b"",
    b"\xff\xd8\xff",
    b"no photo",
]
TEXTS = [
    "",
    " ",
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e309",
    "nan",
    "-0.0",
    "1_0",
    "\u0663",
    "9" * 400,
    "true",
    "True",
    "yes",
    "\0",
    "\u202e\u2066",
    "e\u0301",
    "\ufeff",
    "..",
    "/",
    "//",
    "../../etc/passwd",
    "http://localhost/",
    "file:///etc/passwd",
    "%2e%2e",
    "'; DROP TABLE items; --",
    "a\rb",
    "a\nb",
    "x" * 5000,
    "\U0010ffff",
    "{}",
    "[]",
    "null",
    '{"matches": [], "missing": {}}',
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI"]
PATHS = ["/", "/page.js", "/page.css", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"]
PATHS += ["/v1/index", "/v1/match", "/v1/search", "/v1/report", "/v1/items", "/v1/items/", "/v1"]
HEADERS = [
    "Host: elsewhere.example",
    "Host:",
    "Expect: 100-continue",
    "Connection: keep-alive",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Content-Encoding: gzip",
    "Content-Length: 7",
    "Range: bytes=0-10, 5-20, -1",
    "If-None-Match: *",
    "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "Origin: null",
    "X-Forwarded-For: ::1",
    "Cookie: a=b; " + "c" * 3000,
    "Authorization: Bearer",
    "Authorization: Basic \xff\xfe",
    "Accept: */*;q=\xe9",
    "X-\xe9: \xe9",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b"--", b"--BOUNDARY", b"--BOUNDARY--", b":", b";", b'"']
TOKENS += [b"\xff", b"%", b"%00", b"%ff", b"*", b"=", b"\\", b"0\r\n\r\n", b"ffffffffffffffff\r\n"]


def odd_request(seed: int, ids: list[str], token: str) -> bytes:
    """A request; the same for the same seed."""
    rng = random.Random(seed)
    content = rng.choice([_form_request, _form_request, _plain_request])(rng, ids, token)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2, 8])):
        content = _damaged(rng, content)
    return content


def _form_request(rng: random.Random, ids: list[str], token: str) -> bytes:
    path = rng.choice(["/v1/match", "/v1/search", "/v1/report", "/v1/items"])
    values = {
        "candidates": rng.choice([_candidates(rng, ids), rng.choice(TEXTS)]),
        "matches": _matches(rng, ids),
        "item_id": rng.choice([rng.choice(TEXTS), rng.choice(ids), f"new {rng.randrange(5)}"]),
        **{
            name: rng.choice(TEXTS)
            for name in ("independent", "unknown", "max_error", "views", "top", "replace", "x")
        },
    }
    usual = {"/v1/match": "candidates", "/v1/report": "matches", "/v1/items": "item_id"}
    names = [usual[path]] if path in usual and rng.random() < 0.9 else []
    names += [name for name in values if rng.random() < 0.05]
    parts = [part("photos", rng.choice(PHOTOS)) for _ in range(rng.choice([1, 1, 1, 2, 3, 0]))]
    parts += [part(name, values[name].encode("utf-8", "replace")) for name in names]
    rng.shuffle(parts)
    body = b"".join(parts) + END
    headers = [f"Authorization: Bearer {token}"]
    headers += [rng.choice(HEADERS)] if rng.random() < 0.3 else []
    if rng.random() < 0.2:
        body = chunked(body, rng.choice([1, 17, 500, 65_536]))
        return posted(path, body, "Transfer-Encoding: chunked", *headers, length="")
    return posted(path, body, *headers)


def _plain_request(rng: random.Random, ids: list[str], token: str) -> bytes:
    text = rng.choice([*TEXTS, *ids])
    last = quote(text, safe=rng.choice(["", "/"])) if rng.random() < 0.8 else "%ff%00%zz%"
    paths = [*PATHS, f"/v1/items/{last}", f"/v1/pictures/{last}", f"/{last}", f"/v1/index?{last}"]
    lines = [
        f"{rng.choice(METHODS[: rng.choice([1, len(METHODS)])])} {rng.choice(paths)} HTTP/1.1",
        "Host: localhost",
        rng.choice(["Connection: close", "Connection: close", "X: y"]),
        *([f"Authorization: Bearer {token}"] if rng.random() < 0.7 else []),
        *rng.sample(HEADERS, rng.choice([0, 0, 1, 3])),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _candidates(rng: random.Random, ids: list[str]) -> str:
    some = rng.sample(ids, rng.randrange(1, len(ids)))
    lines = [f"{one}{rng.choice(['', '', ',2', ',0', ',999999999'])}" for one in some]
    return rng.choice(["\n", "\r\n"]).join(lines)


def _matches(rng: random.Random, ids: list[str]) -> str:
    def one() -> dict[str, object]:
        known = rng.choice(ids)
        match: dict[str, object] = {
            "photo": "photo 1",
            "item_id": known,
            "status": rng.choice(["matched", "unsure", "unknown", "unreadable"]),
            "confidence": 0.9,
            "score": 0.8,
            "runner_up": rng.choice(ids),
            "runner_up_score": 0.5,
            "margin": 0.3,
            "none": 0.01,
            "reason": rng.choice([None, "because"]),
            "views": 1,
            "unreadable": 0,
            "alternatives": [{"item_id": known, "confidence": 0.9, "score": 0.8}],
        }
        for name in list(match):
            chance = rng.random()
            if chance < 0.06:
                match[name] = rng.choice([None, -1, 1e308, 10**30, True, [], {}, *TEXTS])
            elif chance < 0.1:
                del match[name]
        return match

    missing = {rng.choice([*ids, *TEXTS]): rng.choice([1, 2, -5, 0, 10**30]) for _ in range(2)}
    document = {"matches": [one() for _ in range(rng.choice([1, 1, 2, 3]))], "missing": missing}
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    return text.replace("because", rng.choice(["because", "\\ud800", "<script>", "\\u0000"]))


def _damaged(rng: random.Random, content: bytes) -> bytes:
    at = int(len(content) * rng.random() ** 2)  # most of them near the beginning
    length = rng.randrange(1, 20)
    kind = rng.randrange(6)
    if kind == 0:
        return content[:at] + content[at + length :]
    if kind == 1:
        return content[:at] + content[at : at + length] * 2 + content[at + length :]
    if kind == 2:
        return content[:at] + rng.choice(TOKENS) + content[at:]
    if kind == 3:
        return content[:at] + rng.randbytes(length) + content[at + length :]
    if kind == 4 and rng.random() < 0.3:
        return content[:at]
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
