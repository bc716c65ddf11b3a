"""`embed serve` under load: photos a second beside the library's own, and what happens at 4x load.

Clients are on the same cores as the server, and send what was made up before: 10 photos and the ids
of 10 candidates, over connections that stay open. Two parts:

throughput: 32 clients ask without a pause; one told to try again does so after Retry-After. In
turns with it the library itself (`Matcher.match` of the same photos and candidates): one request
after another on all cores, and, harder to reach, as many processes at once as there are cores.

overload: a client alone, for what an unloaded server takes; then requests come at 4 times the rate
that the throughput part reached, whether or not earlier ones were answered. With --queue 1, and for
a tenth of the time as the server is by default. Where it may, the client of this part goes before
the server, as it would on cores of its own: what it measures is then the server's time.

    python benchmarks/serving.py --index items.index --model items.model PHOTOS
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import uvloop

from index import Matcher
from index.store import Store
from service.settings import Settings

PHOTOS, CANDIDATES, CLIENTS, BODIES = 10, 10, 32, 64
LIBRARIES = ("fastapi", "uvicorn", "httptools", "uvloop", "ai-edge-litert", "Pillow")
QUEUE = Settings.queue
SOON = 0.05  # seconds in which a refusal has to be there
BETWEEN = 0.004  # seconds between looks at how fast the machine itself is
SLOWER = 4  # times as long as usual
IDLE = 20  # seconds before anything else runs
_PROBE = f"""
import hashlib, json, os, signal, time
done = []
signal.signal(signal.SIGTERM, lambda *_: done.append(True))
try:
    os.nice(-20)
except OSError:
    pass
work, took = bytes(40_000), []
while not done:
    began = time.perf_counter()
    hashlib.sha256(work).digest()
    took.append((began, time.perf_counter() - began))
    time.sleep({BETWEEN})
print(json.dumps(took))
"""
Request = tuple[list[bytes], list[str]]


@dataclass
class Seen:
    """Of some requests: seconds until each was answered, by status, from when it was begun.

    Attributes:
        answered: with 200, of the attempt that was.
        whole: the same, with the attempts before that were refused.
        refused: with 503.
        late: when those were begun that were refused late, and seconds.
        others: statuses that nobody expects.
    """

    answered: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: list[tuple[float, float]] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def requests(photos: list[Path], ids: list[str]) -> list[Request]:
    """Photos and candidates, the same each time."""
    rng = random.Random(0)
    contents = [path.read_bytes() for path in photos]
    return [
        (rng.sample(contents, PHOTOS), rng.sample(ids, min(CANDIDATES, len(ids))))
        for _ in range(BODIES)
    ]


def as_bytes(request: Request) -> bytes:
    """A request as it is sent."""
    photos, ids = request
    parts = [('name="candidates"', "\n".join(ids).encode())]
    parts += [('name="photos"; filename="a.jpg"', photo) for photo in photos]
    body = b"".join(
        b"--mark\r\nContent-Disposition: form-data; " + name.encode() + b"\r\n\r\n" + what + b"\r\n"
        for name, what in parts
    )
    body += b"--mark--\r\n"
    head = (
        "POST /v1/match HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary=mark\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One to the server, opened anew where that closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes) -> tuple[int, float]:
        """Send a request; returns the status and Retry-After."""
        reused = self._streams is not None
        try:
            head, reader = await self._send(content)
        except (OSError, asyncio.IncompleteReadError):
            if not reused:
                raise
            self.close()  # the server had closed it: it was idle
            head, reader = await self._send(content)
        length = re.search(rb"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        if b"connection: close" in head:
            self.close()
        wait = re.search(rb"retry-after: (\d+)", head)
        return int(head.split()[1]), float(wait[1]) if wait else 0.0

    async def _send(self, content: bytes) -> tuple[bytes, asyncio.StreamReader]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        writer.write(content)
        return (await reader.readuntil(b"\r\n\r\n")).lower(), reader

    def close(self) -> None:
        """End it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def ask(connection: Connection, content: bytes, began: float, seen: Seen) -> float:
    """Ask once, and note how it went; returns how long to wait before trying again, 0 if done."""
    now = time.perf_counter()
    status, wait = await connection.ask(content)
    took = time.perf_counter() - now
    if status == 503:
        seen.refused.append(took)
        if took >= SOON:
            seen.late.append((now, took))
        return wait
    if status == 200:
        seen.answered.append(took)
        seen.whole.append(time.perf_counter() - began)
    else:
        seen.others.append(status)
    return 0.0


async def closed(port: int, contents: list[bytes], clients: int, seconds: float) -> Seen:
    """So many clients, each with its next request when the last one was answered."""
    seen, until = Seen(), time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection, rng = Connection(port), random.Random(number)
        while (began := time.perf_counter()) < until:
            content = rng.choice(contents)
            while wait := await ask(connection, content, began, seen):
                await asyncio.sleep(wait * rng.uniform(1, 1.5))
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return seen


