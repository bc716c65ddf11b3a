"""A catalogue read by several processes is the one that is read by one."""

import os
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from embedder import CatalogueError, read_catalogue
from index import build_index, catalogue_scanning
from index.catalogue_scanning import begun_scan, scan_catalogue
from index.signatures import signatures_of

ITEMS = ["a", "b, c", "ü ö", "Cafe\N{COMBINING ACUTE ACCENT}", "'x'", '"', "7", "no photos", "z\\n"]
PHOTOS = [b"2.jpg", b"10.JPG", b"\xff\xfe.png", b"deep/er/1.webp", b".hidden.jpg", b"notes.txt"]
LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "catalogue"
    for number, item in enumerate(ITEMS):
        for name in PHOTOS if item != "no photos" else [b"notes.txt"]:
            path = root / item / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(number))
            os.utime(path, (LONG_AGO, LONG_AGO + number))
    (root / ".hidden").mkdir()
    (root / "loose.jpg").write_bytes(b"")
    return root


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(catalogue_scanning, "PHOTOS_A_PROCESS", 10)
    monkeypatch.setattr(catalogue_scanning, "_PHOTOS_IN_A_PART", (1, 8))


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    found, start = [], catalogue_scanning.start_apart

    def start_and_tell(*given):
        found.append(start(*given))
        return found[-1]

    monkeypatch.setattr(catalogue_scanning, "start_apart", start_and_tell)
    return found


@pytest.fixture
def shared(monkeypatch):
    """Has each process, this one too, read a part; gives those of others that gave an answer."""
    answered, first = set(), {}
    read_by, read_here = catalogue_scanning.read_by, catalogue_scanning.read_folders

    def met(who):
        if who not in first:
            first[who] = True
            barrier.wait(60)

    def reads_by(process, folders):
        met(process)
        found = read_by(process, folders)
        answered.add(process)
        return found

    def reads_here(*given):
        met("here")
        return read_here(*given)

    def share(processes):
        nonlocal barrier
        barrier = threading.Barrier(processes)
        monkeypatch.setattr(catalogue_scanning, "read_by", reads_by)
        monkeypatch.setattr(catalogue_scanning, "read_folders", reads_here)
        return answered

    barrier = threading.Barrier(1)
    return share


@pytest.mark.parametrize(
    ("place", "jobs"),
    [("catalogue", 1), ("catalogue", 2), (".", 3), ("../catalogue", 3), ("absolute", 50)],
)
def test_the_same_whatever_the_number_of_processes(
    folder, monkeypatch, started, shared, place, jobs
):
    monkeypatch.chdir(folder if place.startswith(".") else folder.parent)
    source = folder if place == "absolute" else type(folder)(place)
    answered = shared(min(jobs, 3))
    found = scan_catalogue(source, jobs)
    expected = read_catalogue(source)
    assert found.catalogue == expected
    assert list(found.catalogue.items) == list(expected.items)
    assert found.catalogue.photo_count == 4 * (len(ITEMS) - 1)
    assert list(found.signatures.items()) == list(signatures_of(expected).items())
    assert len(answered) == min(jobs, 3) - 1
    assert answered == set(started)
    assert [process.returncode for process in started] == [0] * len(started)


ASKED = "import json, sys; asked = json.loads(sys.stdin.readline()); "
ANSWERS = {
    "nothing": "",
    "an error": "import sys; sys.exit(1)",
    "words": "print('hello')",
    "a number": ASKED + "print(7)",
    "no list": ASKED + "print([0, 7])",
    "other folders": ASKED + "print([0, []])",
    "too much for memory": ASKED + "print([1 << 60, []])",
    "no number": ASKED + "print('[1e999, []]')",
    "cut off": ASKED + "print(json.dumps([9, [[name, 1, ''] for name in asked]])); print('x')",
    "a path too many": ASKED
    + "print(json.dumps([3, [[name, 0, ''] for name in asked]])); print('x', 'y', sep=chr(0))",
    "no signature": ASKED + "print(json.dumps([0, [[name, 0, 'x'] for name in asked]]))",
}


@pytest.fixture
def asked_first(monkeypatch):
    """Has this process read nothing before others were asked so many times."""
    read_by, read_here = catalogue_scanning.read_by, catalogue_scanning.read_folders
    asked, waited = threading.Semaphore(0), []

    def reads_by(*given):
        try:
            return read_by(*given)
        finally:
            asked.release()

    def first(times):
        def reads_here(*given):
            while len(waited) < times:
                assert asked.acquire(timeout=60)
                waited.append(True)
            return read_here(*given)

        monkeypatch.setattr(catalogue_scanning, "read_folders", reads_here)
        monkeypatch.setattr(catalogue_scanning, "read_by", reads_by)
        return waited

    return first


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_lost_process_was_to_read_is_read(folder, monkeypatch, asked_first, answer):
    expected, asked = scan_catalogue(folder, 1), asked_first(2)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}

    def other(module, arguments):
        return subprocess.Popen([sys.executable, "-c", ANSWERS[answer]], **pipes)

    monkeypatch.setattr(catalogue_scanning, "start_apart", other)
    assert scan_catalogue(folder, 3) == expected
    assert len(asked) == 2


