"""Builds killed at any moment: nothing is lost that was kept, and the index stays whole."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from embedder import IndexFileError, read_catalogue
from embedder.sample import write_sample
from index import build_index
from index.store import Store

PHOTOS = 300
KILLS = 12
# The command itself, but that it keeps what it has ten times as often: the builds here are short.
COMMAND = """
import index.building
index.building._SECONDS_BETWEEN_COMMITS = 0.02
from cli.main import main
main()
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A catalogue of a few hundred photos."""
    folder = tmp_path_factory.mktemp("large")
    write_sample(folder, items=12, photos=PHOTOS // 12, queries=0, size=64)
    return folder / "catalogue"


def start(folder, model, index):
    command = [sys.executable, "-c", COMMAND, "build-index", folder, "--jobs", "1"]
    command += ["--model", model, "--index", index]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kept(index):
    """How many photos are kept; a second look, by hand, at what a killed process left."""
    path = index.with_name(f"{index.name}.photos")
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return 0
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return database.execute("SELECT count(*) FROM photos").fetchone()[0]


def kill_in_the_middle(process, unfinished, pause):
    """Kill a build some time after it has begun to write; says whether it was still at work."""
    until = time.monotonic() + 60
    while not unfinished.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(pause)
    process.kill()
    errors = process.stderr.read()
    process.stderr.close()
    killed = process.wait(timeout=60) == -signal.SIGKILL
    assert not killed or errors == ""
    return killed


def test_a_build_that_is_killed_again_and_again_loses_nothing_that_was_kept(
    large, random_model, random_embedder, everything, tmp_path
):
    index, unfinished = tmp_path / "items.index", tmp_path / "items.index.building"
    build_index(read_catalogue(large), random_embedder, tmp_path / "whole.index")
    pauses, before, killed = random.Random(3), 0, 0
    for _ in range(KILLS):
        unfinished.unlink(missing_ok=True)
        process = start(large, random_model, index)
        killed += kill_in_the_middle(process, unfinished, pauses.uniform(0, 0.08))
        assert kept(index) >= before
        before = kept(index)
    last = start(large, random_model, index)
    said = last.communicate(timeout=60)[1]
    assert last.returncode == 0, said
    assert f"12 items, 300 photos ({PHOTOS - before} embedded now)" in said
    assert everything(index) == everything(tmp_path / "whole.index")
    assert killed > KILLS // 2
    assert before > 0
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("whole"))
    assert left == [".items.index.lock", ".whole.index.lock", "items.index", "items.index.photos"]


def test_the_old_index_stays_while_a_build_is_killed(
    large, random_model, random_embedder, everything, tmp_path
):
    folder, index = tmp_path / "catalogue", tmp_path / "items.index"
    write_sample(tmp_path, items=12, photos=5, queries=0, size=64)
    build_index(read_catalogue(folder), random_embedder, index)
    old = index.read_bytes()
    pauses = random.Random(4)
    for _ in range(3):
        (tmp_path / "items.index.building").unlink(missing_ok=True)
        process = start(large, random_model, index)
        if kill_in_the_middle(process, tmp_path / "items.index.building", pauses.uniform(0, 0.04)):
            assert index.read_bytes() == old
            with Store.open(index) as store:
                assert store.photo_count() == 60
    build_index(read_catalogue(large), random_embedder, index)
    build_index(read_catalogue(large), random_embedder, tmp_path / "whole.index")
    assert everything(index) == everything(tmp_path / "whole.index")


@pytest.mark.parametrize("room", [0, 4096, 20_000, 60_000, 100_000])
def test_a_disk_that_is_full_stops_a_build_in_one_line_and_the_next_goes_on(
    large, random_embedder, everything, tmp_path, little_room, room
):
    index = tmp_path / "items.index"
    with little_room(room), pytest.raises(IndexFileError) as error:
        build_index(read_catalogue(large), random_embedder, index)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not index.exists()
    before = kept(index)
    assert build_index(read_catalogue(large), random_embedder, index).embedded == PHOTOS - before
    build_index(read_catalogue(large), random_embedder, tmp_path / "whole.index")
    assert everything(index) == everything(tmp_path / "whole.index")