async def open_loop(port: int, contents: list[bytes], rate: float, seconds: float) -> Seen:
    """Requests at a steady rate, whether or not earlier ones were answered."""
    seen, rng = Seen(), random.Random(0)
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(content: bytes) -> None:
        connection = idle.pop() if idle else Connection(port)
        try:
            await ask(connection, content, time.perf_counter(), seen)
            idle.append(connection)
        except (OSError, asyncio.IncompleteReadError):
            seen.others.append(0)
            connection.close()

    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        task = asyncio.ensure_future(one(rng.choice(contents)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return seen


def library(index: Path, model: Path, some: list[Request], jobs: int, seconds: float) -> None:
    """Print photos a second of the library itself, and ms of processor time a photo."""
    with Matcher.open(index, model) as matcher:
        matcher.match(*some[0])
        done, began, used = 0, time.perf_counter(), time.process_time()
        while (took := time.perf_counter() - began) < seconds:
            photos, ids = some[done % len(some)]
            matcher.match(photos, ids, jobs=jobs)
            done += 1
    print(done * PHOTOS / took, 1e3 * (time.process_time() - used) / (done * PHOTOS))


def of_library(processes: int, jobs: int) -> tuple[float, float]:
    """Photos a second of so many processes with so many threads each, and ms a photo."""
    command = [sys.executable, *sys.argv, "--library", str(jobs)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(processes)
    ]
    found = [list(map(float, process.communicate()[0].split())) for process in running]
    return sum(rate for rate, _ in found), float(np.mean([used for _, used in found]))


class Server:
    """`embed serve` in processes of its own."""

    def __init__(self, index: Path, model: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from cli.main import main; main()", "serve"]
        command += ["--index", str(index), "--model", str(model), "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r":(\d+)  ", line)
        assert found, line
        self.port = int(found[1])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait()

    def megabytes(self, what: str) -> float:
        """Of memory: `VmRSS` now, `VmHWM` at most so far."""
        found = (path.joinpath("status").read_text(encoding="ascii") for path in self._processes())
        return sum(int(status.split(f"{what}:")[1].split()[0]) for status in found) / 1024

    def processor(self) -> float:
        """Seconds of processor time so far."""
        found = (path.joinpath("stat").read_text(encoding="ascii") for path in self._processes())
        ticks = (sum(map(int, stat.rsplit(")", 1)[1].split()[11:13])) for stat in found)
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> list[Path]:
        """Its own, and those that embed."""
        found = [Path(f"/proc/{self.process.pid}")]
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                stat = (path / "stat").read_text(encoding="utf-8", errors="replace")
                if int(stat.rsplit(")", 1)[1].split()[1]) == self.process.pid:
                    found.append(path)
        return found


def milliseconds(values: list[float]) -> str:
    """Median, 99th percentile and most."""
    if not values:
        return "none"
    half, high = np.percentile(values, (50, 99))
    return f"median {1e3 * half:.1f}, p99 {1e3 * high:.1f}, most {1e3 * max(values):.1f} ms"


def throughput(server: Server, contents: list[bytes], seconds: float) -> float:
    """Print photos a second in turns with the library's; returns requests a second."""
    cores = os.cpu_count() or 1
    rates, shares = [], []
    for turn in range(5):
        (one, used_one), (all_cores, used_all) = of_library(1, cores), of_library(cores, 1)
        began, used, client = time.perf_counter(), server.processor(), time.process_time()
        seen = run(closed(server.port, contents, CLIENTS, seconds))
        took, photos = time.perf_counter() - began, len(seen.answered) * PHOTOS
        used, client = server.processor() - used, time.process_time() - client
        rates.append(len(seen.answered) / took)
        shares.append((photos / took / one, photos / took / all_cores))
        print(
            f"turn {turn + 1}, photos/s: library {one:,.0f}, {cores} processes of it "
            f"{all_cores:,.0f}; {CLIENTS} clients {photos / took:,.0f}; others {seen.others}\n"
            f"  processor, ms a photo: library {used_one:.2f}, {used_all:.2f}; server "
            f"{1e3 * used / photos:.2f}, clients {1e3 * client / photos:.2f}\n"
            f"  answered {len(seen.answered):,}: {milliseconds(seen.answered)}\n"
            f"  told to try again {len(seen.refused):,}: {milliseconds(seen.refused)}",
            flush=True,
        )
    one, all_cores = np.median(shares, axis=0)
    print(
        f"median of {len(shares)} turns: {one:.1%} of the library, {all_cores:.1%} of {cores} "
        f"processes of it; server {server.megabytes('VmRSS'):,.0f} MB, at most "
        f"{server.megabytes('VmHWM'):,.0f} MB"
    )
    return float(np.median(rates))


def overload(server: Server, contents: list[bytes], rate: float, seconds: float) -> None:
    """Print what 4 times as many requests as can be answered get."""
    with before_others():
        alone = run(closed(server.port, contents, 1, max(20, seconds / 10)))
    print(f"one client: {len(alone.answered):,}: {milliseconds(alone.answered)}")
    before = server.megabytes("VmRSS")
    with watched_machine() as looks, before_others():
        seen = run(open_loop(server.port, contents, 4 * rate, seconds))
    slow, machine = slow_moments(looks)
    outside = sum(
        not ((slow > start - BETWEEN) & (slow < start + late)).any() for start, late in seen.late
    )
    ratio = np.percentile(seen.answered, 99) / np.percentile(alone.answered, 99)
    print(
        f"{4 * rate:,.0f} requests/s for {seconds:.0f} s, 4 times what it can answer:\n"
        f"  answered {len(seen.answered):,}: {milliseconds(seen.answered)}: p99 {ratio:.2f}x\n"
        f"  refused {len(seen.refused):,}: {milliseconds(seen.refused)}; {len(seen.late):,} of "
        f"them took {1e3 * SOON:.0f} ms or more, {outside:,} while the machine was not slow\n"
        f"  {machine}\n"
        f"  others {seen.others[:9]}; server runs: {server.process.poll() is None}; "
        f"memory {before:,.0f} to {server.megabytes('VmRSS'):,.0f} MB, "
        f"at most {server.megabytes('VmHWM'):,.0f} MB",
        flush=True,
    )


@contextmanager
def watched_machine() -> Iterator[list[tuple[float, float]]]:
    """Afterwards: when the machine was looked at meanwhile, and how long the same work took."""
    looks: list[tuple[float, float]] = []
    probe = subprocess.Popen([sys.executable, "-c", _PROBE], stdout=subprocess.PIPE, text=True)
    yield looks
    probe.terminate()
    looks += json.loads(probe.communicate()[0])


def slow_moments(looks: list[tuple[float, float]]) -> tuple[np.ndarray, str]:
    """When the machine was slow, and what is said of it."""
    began, took = np.array(looks).T
    usual = float(np.median(took))
    slow = took > SLOWER * usual
    ends = np.flatnonzero(np.diff(slow, prepend=False, append=False)).reshape(-1, 2)
    longest = max((began[end - 1] + took[end - 1] - began[start] for start, end in ends), default=0)
    return began[slow], (
        f"the machine: work of {1e3 * usual:.2f} ms, by a process before all others, took "
        f"{1e3 * np.percentile(took, 99):.2f} ms (p99), {1e3 * took.max():.2f} ms at most; "
        f"{SLOWER} times as long or longer {slow.mean():.1%} of the time, for "
        f"{1e3 * longest:.0f} ms in a row"
    )


@contextmanager
def before_others() -> Iterator[None]:
    """Go before other processes meanwhile, where this one may."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, usual - 10)
    except OSError:
        print("not allowed to go before the server: its times have this process' own in them")
    yield
    os.setpriority(os.PRIO_PROCESS, 0, usual)


def run(what: Awaitable[Seen]) -> Seen:
    """To the end, on a fast loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def waited() -> Seen:
            return await what

        return runner.run(waited())


def main() -> None:
    """Measure both parts on one server."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--index", type=Path, default=Path("items.index"))
    parser.add_argument("--model", type=Path, default=Path("items.model"))
    parser.add_argument("--turn", type=float, default=10, help="seconds a turn")
    parser.add_argument("--overload", type=float, default=300, help="seconds of 4x load")
    parser.add_argument("--library", type=int, metavar="JOBS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    photos = sorted(path for path in arguments.photos.rglob("*") if path.is_file())
    photos = [path for path in photos if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    with Store.open(arguments.index) as store:
        some = requests(photos, list(store.ids()))
    if arguments.library:
        library(arguments.index, arguments.model, some, arguments.library, arguments.turn)
        return

    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(" ".join(f"{name} {version(name)}" for name in LIBRARIES))
    contents = [as_bytes(one) for one in some]
    print(f"{np.mean([len(content) for content in contents]) / 1e3:,.0f} kB a request", flush=True)
    with watched_machine() as looks:
        time.sleep(IDLE)
    print(f"idle, for {IDLE} s: {slow_moments(looks)[1]}", flush=True)
    with Server(arguments.index, arguments.model) as server:
        rate = throughput(server, contents, arguments.turn)
        print(f"\nas it is by default, --queue {QUEUE}")
        overload(server, contents, rate, arguments.overload / 10)
    with Server(arguments.index, arguments.model, "--queue", "1") as server:
        print("\n--queue 1")
        overload(server, contents, rate, arguments.overload)


if __name__ == "__main__":
    main()
