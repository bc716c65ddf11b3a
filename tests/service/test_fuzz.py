"""Requests made at random: from what /openapi.json says, and from nothing but bytes."""

import json
import re
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from odd_requests import odd_request
from raw_http import status
from schemathesis import GenerationMode, checks

TOKEN = "writers-know-another-one"


@pytest.fixture(scope="module")
def fuzzed(start, served, tmp_path_factory):
    """A server of its own, as items are added and removed too."""
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "items.model").symlink_to(served / "items.model")
    (folder / "items.index").write_bytes((served / "items.index").read_bytes())
    options = ("--max-photo", "1", "--max-body", "2", "--queue", "32")
    with start(folder, *options, EMBED_WRITE_TOKEN=TOKEN) as running:
        yield running
        assert running.log == []


def failures(server):
    """How many answers said that the server failed."""
    text = httpx.get(f"{server.url}/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if re.match(r'embed_requests_total{.*status="5(?!03)', line)
    )


@pytest.fixture(scope="module")
def schema(fuzzed):
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


checks.load_all_checks()
CHECKS = [
    checks.not_a_server_error,
    *checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
            "unsupported_method",
            "allow_header_conformance",
        ]
    ),
]


def test_answers_are_as_openapi_says(fuzzed, schema, rounds):
    statuses = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=rounds(25, 1000),
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def run(case):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            statuses[case.call_and_validate(headers=headers, checks=CHECKS).status_code] += 1

        run()
    assert failures(fuzzed) == 0
    assert {200, 404, 422} <= set(statuses)


def asked(server, content):
    """Send a request, and take what comes at once: much of it is none, and would be waited for."""
    found = b""
    with server.connect() as connection, suppress(ConnectionError, socket.timeout):
        connection.settimeout(0.3)
        connection.sendall(content)
        while more := connection.recv(1 << 20):
            found += more
    return found


def test_whatever_is_sent_the_server_does_not_fail(fuzzed, sample, rounds):
    ids = (sample / "ids.txt").read_text().split()
    count, began = rounds(2_000, 50_000), time.monotonic()

    def run(seed):
        answer = asked(fuzzed, odd_request(seed, ids, TOKEN))
        code = status(answer) if answer.startswith(b"HTTP/1.1 ") else 0
        assert code < 500 or code == 503, (seed, answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        if code >= 400 and b"application/json" in head and body.endswith(b"}"):
            said = json.loads(body)["error"]
            assert said and "\n" not in said and str(fuzzed.folder) not in said, seed
        return code

    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(run, range(count)))
    print(  # noqa: T201
        f"{count:,} requests in {time.monotonic() - began:.0f} s: {sorted(codes.items())}"
    )
    assert failures(fuzzed) == 0
    assert fuzzed.is_at_rest()
    # The fuzzer gets through to what is behind the reading of requests.
    assert min(codes[200], codes[201] * 20, codes[400], codes[404], codes[422]) > count / 100
