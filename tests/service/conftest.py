"""A server for the tests: `embed serve` as a process of its own, as users start it."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from raw_http import heard

TOKEN, WRITE_TOKEN = "readers-know-this-one", "writers-know-another-one"


@dataclass(frozen=True)
class Server:
    """One that runs.

    Attributes:
        url: of it, without a slash at the end.
        folder: it runs in, with `items.index` and `items.model`.
        process: of it.
        log: what it has written to standard error.
    """

    url: str
    folder: Path
    process: subprocess.Popen[str]
    log: list[str]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def connect(self, receive: int | None = None) -> socket.socket:
        """A connection; `receive` is how many bytes wait at its end to be read."""
        connection = socket.socket()
        connection.settimeout(60)
        if receive is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def say(self, *pieces: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back until the server hangs up."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may have heard enough
                for piece in pieces:
                    connection.sendall(piece)
            return heard(connection)

    def count(self, name: str) -> float:
        """A number of /metrics."""
        text = httpx.get(f"{self.url}/metrics").text
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])

    def embedding(self) -> list[int]:
        """The processes that embed for it."""
        found = []
        if not Path("/proc/self/stat").exists():
            pytest.skip("this system does not say which processes there are")
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                state, parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                spawned = b"spawn_main" in (path / "cmdline").read_bytes()
                if int(parent) == self.process.pid and state != "Z" and spawned:
                    found.append(int(path.name))
        return sorted(found)

    def is_at_rest(self) -> bool:
        """Whether it answers, and is soon done with whatever was asked before."""
        assert httpx.get(f"{self.url}/healthz").json() == {"running": True}
        for _ in range(200):
            if not self.count("embed_bytes_held") and not self.count("embed_waiting"):
                return True
            time.sleep(0.1)
        return False


Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, embed_path: Path, sample: Path, trained_model: Path
) -> Path:
    """A folder with an index of the sample, and the model."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "items.model").symlink_to(trained_model)
    command = [embed_path, "build-index", sample / "catalogue"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def start(embed_path: Path) -> Start:
    """Start a server in a folder; a context, which stops it."""

    @contextmanager
    def run(folder: Path, *options: str, **environment: str) -> Iterator[Server]:
        command = [embed_path, "serve", "--port", "0", *options]
        env = _environment(environment)
        with subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, env=env
        ) as process:
            assert process.stderr is not None
            try:
                line = process.stderr.readline()
                found = re.search(r"http://\S+", line)
                assert found, line + process.stderr.read()
                log: list[str] = []
                # A full pipe would stop it.
                reading = threading.Thread(target=_read, args=(process.stderr, log))
                reading.start()
                yield Server(found[0], folder, process, log)
                assert process.poll() is None
            finally:
                process.terminate()
                process.wait(timeout=60)
            reading.join()

    return run


def _read(lines: Iterable[str], into: list[str]) -> None:
    for line in lines:
        into.append(line)


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")} | more


@pytest.fixture(scope="session")
def rounds() -> Callable[[int, int], int]:
    """How often to try: the first number, or with `make soak` the second."""
    return lambda short, long: long if os.environ.get("EMBED_SOAK") else short


@pytest.fixture(scope="session")
def server(start: Start, served: Path) -> Iterator[Server]:
    """A server that nobody writes to and that wants no token."""
    with start(served) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Chromium; of a module, as Playwright runs an event loop until it is closed."""
    from bench import BROWSERS, launched

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        message = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with launched(found) as running:
        yield running


@pytest.fixture
def at(browser):
    """Open the page of a server; fails where it asks elsewhere or breaks its policy."""
    from bench import opening

    with opening(browser) as opened:
        yield opened


@pytest.fixture(scope="session")
def photos(sample):
    return sorted((sample / "photos").iterdir())


@pytest.fixture(scope="session")
def ids(sample):
    lines = (sample / "ids.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="session")
def truth(sample):
    """Name of a photo to what it shows."""
    with (sample / "truth.csv").open() as file:
        return {Path(photo).name: item for photo, item in list(csv.reader(file))[1:]}
