"""A disk that is full, fails, or may not be written, at each call that changes a file."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from embedder import read_catalogue
from embedder.sample import write_sample
from index import add_item, build_index, remove_items
from index.store import Store

ONCE, ALWAYS, HALF = range(3)
HERE = Path(__file__).parent
ADVICE = {
    errno.ENOSPC: ("make room",),
    # A file that cannot be opened for writing is opened for reading by SQLite.
    errno.EIO: ("look after it", "make room", "may be written"),
    errno.EACCES: ("may be written", "look after it"),
    errno.EROFS: ("may be written", "look after it"),
}


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """The library that makes calls fail, compiled."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        message = "faults are injected on Linux, with a C compiler named cc"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, HERE / "faults.c"]
    subprocess.run([*command, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def failing(faults, random_model):
    """Run an `embed` command in a folder in which a call fails: its status, words and calls."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
    server = subprocess.Popen(
        [sys.executable, HERE / "fault_server.py", random_model],
        env=environment | {"LD_PRELOAD": str(faults)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(folder, arguments, at=0, code=0, mode=ONCE):
        request = {"folder": str(folder), "arguments": arguments, "at": at}
        print(json.dumps(request | {"code": code, "mode": mode}), file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    yield run
    server.stdin.close()
    assert server.wait(timeout=60) == 0
    server.stdout.close()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A catalogue of four items, one of them apart; their files were changed long ago."""
    folder = tmp_path_factory.mktemp("photos")
    write_sample(folder, items=4, photos=8, queries=0, size=64)
    for at, photo in enumerate(sorted(folder.rglob("*.jpg"))):
        os.utime(photo, (1_600_000_000 + at, 1_600_000_000 + at))
    shutil.move(max((folder / "catalogue").iterdir()), folder / "new")
    return folder


@pytest.fixture(scope="session")
def starts(photos, random_embedder, tmp_path_factory):
    """Folders to start from, by name."""
    root = tmp_path_factory.mktemp("starts")
    for name in ("empty", "older", "built"):
        (root / name).mkdir()
    whole = read_catalogue(photos / "catalogue")
    build_index(whole, random_embedder, root / "built" / "items.index")
    add_item(
        root / "built" / "items.index",
        random_embedder,
        "hand",
        sorted((photos / "new").iterdir())[:2],
    )
    shutil.copytree(root / "built", root / "older", dirs_exist_ok=True)
    remove_items(root / "older" / "items.index", [min(whole.items)])
    shutil.copytree(root / "empty", root / "resumed")
    shutil.copy2(root / "built" / "items.index.photos", root / "resumed")
    return root


def content(index):
    """All that an index says but when it was made; None if there is none."""
    if not index.exists():
        return None
    Store.open(index).close()
    with closing(sqlite3.connect(index)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        items = "id, centroid, photos, dispersion, reference, signature, checksum"
        queries = [
            f"SELECT {items} FROM items ORDER BY id",
            "SELECT * FROM unreadable ORDER BY 1, 2",
            "SELECT * FROM spreads ORDER BY 1",
            "SELECT * FROM meta WHERE key NOT IN ('created', 'highest', 'seal') ORDER BY 1",
        ]
        return [database.execute(query).fetchall() for query in queries]


def names(folder):
    return {path.name for path in folder.iterdir()}


CASES = {
    "fresh build": ("empty", ["build-index", "CATALOGUE"]),
    "resumed build": ("resumed", ["build-index", "CATALOGUE"]),
    "update": ("older", ["build-index", "CATALOGUE"]),
    "add": ("built", ["add", "sku-9", "NEW"]),
    "replace": ("built", ["add", "hand", "NEW", "--replace"]),
    "remove": ("built", ["remove", "hand", "sku-000001"]),
    "calibrate": ("built", ["calibrate", "CATALOGUE"]),
}
DONE_ALREADY = {"add": "has an item 'sku-9' already", "remove": "no such item"}


@pytest.mark.parametrize("case", CASES)
def test_a_failing_call_leaves_the_old_index_or_the_new_one(
    failing, photos, starts, random_model, tmp_path, case, rounds
):
    start, arguments = CASES[case]
    places = {"CATALOGUE": str(photos / "catalogue"), "NEW": str(photos / "new")}
    arguments = [places.get(argument, argument) for argument in arguments]
    if arguments[0] != "remove":
        arguments += ["--model", str(random_model)]
    folder = tmp_path / "place"

    def anew():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(starts / start, folder)

    index = folder / "items.index"
    anew()
    before = content(index)
    whole = failing(folder, arguments)
    assert whole["status"] == 0, whole["said"]
    assert whole["count"] > 5
    after, files = content(index), names(folder)
    assert after != before
    step = rounds(5, 1) if case == "calibrate" else 1  # it takes a second each time
    for at, code, mode in faults_of(range(1, whole["count"] + 1, step), bool(rounds(0, 1))):
        anew()
        done = failing(folder, arguments, at, code, mode)
        where = f"call {at} of {whole['count']}, {errno.errorcode[code]}, {mode}: {done}"
        found = content(index)
        if done["status"] == 0:
            assert found == after, where
        else:
            assert done["status"] == 1, where
            assert found in (before, after), where
            lines = done["said"].splitlines()
            assert len(lines) == 1 and lines[0].startswith("Error: "), where
            assert "items.index" in lines[0], where
            assert any(words in lines[0] for words in ADVICE[code]), where
        again = failing(folder, arguments)
        if not (found == after and DONE_ALREADY.get(case, "\n\n") in again["said"]):
            assert again["status"] == 0, (where, again)
        assert content(index) == after, where
        assert names(folder) == files, where


def faults_of(calls, every):
    """Which call fails, with which error, in which way: all of them, or two errors by turns."""
    for at in calls:
        for code in ADVICE if every else [list(ADVICE)[at % 2]]:
            for mode in (ONCE, ALWAYS, HALF) if every else (ONCE,):
                if mode != HALF or code == errno.ENOSPC:
                    yield at, code, mode


def test_a_failing_call_while_training_leaves_the_old_files_or_the_new_ones(
    faults, photos, tmp_path, rounds
):
    command = [sys.executable, HERE / "fault_training.py", tmp_path, photos / "catalogue"]
    done = subprocess.run(
        [*command, "many" if rounds(0, 1) else "few"],
        env=os.environ | {"LD_PRELOAD": str(faults)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    left = {"model": ["items.model"], "checkpoint": ["checkpoint.safetensors"], "cache": ["cache"]}
    assert {result["what"] for result in results} == left.keys()
    for result in results:
        said = result["said"]
        assert result["left"] == left[result["what"]], result
        if said:
            assert "\n" not in said
            assert str(tmp_path) in said
            assert any(words in said for words in ADVICE[result["code"]]), result
        if result["what"] != "cache":
            assert result["found"] in ((1, 2) if said else (2,)), result
    assert len({result["said"] for result in results}) > 6
