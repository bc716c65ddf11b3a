"""Who the workers of a training are, and how they meet."""

import json
import socket
import threading
from contextlib import suppress

import pytest
from addresses import free_address
from waiting import until

from embedder import TrainingError, meeting
from embedder.meeting import meet
from embedder.workers import Workers, workers_from_environment

ALIKE = {"versions": "1", "options": "{}", "photos": "ab"}


@pytest.fixture
def addresses():
    return free_address(), free_address(), free_address()


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config({"worker": ["a:1", "b:2"]}), (("a:1", "b:2"), 0)),
        (config({"worker": ["a:1", "b:2"]}, index=1), (("a:1", "b:2"), 1)),
        (config({"chief": ["c:3"], "worker": ["a:1", "b:2"]}, "chief"), (("c:3", "a:1", "b:2"), 0)),
        (config({"chief": ["c:3"], "worker": ["a:1", "b:2"]}, index=1), (("c:3", "a:1", "b:2"), 2)),
        (config({"worker": ["1.2.3.4:1", "b:2"], "ps": []}), (("1.2.3.4:1", "b:2"), 0)),
        (config({"worker": ["a:1"]}), None),
        ("  ", None),
    ],
)
def test_what_the_variable_says(monkeypatch, text, expected):
    monkeypatch.setenv("TF_CONFIG", text)
    found = workers_from_environment()
    assert (found and (found.addresses, found.number)) == expected


def test_without_the_variable_there_are_no_others(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert workers_from_environment() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected {"),
        ("[" * 10_000, "expected {"),
        ("[]", "expected {"),
        ('"x"', "expected {"),
        ('{"cluster": {}, "task": {"type": "worker", "index": 0}}', "another index for each"),
        ('{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}', "expected {"),
        (config({"worker": ["a:1", "b:2"]}, index=2), "another index for each worker, found"),
        (config({"worker": ["a:1", "b:2"]}, index="0"), "another index for each worker, found"),
        (config({"worker": ["a:1", "b:2"]}, "evaluator"), "another index for each worker, found"),
        (config({"worker": ["a:1", "a:1"]}), "another index for each worker, found"),
        (config({"chief": ["a:1", "b:2"]}, "chief"), "another index for each worker, found"),
        (config({"worker": ["a:1", "b:2"], "ps": ["c:3"]}), "found ps, worker: all train alike"),
        (config({"worker": ["a:1", "b"]}), "address, found 'b'"),
        (config({"worker": ["a:1", "b:99999"]}), "address, found 'b:99999'"),
        (config({"worker": ["a:1", ":2"]}), "address, found ':2'"),
        (config({"worker": ["a:1", ["b", 2]]}), "expected HOST:PORT, with a name or an IPv4"),
        (config({"worker": ["a:1", "[::1]:2"]}), "an IPv4 address, found '[::1]:2'"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingError) as raised:
        workers_from_environment()
    assert str(raised.value).startswith("TF_CONFIG: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


class Meeting(threading.Thread):
    """A worker on its way to the others."""

    def __init__(self, addresses, number, alike=ALIKE, parcel=b""):
        super().__init__(daemon=True)
        self.arguments = (Workers(addresses, number), alike, parcel)
        self.found, self.error, self.waited = None, None, []
        self.start()

    def run(self):
        try:
            self.found = meet(*self.arguments, self.waited.append)
        except TrainingError as error:
            self.error = str(error)

    def end(self):
        self.join(30)
        assert not self.is_alive()
        return self.found


def test_all_get_what_the_first_one_gives(addresses):
    parcel = bytes(range(256)) * 20_000
    late = Meeting(addresses, 2)  # knocks before anybody listens
    first = Meeting(addresses, 0, parcel=parcel)
    until(lambda: len(first.waited) == 2)
    other = Meeting(addresses, 1)
    assert first.end() == late.end() == other.end() == parcel
    one, two = (f"worker {at} ({addresses[at]})" for at in (1, 2))
    assert first.waited == [[one, two], [one]]
    assert other.waited == [[f"worker 0 ({addresses[0]})"]]


def test_a_parcel_may_be_empty(addresses):
    both = [Meeting(addresses[:2], at) for at in (0, 1)]
    assert [one.end() for one in both] == [b"", b""]


@pytest.mark.parametrize("what", list(ALIKE))
def test_who_was_given_something_else_is_named_to_all(addresses, what):
    all_three = [
        Meeting(addresses, at, {**ALIKE, what: "other"} if at == 2 else ALIKE) for at in range(3)
    ]
    for one in all_three:
        assert one.end() is None
        assert one.error == (
            f"worker 2 ({addresses[2]}) has other {what} than worker 0 ({addresses[0]}): give each "
            "worker the same command, photos and versions"
        )


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"worker": 1}\n', b"[" * 9_000 + b"\n"),
        *(b'{"worker": 0, "alike": {}}\n', b'{"worker": true, "alike": {}}\n', b"\xff" * 20_000),
        b'{"worker": 2, "alike": {}}\n',
    ],
)
def test_strangers_are_left_out(addresses, said):
    first = Meeting(addresses[:2], 0, parcel=b"weights")
    until(lambda: first.waited)
    host, port = addresses[0].split(":")
    with socket.create_connection((host, int(port))) as stranger:
        with suppress(OSError):  # it may have been hung up on already
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
        other = Meeting(addresses[:2], 1)
        assert first.end() == other.end() == b"weights"


