"""A catalogue read by several processes is the one that is read by one."""

import os
import shutil

import pytest
from PIL import Image

from embedder import CatalogueError, read_catalogue
from index import catalogue_scanning
from index.catalogue_scanning import FEWEST_FOLDERS, scan_catalogue
from index.changes import signatures_of

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
    monkeypatch.setattr(catalogue_scanning, "FEWEST_FOLDERS", 3)


@pytest.fixture
def asked(monkeypatch):
    """The children that were started."""
    found, run = [], catalogue_scanning.run_apart
    monkeypatch.setattr(
        catalogue_scanning, "run_apart", lambda *given: found.append(given) or run(*given)
    )
    return found


@pytest.mark.parametrize(
    ("place", "jobs"),
    [("catalogue", 1), ("catalogue", 2), (".", 3), ("../catalogue", 3), ("absolute", 50)],
)
def test_the_same_whatever_the_number_of_processes(folder, monkeypatch, asked, place, jobs):
    monkeypatch.chdir(folder if place.startswith(".") else folder.parent)
    source = folder if place == "absolute" else type(folder)(place)
    found = scan_catalogue(source, jobs)
    expected = read_catalogue(source)
    assert found.catalogue == expected
    assert list(found.catalogue.items) == list(expected.items)
    assert found.catalogue.photo_count == 4 * (len(ITEMS) - 1)
    assert found.signatures == signatures_of(expected)
    assert len(asked) == min(jobs, 3) - 1


@pytest.mark.parametrize("end", [-9, 1, None, OSError("no room")])
def test_what_a_lost_child_was_to_read_is_read(folder, monkeypatch, end):
    expected = scan_catalogue(folder, 1)

    def lost(module, arguments, seconds, output):
        output.write(b'[["a", [], ""]]')
        if isinstance(end, OSError):
            raise end
        return end

    monkeypatch.setattr(catalogue_scanning, "run_apart", lost)
    assert scan_catalogue(folder, 3) == expected


def test_the_same_errors(folder, tmp_path):
    (folder / "Caf\N{LATIN SMALL LETTER E WITH ACUTE}").mkdir()
    for source in (folder, tmp_path / "nothing", folder / ".hidden"):
        with pytest.raises(CatalogueError) as expected:
            read_catalogue(source)
        with pytest.raises(CatalogueError) as found:
            scan_catalogue(source, 3)
        assert str(found.value) == str(expected.value)


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    for job in (1, 3):
        gone = folder / "gone"
        gone.mkdir(exist_ok=True)
        listed = catalogue_scanning.item_folders(folder)
        gone.rmdir()
        monkeypatch.setattr(catalogue_scanning, "item_folders", lambda root, found=listed: found)
        monkeypatch.setattr("embedder.catalogue.item_folders", lambda root, found=listed: found)
        with pytest.raises(CatalogueError) as caught:
            scan_catalogue(folder, job)
        assert str(caught.value) == f"{gone}: cannot be read: No such file or directory"


def test_a_changed_photo_of_many_folders_is_seen(tmp_path, embed, random_model):
    folder = tmp_path / "catalogue"

    def write(number, side):
        Image.new("RGB", (side, side), (number, 0, 0)).save(folder / f"{number:04}" / "1.bmp")
        os.utime(folder / f"{number:04}" / "1.bmp", (LONG_AGO, LONG_AGO))

    def embedded(*options):
        done = embed("build-index", "catalogue", "--model", random_model, *options)
        return done.stderr.splitlines()[-1].partition("photos ")[2]

    for number in range(2 * FEWEST_FOLDERS):
        (folder / f"{number:04}").mkdir(parents=True)
        if number < 20:
            write(number, 8)
        else:
            shutil.copy2(folder / f"{number % 20:04}" / "1.bmp", folder / f"{number:04}")
    assert embedded("--jobs", "2") == f"({2 * FEWEST_FOLDERS:,} embedded now)"
    assert embedded("--jobs", "1") == "(0 embedded now)"
    for number in (3, 4):  # one is looked at here, one by a child
        write(number, 9)
    assert embedded("--jobs", "2") == "(2 embedded now)"
