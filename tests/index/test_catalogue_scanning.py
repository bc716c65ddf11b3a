"""A catalogue read by several processes is the one that is read by one."""

import os

import pytest
from PIL import Image

from embedder import CatalogueError, read_catalogue
from index import build_index, catalogue_scanning
from index.catalogue_scanning import scan_catalogue
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
    monkeypatch.setattr(catalogue_scanning, "PHOTOS_A_PROCESS", 10)


@pytest.fixture
def ended(monkeypatch):
    """How the children ended that were started."""
    found, run = [], catalogue_scanning.run_apart

    def run_and_tell(*given):
        found.append(run(*given))
        return found[-1]

    monkeypatch.setattr(catalogue_scanning, "run_apart", run_and_tell)
    return found


@pytest.mark.parametrize(
    ("place", "jobs"),
    [("catalogue", 1), ("catalogue", 2), (".", 3), ("../catalogue", 3), ("absolute", 50)],
)
def test_the_same_whatever_the_number_of_processes(folder, monkeypatch, ended, place, jobs):
    monkeypatch.chdir(folder if place.startswith(".") else folder.parent)
    source = folder if place == "absolute" else type(folder)(place)
    found = scan_catalogue(source, jobs)
    expected = read_catalogue(source)
    assert found.catalogue == expected
    assert list(found.catalogue.items) == list(expected.items)
    assert found.catalogue.photo_count == 4 * (len(ITEMS) - 1)
    assert list(found.signatures.items()) == list(signatures_of(expected).items())
    assert ended == [0] * (min(jobs, 3) - 1)


@pytest.mark.parametrize("end", [-9, 1, None, 0, OSError("no room")])
def test_what_a_lost_child_was_to_read_is_read(folder, monkeypatch, end):
    expected = scan_catalogue(folder, 1)

    def lost(module, arguments, seconds, output, given):
        output.write(b'hello [["a", [], ""]]')
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


@pytest.mark.parametrize("name", ["8", "D", "aa"])  # read by another process each
def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch, name, ended):
    gone = folder / name
    gone.mkdir()
    listed = catalogue_scanning.item_folders(folder)
    gone.rmdir()
    monkeypatch.setattr(catalogue_scanning, "item_folders", lambda root: listed)
    monkeypatch.setattr(catalogue_scanning, "_LOOKED_INTO", 3)
    with pytest.raises(CatalogueError) as caught:
        scan_catalogue(folder, 3)
    assert str(caught.value) == f"{gone}: cannot be read: No such file or directory"
    assert sorted(ended) == ([0, 0] if name == "8" else [0, 1])


def test_an_index_of_what_several_processes_read(
    folder, tmp_path, random_embedder, everything, ended
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
    assert ended == [0] * 4
