"""What `embed add` and `embed remove` say to arguments that are odd."""

import os
import shutil

import pytest

from embedder import read_catalogue
from index import build_index


@pytest.fixture
def place(tmp_path, sample, random_model, random_embedder):
    for item in sorted((sample / "catalogue").iterdir())[:2]:
        shutil.copytree(item, tmp_path / "catalogue" / item.name)
    shutil.copytree(random_model, tmp_path / "items.model")
    build_index(read_catalogue(tmp_path / "catalogue"), random_embedder, tmp_path / "items.index")
    return tmp_path


def one_line_error(done):
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_an_id_that_is_not_unicode_is_no_id(embed, place):
    assert "expected an item id" in one_line_error(embed("remove", os.fsdecode(b"sk\xe4")))


@pytest.mark.parametrize("index", [".", "/", ".."])
@pytest.mark.parametrize(
    "command", [("add", "x", "catalogue"), ("remove", "x"), ("calibrate", "catalogue")]
)
def test_a_folder_in_place_of_the_index_is_one_line(embed, place, command, index):
    one_line_error(embed(*command, "--index", index))


def test_an_item_named_in_two_unicode_forms_is_counted_once(embed, place):
    assert embed("add", "S\u00fc\u00df", "catalogue").returncode == 0
    done = embed("remove", "Su\u0308\u00df", "S\u00fc\u00df")
    assert done.stderr == "items.index: 1 item(s) removed\n"


def test_a_command_that_finds_no_index_leaves_nothing_behind(embed, place):
    (place / "elsewhere").mkdir()
    one_line_error(embed("remove", "x", "--index", "elsewhere/items.index"))
    assert list((place / "elsewhere").iterdir()) == []
