"""Processes that embed for a server: it hears and refuses while they work, and outlives them."""

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from pictures import encoded, picture
from raw_http import END, chunked, heard, part, posted, status
from waiting import until

PHOTO = part("photos", encoded(picture(24, 48, seed=3)))


@pytest.fixture(scope="module")
def server(start, served):
    with start(served, "--queue", "2", "--jobs", "2") as running:
        yield running
        assert running.log == []


@pytest.fixture(scope="module")
def request_(sample):
    """Of more photos than two processes take at once."""
    body = PHOTO * 12 + part("candidates", (sample / "ids.txt").read_bytes()) + END
    return posted("/v1/match", body)


@pytest.fixture
def held(server, request_):
    """While in it, two requests wait, and no more may; they are answered afterwards."""

    @contextmanager
    def run():
        answers = []
        with stopped(server.embedding()), ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(server.say, request_) for _ in range(2)]
            until(lambda: server.count("embed_waiting") == 2)
            try:
                yield answers
            finally:
                go_on(server.embedding())
            answers += [status(answer.result()) for answer in asked]

    return run


@contextmanager
def stopped(processes):
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        go_on(processes)


def go_on(processes):
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def one_answer(connection):
    """Of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(1)
    length = int(re.search(rb"content-length: (\d+)", found.lower())[1])
    while not found.partition(b"\r\n\r\n")[2][length - 1 :]:
        found += connection.recv(1)
    return found


def refusals(server):
    text = httpx.get(f"{server.url}/metrics").text
    found = re.search(r'^embed_requests_total\{route="other",status="503"\} (\S+)', text, re.M)
    return float(found[1]) if found else 0


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_who_comes_too_much_is_refused_before_the_body_and_may_ask_again(server, held, request_):
    lasting = request_.replace(b"Connection: close\r\n", b"")
    head, body = lasting.split(b"\r\n\r\n", 1)
    coded = chunked(body)
    with held() as answers:
        before = refusals(server)
        with server.connect() as connection:
            for sent in (body, coded):
                length = re.search(rb"Content-Length: \d+", head)[0]
                kind = length if sent is body else b"Transfer-Encoding: chunked"
                connection.sendall(head.replace(length, kind) + b"\r\n\r\n")
                answer = one_answer(connection)
                assert status(answer) == 503
                assert b"\r\nretry-after: 1\r\n" in answer.lower()
                assert b"\r\ncontent-security-policy: default-src 'none'" in answer.lower()
                assert b"connection: close" not in answer.lower()
                connection.sendall(sent + GET)
                assert one_answer(connection).endswith(b'{"running":true}')
        assert refusals(server) == before + 2
    assert answers == [200, 200]
    assert status(server.say(request_)) == 200


def test_who_may_not_ask_again_is_hung_up_on(server, held, request_):
    old = request_.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    waits = posted("/v1/match", b"", "Expect: 100-continue", length=1000)
    broken = posted("/v1/match", b"no size\r\n", "Transfer-Encoding: chunked", length="")
    too_much = posted("/v1/match", bytes(9_000_000), length=60_000_000)
    with held() as answers:
        for sent in (request_, old, waits, broken):
            with server.connect() as connection:
                connection.sendall(sent)
                answer = heard(connection)
            assert status(answer) == 503 and b"100 Continue" not in answer
            assert b"\r\nconnection: close\r\n" in answer.lower()
            assert answer.count(b"HTTP/1.1 ") == 1
        with server.connect() as connection, suppress(ConnectionError):
            connection.sendall(too_much)
            heard(connection)
        unread = b"POST /v1/match HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" * 50_000
        with server.connect(receive=4096) as connection, pytest.raises(ConnectionError):
            connection.sendall(unread)
            connection.sendall(unread)
    assert answers == [200, 200]
    assert server.is_at_rest()


def test_who_sends_slowly_keeps_no_place(server, request_):
    with server.connect() as one, server.connect() as other:
        for connection in (one, other):
            connection.sendall(request_[:-100])
        time.sleep(0.5)
        assert status(server.say(request_)) == 200
        for connection in (one, other):
            connection.sendall(request_[-100:])
            assert status(heard(connection)) == 200


def test_a_lost_process_is_replaced(server, held, request_):
    expected = server.say(request_).partition(b"\r\n\r\n")[2]
    before = server.embedding()
    with held() as answers:
        time.sleep(1)  # until it was sent photos, which nothing tells
        os.kill(before[0], signal.SIGKILL)
    assert sorted(answers) == [200, 503]
    for _ in range(3):
        assert server.say(request_).partition(b"\r\n\r\n")[2] == expected
    assert len(server.embedding()) == 2 and before[0] not in server.embedding()

    idle = server.embedding()
    for process in idle:
        os.kill(process, signal.SIGKILL)
    until(lambda: not any(map(runs, idle)))
    assert server.say(request_).partition(b"\r\n\r\n")[2] == expected
    assert server.is_at_rest()


def test_no_process_outlives_its_server(start, served):
    processes = []
    with suppress(AssertionError), start(served) as running:  # it is to run until the end
        processes += running.embedding()
        running.process.kill()
        running.process.wait()
    assert processes
    until(lambda: not any(map(runs, processes)))


def runs(process):
    """Whether any of its threads does: its pipes stay open as long."""
    states = []
    for thread in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            states.append(thread.read_text().rsplit(")", 1)[1].split()[0])
    return any(state != "Z" for state in states)


def test_ctrl_c_ends_all_quietly(embed_path, served):
    command = [embed_path, "serve", "--port", "0", "--jobs", "2"]
    with subprocess.Popen(
        command,
        cwd=served,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        url = re.search(r"http://\S+", process.stderr.readline())[0]
        assert httpx.get(f"{url}/healthz").status_code == 200
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