def test_a_process_that_is_killed_between_two_parts_loses_nothing(
    folder, monkeypatch, started, asked_first
):
    expected = scan_catalogue(folder, 1)
    asked, answers, read_by = asked_first(2), [], catalogue_scanning.read_by

    def read_and_kill(process, folders):
        answers.append(read_by(process, folders))
        process.kill()
        process.wait()
        return answers[-1]

    monkeypatch.setattr(catalogue_scanning, "read_by", read_and_kill)
    assert scan_catalogue(folder, 2) == expected
    assert (len(asked), len(answers), len(started)) == (2, 1, 1)


def test_without_room_for_a_process_this_one_reads_all(folder, monkeypatch):
    expected = scan_catalogue(folder, 1)

    def no_room(module, arguments):
        raise OSError("no room")

    monkeypatch.setattr(catalogue_scanning, "start_apart", no_room)
    assert scan_catalogue(folder, 3) == expected


def test_the_same_errors(folder, tmp_path):
    (folder / "Caf\N{LATIN SMALL LETTER E WITH ACUTE}").mkdir()
    for source in (folder, tmp_path / "nothing", folder / ".hidden"):
        with pytest.raises(CatalogueError) as expected:
            read_catalogue(source)
        with pytest.raises(CatalogueError) as found:
            scan_catalogue(source, 3)
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("name", ["8", "D", "aa"])
def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch, name, started):
    gone = folder / name
    gone.mkdir()
    listed = catalogue_scanning.item_folders(folder)
    gone.rmdir()
    monkeypatch.setattr(catalogue_scanning, "item_folders", lambda root: listed)
    monkeypatch.setattr(catalogue_scanning, "_LOOKED_INTO", 3)
    with pytest.raises(CatalogueError) as caught:
        scan_catalogue(folder, 3)
    assert str(caught.value) == f"{gone}: cannot be read: No such file or directory"
    assert all(process.returncode is not None for process in started)


def test_processes_end_with_the_block(folder, started):
    with pytest.raises(KeyError, match="mine"), begun_scan(folder, 3):
        while len(started) < 2:
            time.sleep(0.01)
        raise KeyError("mine")
    assert all(process.returncode is not None for process in started)


def test_all_of_it_is_given_within_the_block_alone(folder):
    with begun_scan(folder, 2) as finish:
        pass
    with pytest.raises(RuntimeError, match="within the block"):
        finish()


@pytest.mark.parametrize(("folders", "photos"), [(1, 1), (3, 300_000), (12, 1_200_000), (5000, 9)])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_folders_are_shared_out_whatever_they_hold(monkeypatch, folders, photos, count):
    monkeypatch.setattr(catalogue_scanning, "_PHOTOS_IN_A_PART", (2_000, 100_000))
    names = {f"{number}": f"in/{number}" for number in range(folders)}
    parts = list(catalogue_scanning._parts(names, photos, count))
    assert [pair for part in parts for pair in part.items()] == list(names.items())
    assert all(parts)
    if photos >= 300_000:  # none has more than a process would get if all had as many
        assert max(map(len, parts)) <= max(1, folders // (2 * count))
    else:
        assert len(parts) == 1


def test_an_index_of_what_several_processes_read(
    folder, tmp_path, random_embedder, everything, started
):
    for number, photo in enumerate(sorted(folder.rglob("*.[jJ][pP][gG]"))):
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(photo, "BMP")
        os.utime(photo, (LONG_AGO, LONG_AGO))
    index, fresh = tmp_path / "items.index", tmp_path / "fresh.index"
    build_index(scan_catalogue(folder, 3), random_embedder, index, skip_empty=True)
    for item in ITEMS[:3]:
        Image.new("RGB", (9, 9), (0, len(item), 0)).save(folder / item / "2.jpg", "BMP")
        os.utime(folder / item / "2.jpg", (LONG_AGO, LONG_AGO))
    found = build_index(scan_catalogue(folder, 3), random_embedder, index, skip_empty=True)
    assert found.embedded == 3
    assert (
        build_index(read_catalogue(folder), random_embedder, index, skip_empty=True).embedded == 0
    )
    build_index(read_catalogue(folder), random_embedder, fresh, skip_empty=True)
    assert everything(index) == everything(fresh)
    assert [process.returncode for process in started] == [0] * 4