@pytest.mark.parametrize("said", [b"", b'{"worker": 1, ', b'{"worker": 1, "alike": {}} '])
def test_who_says_nothing_or_not_all_holds_nobody_up(addresses, said, monkeypatch):
    monkeypatch.setattr(meeting, "_SOON", 0.2)
    first = Meeting(addresses[:2], 0, parcel=b"weights")
    until(lambda: first.waited)
    host, port = addresses[0].split(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(said)
        # Dropped, not kept: it hears of the end.
        stranger.settimeout(20)
        assert stranger.recv(1) == b""
        with socket.create_connection((host, int(port))) as another:
            another.sendall(said)
            other = Meeting(addresses[:2], 1)
            assert first.end() == other.end() == b"weights"


def test_many_strangers_are_forgotten(addresses):
    first = Meeting(addresses[:2], 0)
    until(lambda: first.waited)
    host, port = addresses[0].split(":")
    for _ in range(300):
        socket.create_connection((host, int(port))).close()
    strangers = [socket.create_connection((host, int(port))) for _ in range(150)]
    try:
        other = Meeting(addresses[:2], 1)
        assert first.end() == other.end() == b""
    finally:
        for stranger in strangers:
            stranger.close()


def test_two_with_one_number(addresses):
    first = Meeting(addresses, 0)
    one = Meeting(addresses, 1)
    until(lambda: first.waited and first.waited[-1] == [f"worker 2 ({addresses[2]})"])
    same = Meeting(addresses, 1)
    same.end()
    assert same.error == f"worker 1 ({addresses[1]}) is there already: name each worker once"
    last = Meeting(addresses, 2)
    assert first.end() == one.end() == last.end() == b""


def test_a_worker_lost_while_it_takes_the_parcel_stops_all(addresses):
    first = Meeting(addresses, 0, parcel=b"w" * 3_000_000)
    other = Meeting(addresses, 2)
    until(lambda: first.waited and first.waited[-1] == [f"worker 1 ({addresses[1]})"])
    host, port = addresses[0].split(":")
    with socket.create_connection((host, int(port))) as lost:
        lost.sendall(json.dumps({"worker": 1, "alike": ALIKE}).encode() + b"\n")
        assert lost.recv(10)
    first.end()
    assert first.error == f"lost worker 1 ({addresses[1]}) while the workers met: start all again"
    assert other.is_alive()  # it waits for worker 0 to be started again
    first, one = Meeting(addresses, 0), Meeting(addresses, 1)
    assert first.end() == one.end() == other.end() == b""


def test_what_else_answers_at_the_port_is_not_worker_0(addresses):
    answers = [b"", b"HTTP/1.1 400\r\n\r\n", b'{"bytes": 1e9}\n', b'{"bytes": -1}\n']
    answers += [b'{"refusal": null, "bytes": 9}\nshort', b"[" * 9_000 + b"\n"]
    host, port = addresses[0].split(":")
    with socket.create_server((host, int(port))) as door:
        joining = Meeting(addresses[:2], 1)
        for answer in answers:
            with door.accept()[0] as peer:
                peer.sendall(answer)
                peer.recv(1_000)
    first = Meeting(addresses[:2], 0, parcel=b"weights")
    assert first.end() == joining.end() == b"weights"


def test_a_worker_that_was_stopped_is_waited_for_again(addresses):
    first = Meeting(addresses, 0)
    until(lambda: first.waited)
    host, port = addresses[0].split(":")
    with socket.create_connection((host, int(port))) as stopped:
        stopped.sendall(json.dumps({"worker": 1, "alike": ALIKE}).encode() + b"\n")
        until(lambda: len(first.waited) == 2)
    until(lambda: len(first.waited) == 3)
    assert first.waited[0] == first.waited[2]
    others = [Meeting(addresses, at) for at in (1, 2)]
    assert [one.end() for one in (first, *others)] == [b"", b"", b""]


def test_a_port_in_use_is_named(addresses):
    with socket.create_server(("", int(addresses[0].split(":")[1]))):
        first = Meeting(addresses, 0)
        first.end()
    assert first.error.startswith(f"worker 0 ({addresses[0]}): cannot listen at its port: ")
    assert "name another in TF_CONFIG" in first.error
