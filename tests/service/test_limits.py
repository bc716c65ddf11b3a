"""Requests that are too large, too slow, false or cut off: refused, and nothing is left of them."""

import json
import re
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest
from bombs import large_png
from pictures import encoded, picture
from raw_http import END, chunked, heard, part, posted, status
from waiting import until

PHOTO = part("photos", encoded(picture(24, 48, seed=3)))
CANDIDATES = part("candidates", b"item-1")
MB = 1_000_000


@pytest.fixture(scope="module")
def small(start, served):
    """A server that takes little, and not much longer than it has to."""
    with start(
        served, "--max-photos", "3", "--max-photo", "1", "--max-body", "2", "--queue", "2"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def candidates(sample):
    return part("candidates", (sample / "ids.txt").read_bytes())


def refused(answer, code):
    """The line of a refusal, seen to be one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == code, answer[:500]
    assert b"content-security-policy: default-src 'none'" in head.lower()
    said = json.loads(body)
    assert set(said) == {"error"} and "\n" not in said["error"]
    return said["error"]


def large(count):
    return PHOTO + part("photos", bytes(count)) + END


@pytest.mark.parametrize("path", ["/v1/match", "/v1/search", "/v1/report"])
def test_a_body_that_says_it_is_too_large_is_not_read(small, path):
    refused(small.say(posted(path, bytes(3 * MB))), 413)
    assert small.is_at_rest()


def test_a_body_in_chunks_is_refused_where_it_gets_too_large(small):
    photos = part("photos", bytes(900_000)) * 3
    request = posted("/v1/match", chunked(photos), "Transfer-Encoding: chunked", length="")
    assert "2,000,000 bytes" in refused(small.say(request), 413)
    assert small.is_at_rest()


def test_a_body_without_end_in_chunks_is_not_read_on(small):
    head = posted("/v1/match", b"", "Transfer-Encoding: chunked", length="")
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    with small.connect() as connection:
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(PHOTO), PHOTO))
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                connection.sendall(chunk)
    assert small.is_at_rest()


def test_a_photo_is_refused_where_it_gets_too_large(small):
    assert "1,000,000 bytes of a photo" in refused(
        small.say(posted("/v1/match", large(MB + 1))), 413
    )
    assert status(small.say(posted("/v1/search", large(MB)))) == 200
    assert small.is_at_rest()


def test_too_many_photos_are_refused(small):
    body = PHOTO * 4 + CANDIDATES + END
    assert "at most 3 of 'photos'" in refused(small.say(posted("/v1/match", body)), 413)
    assert small.is_at_rest()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part("photos", b"") * 20_000 + END, 413),
        (part("x", b"") * 20_000 + END, 422),
        (part("", b"") * 20_000 + END, 422),
        (PHOTO + part("candidates", b"") * 20_000 + END, 422),
        (b"--BOUNDARY\r\n" + b"X: y\r\n" * 100_000, 400),
        (b"--BOUNDARY\r\nX: " + b"y" * MB, 400),
        (b"--BOUNDARY\r\n" + b"y" * MB, 400),
        (b"\r\n" * 500_000, 400),
        (PHOTO + CANDIDATES, 400),
        (PHOTO + CANDIDATES + END[:-4], 400),
        (PHOTO[:-20], 400),
        (b"--BOUNDARY", 400),
        (b"", 400),
        (END, 422),
        (CANDIDATES + END, 422),
        (part("photos", b"x") + part("candidates", b"\xff\xfe") + END, 422),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
def test_a_form_that_is_none_is_refused(small, body, code):
    refused(small.say(posted("/v1/match", body)), code)
    assert small.is_at_rest()


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary*=utf-8''%ff",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; boundary=" + "b" * 60_000,
        "multipart/mixed; boundary=BOUNDARY",
        "application/json",
        ";;;===",
        "",
    ],
    ids=lambda kind: kind[:40],
)
def test_another_type_is_refused(small, kind):
    answer = small.say(posted("/v1/match", PHOTO + CANDIDATES + END, f"Content-Type: {kind}"))
    assert status(answer) in (400, 415)
    refused(answer, status(answer))
    assert small.is_at_rest()


def test_a_false_length_does_not_keep_it_waiting_or_reading(small, candidates):
    body = PHOTO + candidates + END
    # Too small: the form is cut off, and what follows it is no request.
    refused(small.say(posted("/v1/match", body, length=len(body) - 50)), 400)
    for length in ("-1", "1e3", "9" * 30, "9" * 5000, "0x10", f"{len(body)}, {len(body)}"):
        answer = small.say(posted("/v1/match", body, length=length))
        assert status(answer) in (400, 413), length
    both = posted("/v1/match", chunked(body), "Transfer-Encoding: chunked", length=5)
    refused(small.say(both), 400)
    twice = posted("/v1/match", body, f"Content-Length: {len(body) + 1}")
    refused(small.say(twice), 400)
    assert small.is_at_rest()


def test_a_head_without_end_is_not_read_on(server):
    for endless in (b"X-More: y\r\n", b"y"):
        with server.connect() as connection:
            connection.sendall(b"GET /v1/index HTTP/1.1\r\nHost: localhost\r\nX: ")
            with pytest.raises(ConnectionError):
                for _ in range(10_000):
                    connection.sendall(endless * (20_000 // len(endless)))
    assert status(server.say(b"GET /" + b"y" * 10 * MB)) in (0, 400)
    assert server.is_at_rest()


def test_what_follows_a_body_is_not_read_on(small):
    body = PHOTO + part("candidates", b"none") + END
    head = posted("/v1/match", chunked(body), "Transfer-Encoding: chunked", length="")[:-2]
    with small.connect() as connection:
        connection.sendall(head + b"X: ")
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                connection.sendall(b"y" * 65_536)
    assert small.is_at_rest()


def test_bytes_that_are_no_request_are_refused_in_one_line(server):
    for wrong in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HELO there\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        refused(server.say(wrong), 400)
    refused(server.say(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400)
    assert server.is_at_rest()


def test_clients_that_vanish_leave_nothing(small, candidates):
    whole = posted("/v1/match", PHOTO * 3 + candidates + END)
    for much in (10, len(whole) // 2, len(whole) - 3, len(whole)):
        for _ in range(5):
            connection = small.connect()
            # It does not say goodbye either.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(whole[:much])
            connection.close()
    assert small.is_at_rest()
    assert status(small.say(whole)) == 200


def test_requests_one_after_the_other_are_answered_in_order(server, candidates):
    match = posted("/v1/match", PHOTO + candidates + END).replace(b"Connection: close\r\n", b"")
    index = b"GET /v1/index HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = index.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = server.say(match + index + match + last)
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", answers) == [b"200"] * 4
    assert re.findall(rb'"(matches|items)":', answers) == [b"matches", b"items"] * 2


def test_a_body_that_is_waited_for_is_asked_for(server, candidates):
    body = PHOTO + candidates + END
    request = posted("/v1/match", body, "Expect: 100-continue")
    head, body = request.split(b"\r\n\r\n", 1)
    with server.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert status(heard(connection)) == 200
    with server.connect() as connection:
        connection.sendall(posted("/v1/match", b"", "Expect: 100-continue", length=10**9))
        answer = connection.recv(65_536)
        assert status(answer) == 413 and b"100 Continue" not in answer


def test_old_clients_are_answered(server, candidates):
    request = posted("/v1/match", PHOTO + candidates + END).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert status(server.say(request)) == 200
    assert status(server.say(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")) == 200


def test_what_is_too_much_at_once_is_refused_for_a_moment(small, candidates):
    large = part("photos", large_png(49)) * 3
    request = posted("/v1/match", large + candidates + END)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(small.say, [request] * 8))
    assert {status(answer) for answer in answers} == {200, 503}
    for answer in answers:
        if status(answer) == 503:
            assert "try again" in refused(answer, 503)
            assert b"\r\nretry-after: 1\r\n" in answer.lower()
    assert small.is_at_rest()


def test_what_others_send_together_is_bounded(small, candidates):
    """Four bodies of 2 MB may be held; the fifth has to wait, and no longer than they do."""
    half = posted("/v1/match", part("photos", bytes(950_000)) * 2, length=1_999_000)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(small.connect()).sendall(half)
            time.sleep(0.2)  # more than two at a time would be too much by themselves
        until(lambda: small.count("embed_bytes_held") >= 7_600_000)
        body = part("photos", bytes(950_000)) + candidates + END
        assert "memory" in refused(small.say(posted("/v1/match", body)), 503)
        assert small.count("embed_bytes_held") <= 8_000_000
    assert small.is_at_rest()
    assert status(small.say(posted("/v1/match", body))) == 200


def drip(connection, content):
    """Send a byte every half second, until nobody listens any more."""
    with suppress(ConnectionError):
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(0.5)


def test_who_is_slow_is_dropped_while_others_are_answered(server, candidates):
    """All at once, as each takes ten seconds or more."""
    index = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    whole = posted("/v1/match", PHOTO + candidates + END)
    long = {"photo": "photo 1", "item_id": None, "status": "unsure", "reason": "x" * 7 * MB}
    matches = json.dumps({"matches": [long], "missing": {}}).encode()
    report = posted("/v1/report", PHOTO + part("matches", matches) + END)
    # What each does, and the status of what it hears before the server hangs up.
    clients = {
        "silent": (lambda c: None, 0),
        "slow head": (lambda c: drip(c, whole[:100]), 0),
        "empty lines": (lambda c: (c.sendall(index), drip(c, b"\r\n" * 50)), 200),
        "slow body": (lambda c: (c.sendall(whole[:-100]), drip(c, whole[-100:])), 408),
        "slow reader": (lambda c: (c.sendall(report), time.sleep(15)), 200),
    }
    heard_by = {}

    def run(name):
        with server.connect(receive=4096) as connection:
            clients[name][0](connection)
            heard_by[name] = heard(connection)

    threads = [threading.Thread(target=run, args=(name,)) for name in clients]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert httpx.get(f"{server.url}/v1/index").status_code == 200
        time.sleep(0.5)
    assert {name: status(answer) for name, answer in heard_by.items()} == {
        name: code for name, (_, code) in clients.items()
    }
    # What it had not taken by then was forgotten.
    assert len(heard_by["slow reader"]) < 7 * MB
    assert server.is_at_rest()
