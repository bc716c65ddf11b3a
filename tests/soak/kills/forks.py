"""Runs `embed` commands in forked children and kills them; a program of its own.

It has imported all that a command needs, so that a child is at work after a millisecond, and a
random moment is seldom one of the start of Python. Arguments: modules to import first. Reads
requests from standard input and answers on standard output, both in lines of JSON.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from PIL import Image

# What Python tells an audit hook before it changes files. SQLite's own writes are not among them.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
CHANGES |= {"open", "shutil.copyfile", "shutil.rmtree", "sqlite3.connect"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LONGEST_SECONDS = 120


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_before_change(number: int, root: str, listing: int) -> None:
    """Kill this process right before its n-th change of files below a folder.

    An fsync and a pwrite count too, and where a transaction of SQLite begins and ends. Lists the
    changes in an open file. It works in that folder: relative paths are of files there, and so are
    SQLite's, which begin with `file:`.
    """
    done, connect = 0, sqlite3.connect

    def count(change: str) -> None:
        nonlocal done
        done += 1
        os.write(listing, f"{change}\n".encode())
        if done == number:
            die()

    def count_commits(statement: str) -> None:
        if statement.startswith(("BEGIN", "COMMIT")):
            count(statement)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        path = str(arguments[0]) if event in CHANGES else os.devnull
        if Path(path).is_absolute() and not path.startswith(root):
            return
        if event == "open" and not int(arguments[2]) & WRITES:
            return
        count(f"{event} {path}")

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: (count(call.__name__), call(*arguments))[1]

    def connected(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(count_commits)
        return connection

    os.fsync, os.pwrite = counted(os.fsync), counted(os.pwrite)
    sqlite3.connect = connected
    sys.addaudithook(watch)


def kill_while_copying() -> None:
    """Kill this process when it has copied half of a file."""

    def half(source: str, target: str) -> None:
        content = Path(source).read_bytes()
        Path(target).write_bytes(content[: len(content) // 2])
        die()

    shutil.copyfile = half


def kill_when_larger(size: int) -> None:
    """Kill this process when it writes beyond so many bytes of any file."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run(request: dict) -> int:
    from cli.main import main

    signal.alarm(LONGEST_SECONDS)
    os.chdir(request["folder"])
    log, changes = (os.open(path, os.O_WRONLY | os.O_APPEND) for path in request["logs"])
    for stream in (1, 2):
        os.dup2(log, stream)
    if (between := request.get("between_commits")) is not None:
        import index.building

        index.building._SECONDS_BETWEEN_COMMITS = between
    if (number := request.get("change")) is not None:
        kill_before_change(number, request["folder"], changes)
    if request.get("copying"):
        kill_while_copying()
    if (size := request.get("size")) is not None:
        kill_when_larger(size)
    try:
        main(request["arguments"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def child(request: dict) -> None:
    code = 70
    try:
        code = run(request)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    Image.preinit()
    gc.freeze()  # a child would copy the memory of all that it only looks through
    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            child(request)
        if (after := request.get("after")) is not None:
            time.sleep(after)
            os.kill(process, signal.SIGKILL)  # it may have ended: then it waits to be asked how
        _, status = os.waitpid(process, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "took": time.monotonic() - started}
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
