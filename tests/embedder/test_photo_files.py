"""Photo files: their content, what is refused of it, and what they are called in a catalogue."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import Catalogue, PhotoError, photos, read_catalogue
from embedder.catalogue import photo_states
from embedder.photos import prepare, read_photo


def refusal(path):
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    assert "\n" not in str(caught.value)
    return caught.value


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.mark.parametrize("content", [b"", b"\0", b"no photo\r\n\x1a", bytes(range(256)) * 999])
def test_the_content_of_a_file_comes_as_it_is(tmp_path, content):
    path = tmp_path / "1.jpg"
    path.write_bytes(content)
    assert read_photo(path) == read_photo(str(path)) == content


def test_a_file_whose_name_is_not_unicode_is_read_and_refused_by_a_name_that_is(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.jpg"))
    assert refusal(path).photo == f"{tmp_path}/?.jpg"
    path.write_bytes(b"content")
    assert read_photo(path) == b"content"


def test_a_number_is_no_path_and_an_open_file_stays_open(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"content")
    with (tmp_path / "1.jpg").open("rb") as file:
        for number in (file.fileno(), np.int64(file.fileno()), True, None):
            assert "expected str, bytes or os.PathLike" in str(refusal(number))
        assert file.read() == b"content"


def test_a_file_that_gives_less_than_asked_for_is_read_to_its_end(tmp_path, monkeypatch):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"content")

    class Slow(io.FileIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    monkeypatch.setattr("builtins.open", lambda path, mode, buffering: Slow(path, mode))
    assert read_photo(path) == b"content"


def test_missing_files_and_folders_are_refused(tmp_path):
    error = refusal(tmp_path / "gone.jpg")
    assert (error.photo, error.reason) == (str(tmp_path / "gone.jpg"), "no such file")
    assert refusal(tmp_path / "none" / "gone.jpg").reason == "no such file"
    assert "folder" in refusal(tmp_path).reason
    touch(tmp_path, "1.jpg")
    assert refusal(tmp_path / "1.jpg" / "2.jpg").reason
    assert refusal("nul\0.jpg").photo == "nul\0.jpg"
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    assert refusal(tmp_path / "nowhere.jpg").reason == "no such file"
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert refusal(tmp_path / "loop.jpg").reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_special_files_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "1.jpg")
    assert "special file" in refusal(tmp_path / "1.jpg").reason
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    assert "special file" in refusal(tmp_path / "link.jpg").reason


@pytest.mark.parametrize("size", [0, 99, 100])
def test_a_file_may_have_as_many_bytes_as_the_limit(tmp_path, monkeypatch, size):
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 100)
    path = tmp_path / "1.jpg"
    path.write_bytes(b"x" * size)
    assert read_photo(path) == b"x" * size


def test_a_file_of_more_bytes_is_refused_in_every_way_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "1.jpg"
    path.write_bytes(b"x" * 1001)
    assert refusal(path).reason == "expected at most 1,000 bytes, found 1,001"
    with pytest.raises(PhotoError, match="expected at most 1,000 bytes, found 1,001"):
        prepare(path, 8)


def test_a_file_of_many_empty_bytes_is_refused_unread(tmp_path):
    path = tmp_path / "1.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert "found 1,099,511,627,776" in refusal(path).reason


def test_the_state_of_a_file_is_its_size_and_time(tmp_path):
    path = tmp_path / "1.jpg"
    assert photo_states([str(path)]) == [(-1, -1)]
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    there, gone = (5, 1_234_567_890_123_456_789), (-1, -1)
    assert photo_states([str(path)]) == [there]
    assert photo_states([str(path), f"{path}.not", str(path)]) == [there, gone, there]


INSIDE = ["a/1.jpg", "a/old/2.jpg", "a/..jpg", "ü ö/1.jpg"]


def names(catalogue):
    return sorted(catalogue.within([photo])[0] for photo in catalogue.paths())


@pytest.fixture
def folder(tmp_path):
    touch(tmp_path, *(f"place/cat/{name}" for name in INSIDE))
    (tmp_path / "place" / "cat" / "..jpg").touch()
    return tmp_path / "place" / "cat"


@pytest.mark.parametrize(
    ("start", "source"),
    [
        ("/", "{folder}"),
        ("/", "{folder}/"),
        ("{folder}", "."),
        ("{folder}", "./"),
        ("{folder}/a", ".."),
        ("{folder}/..", "cat"),
        ("{folder}/..", "./cat/../cat"),
        ("{folder}/a", "../../cat"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "manifest", "absolute manifest"])
def test_photos_are_called_the_same_wherever_their_catalogue_is(
    folder, monkeypatch, start, source, kind
):
    start, source = start.format(folder=folder), source.format(folder=folder)
    monkeypatch.chdir(start)
    visible = [name for name in INSIDE if not Path(name).name.startswith(".")]
    if kind == "folder":
        assert names(read_catalogue(source)) == sorted(visible)
        return
    before = f"{folder}/" if kind == "absolute manifest" else ""
    rows = [f"x,{before}{name}" for name in INSIDE]
    (folder / "items.csv").write_text("\n".join(["item_id,path", *rows]))
    assert names(read_catalogue(Path(source) / "items.csv")) == sorted(INSIDE)


def test_photos_outside_of_a_manifests_folder_are_called_by_their_way_from_it(
    folder, monkeypatch, tmp_path
):
    touch(tmp_path, "place/cat-2/1.jpg")
    rows = ["item_id,path", "x,../cat-2/1.jpg", f"x,{tmp_path}/place/cat-2/1.jpg"]
    (folder / "items.csv").write_text("\n".join(rows))
    assert names(read_catalogue(folder / "items.csv")) == ["../cat-2/1.jpg"] * 2
    monkeypatch.chdir(tmp_path / "place")
    assert names(read_catalogue("cat/items.csv")) == ["../cat-2/1.jpg"] * 2


def test_a_name_that_is_not_unicode_stays_as_it_is(folder):
    photo = os.fsdecode(os.fsencode(folder) + b"/a/\xe4\xff.jpg")
    Path(photo).touch()
    catalogue = read_catalogue(folder)
    assert photo in catalogue.items["a"]
    assert os.fsencode(catalogue.within([photo])[0]) == b"a/\xe4\xff.jpg"


parts = st.lists(st.sampled_from(["a", "b", "cat", "ü", "x y"]), min_size=1, max_size=4)


@settings(max_examples=100)
@given(parts, parts, st.booleans())
def test_any_photo_is_found_again_by_what_it_is_called(root, photo, below):
    source = Path("/", *root)
    path = str(source.joinpath(*photo) if below else Path("/", *photo))
    called = Catalogue(source, {}).within([path])[0]
    assert os.path.normpath(source / called) == path
    moved = Catalogue(Path("/elsewhere/again"), {})
    if below:
        assert moved.within([str(moved.source.joinpath(*photo))])[0] == called == "/".join(photo)


def test_one_content_gives_one_photo_from_a_file_or_its_bytes(catalogue):
    path = next(catalogue.paths())
    np.testing.assert_array_equal(prepare(path, 32), prepare(read_photo(path), 32))


def test_a_folder_may_be_called_like_a_manifest(tmp_path):
    touch(tmp_path, "photos.csv/a/1.jpg")
    assert names(read_catalogue(tmp_path / "photos.csv")) == ["a/1.jpg"]
