"""Tests of reading a catalogue from folders and from a manifest."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder import Catalogue, CatalogueError, read_catalogue


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def manifest(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(source: Path | str) -> str:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(source)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


def test_folders_are_items_in_sorted_order(tmp_path: Path):
    touch(tmp_path, "b/2.jpg", "b/10.jpg", "a/x.PNG", "C/1.webp", "ä ö/1.jpeg")
    catalogue = read_catalogue(tmp_path)
    assert catalogue.source == tmp_path
    assert list(catalogue.items) == ["C", "a", "b", "ä ö"]
    assert catalogue.items["b"] == (str(tmp_path / "b/10.jpg"), str(tmp_path / "b/2.jpg"))
    assert catalogue.photo_count == 5


def test_photos_in_nested_folders_belong_to_the_outer_one(tmp_path: Path):
    touch(tmp_path, "a/front/1.jpg", "a/back/old/2.jpg", "a/0.jpg")
    assert read_catalogue(tmp_path).items == {
        "a": tuple(
            str(tmp_path / "a" / name) for name in ("0.jpg", "back/old/2.jpg", "front/1.jpg")
        )
    }


@pytest.mark.parametrize(
    "other",
    [
        "a/.hidden.jpg",
        "a/._1.jpg",
        "a/notes.txt",
        "a/jpg",
        "a/1.jpg.part",
        "a/.thumbs/1.jpg",
        ".git/1.jpg",
        "loose.jpg",
    ],
)
def test_other_files_are_left_out(tmp_path: Path, other: str):
    touch(tmp_path, "a/1.jpg", other)
    assert read_catalogue(str(tmp_path)).items == {"a": (str(tmp_path / "a/1.jpg"),)}


def test_an_item_without_photos_is_kept(tmp_path: Path):
    touch(tmp_path, "a/1.jpg", "b/readme.txt")
    assert read_catalogue(tmp_path).items["b"] == ()


def test_a_linked_folder_is_an_item_and_a_loop_below_it_ends(tmp_path: Path):
    touch(tmp_path, "elsewhere/1.jpg", "root/a/1.jpg")
    (tmp_path / "root/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/again").symlink_to(tmp_path / "elsewhere")
    assert read_catalogue(tmp_path / "root").items["b"] == (str(tmp_path / "root/b/1.jpg"),)


@pytest.mark.parametrize(
    ("name", "found"),
    [("1.jpg", "photos but no folder"), ("a.txt", "no folder"), (".git/1.jpg", "no folder")],
)
def test_a_folder_without_items(tmp_path: Path, name: str, found: str):
    touch(tmp_path, name)
    assert f"found {found}: put the photos of each item into a folder" in refusal(tmp_path)


def test_nothing_there(tmp_path: Path):
    assert "found nothing: 'embed sample DIR' makes one to try" in refusal(tmp_path / "gone")


@pytest.mark.parametrize("name", ["list.txt", "1.jpg"])
def test_neither_folder_nor_manifest(tmp_path: Path, name: str):
    touch(tmp_path, name)
    assert "neither" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        "item_id,path\nb,x/2.jpg\na,1.jpg\nb,x/1.jpg\n",
        "item_id,path\r\nb,x/2.jpg\r\na,1.jpg\r\nb,x/1.jpg\r\n",
        "\ufeffitem_id,path\nb,x/2.jpg\na,1.jpg\nb,x/1.jpg",
        "item_id, path, note\nb, x/2.jpg,\n\n a ,1.jpg,good\n\nb,x/1.jpg\n\n",
    ],
    ids=["plain", "crlf", "bom", "spaces-blank-lines-more-columns"],
)
def test_manifest_dialects_read_alike(tmp_path: Path, content: str):
    path = manifest(tmp_path, content)
    assert read_catalogue(path).items == {
        "a": (str(tmp_path / "1.jpg"),),
        "b": (str(tmp_path / "x/1.jpg"), str(tmp_path / "x/2.jpg")),
    }
    assert list(read_catalogue(path).items) == ["a", "b"]


def test_quoted_ids_may_have_commas_and_quotes(tmp_path: Path):
    path = manifest(tmp_path, 'item_id,path\n"Tea, 20 ""best"" bags","a,b.jpg"\nSüß,1.jpg\n')
    assert read_catalogue(path).items == {
        "Süß": (str(tmp_path / "1.jpg"),),
        'Tea, 20 "best" bags': (str(tmp_path / "a,b.jpg"),),
    }


def test_absolute_paths_of_a_manifest_are_kept(tmp_path: Path):
    path = manifest(tmp_path, "item_id,path\na,/photos/1.jpg\n")
    assert read_catalogue(path).items == {"a": ("/photos/1.jpg",)}


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", 1, "found 'nothing'"),
        ("id,file\na,1.jpg\n", 1, "found 'id,file'"),
        ("item_id\n", 1, "found 'item_id'"),
        ("item_id,path\na,1.jpg\nb\n", 3, "found ['b']"),
        ("item_id,path\na,1.jpg\nb,2\0.jpg\n", 3, "found ['b', '2\\x00.jpg']"),
        ("item_id,path\n\n\na,\n", 4, "found ['a', '']"),
        ('item_id,path\n"a\nb",1.jpg\n , \n', 4, "found [' ', ' ']"),
    ],
)
def test_wrong_lines_of_a_manifest_are_named(tmp_path: Path, content: str, line: int, said: str):
    path = manifest(tmp_path, content)
    message = refusal(path)
    assert message.startswith(f"{path}:{line}: expected 'item_id,path'")
    assert message.endswith(said)


def test_a_manifest_without_rows(tmp_path: Path):
    assert refusal(manifest(tmp_path, "item_id,path\n\n")).endswith("found none")


def test_a_manifest_in_another_encoding(tmp_path: Path):
    assert "UTF-8" in refusal(manifest(tmp_path, "item_id,path\nSüß,1.jpg\n".encode("latin-1")))


@pytest.mark.parametrize("header", ['"item_id,path', '"item\nid",path'])
def test_a_header_of_several_lines_is_refused_in_one(tmp_path: Path, header: str):
    path = manifest(tmp_path, f"{header}\na,1.jpg\n")
    assert refusal(path).startswith(f"{path}:1: ")


def test_a_field_that_is_too_long_is_named_by_its_line(tmp_path: Path):
    path = manifest(tmp_path, "item_id,path\na,1.jpg\nb," + "x" * 140_000 + "\n")
    assert refusal(path).startswith(f"{path}:3: ")


@pytest.mark.parametrize(
    "name",
    [b"two\nlines", b"#5", b" space", b"tab\there", b"latin1-\xe4", "line\u2028end".encode()],
)
def test_ids_that_no_list_can_hold_are_refused(tmp_path: Path, name: bytes):
    (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(CatalogueError, match="expected an item id that a list can hold") as caught:
        read_catalogue(tmp_path)
    assert "\n" not in str(caught.value)


def test_ids_may_be_any_other_text(tmp_path: Path):
    names = {"ä ö", "a,b", "'quoted\"", "箱", "👩‍🔧", "-x", "a\u00a0b"}
    for name in names:
        (tmp_path / name).mkdir()
    assert set(read_catalogue(tmp_path).items) == names


def test_ids_of_either_unicode_form_are_the_same(tmp_path: Path):
    (tmp_path / "Su\u0308\u00df").mkdir()
    assert list(read_catalogue(tmp_path).items) == ["S\u00fc\u00df"]
    (tmp_path / "S\u00fc\u00df").mkdir()
    with pytest.raises(CatalogueError, match="in two Unicode forms"):
        read_catalogue(tmp_path)


@given(st.lists(st.text("ab/.", max_size=6), max_size=6), st.booleans())
def test_within_is_the_relative_path(names, outside):
    catalogue = Catalogue(Path("/ab"), {})
    photos = [f"/ab/{name}" for name in names] + ["/a/b.jpg"] * outside
    expected = [
        photo[4:] if photo.startswith("/ab/") else os.path.relpath(photo, "/ab") for photo in photos
    ]
    assert catalogue.within(photos) == expected
