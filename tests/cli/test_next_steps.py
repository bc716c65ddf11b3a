"""Mistakes that users make: each is one line that says what to do next."""

import shutil

import pytest

from embedder import read_catalogue
from index import build_index


@pytest.fixture(scope="module")
def made(tmp_path_factory, sample, random_model, random_embedder):
    """A folder with a model, an index, and everything that is not as it should be."""
    place = tmp_path_factory.mktemp("mistakes")
    shutil.copytree(random_model, place / "items.model")
    shutil.copytree(random_model, place / "cut.model")
    (place / "cut.model" / "model.json").write_text("{")
    for item in sorted((sample / "catalogue").iterdir())[:3]:
        shutil.copytree(item, place / "catalogue" / item.name)
    build_index(read_catalogue(place / "catalogue"), random_embedder, place / "items.index")
    shutil.copytree(item, place / "loose")
    (place / "empty").mkdir()
    (place / "folder.index").mkdir()
    (place / "text").write_text("text")
    (place / "bad.jpg").write_text("text")
    (place / "ids.txt").write_text(item.name)
    (place / "unknown.txt").write_text("nothing-like-it")
    (place / "latin.txt").write_bytes(b"\xe4")
    (place / "heading.csv").write_text("file,name\na.jpg,x\n")
    (place / "few.csv").write_text(f"item_id,path\n{item.name},loose/0001.jpg\n")
    return place


CASES = [
    (("build-index", "nowhere"), "'embed sample DIR' makes one"),
    (("build-index", "loose"), "put the photos of each item into a folder named by its id"),
    (("build-index", "heading.csv"), "expected 'item_id,path' in the first line"),
    (("train", "catalogue"), "name another --model, or use --replace"),
    (("build-index", "catalogue", "--model", "nowhere"), "train one with 'embed train', or name"),
    (("build-index", "catalogue", "--model", "cut.model"), "train again or restore the folder"),
    (("build-index", "catalogue", "--index", "a/new.index"), "make the folder first, or name"),
    (("match", "--candidates", "nowhere", "loose"), "name another, or '-' for standard input"),
    (("match", "--candidates", "empty", "loose"), "name a file of text"),
    (("match", "--candidates", "latin.txt", "loose"), "save it so"),
    (("match", "--candidates", "unknown.txt", "loose"), "correct it, or add it to the index"),
    (("match", "--candidates", "ids.txt"), "name some at the end of the command"),
    (("match", "--candidates", "ids.txt", "empty"), "their names have to end in .jpg"),
    (("match", "--candidates", "ids.txt", "heading.csv"), "name the columns in the first line"),
    (("match", "--candidates", "ids.txt", "loose", "--views", "5"), "add or leave out some"),
    (("match", "--candidates", "ids.txt", "loose", "--index", "no"), "make one with 'embed build"),
    (("match", "--candidates", "ids.txt", "loose", "--report", "a/b.html"), "make the folder"),
    (("match", "--candidates", "ids.txt", "loose", "--report", "empty"), "name another"),
    (("add", "new"), "name some at the end of the command"),
    (("add", "new", "empty"), "their names have to end in .jpg"),
    (("remove", "nothing-like-it"), "correct it, or add it to the index"),
    (("calibrate", "few.csv"), "give more, by the ids of the index"),
    (("verify", "--index", "folder.index"), "make one with 'embed build-index', or name one"),
]


@pytest.mark.parametrize(
    ("arguments", "step"), CASES, ids=[" ".join(arguments) for arguments, _ in CASES]
)
def test_a_mistake_is_one_line_with_a_next_step(embed, made, arguments, step):
    done = embed(*arguments, cwd=made)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert step in line
    assert done.stdout == ""


@pytest.mark.parametrize("photos", ["bad.jpg", "nowhere.jpg"])
def test_where_no_photo_can_be_read_the_reasons_are_above(embed, made, photos):
    done = embed("match", "--candidates", "ids.txt", photos, cwd=made)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: none of the photos can be read: the lines above say why"
    )
    assert f"cannot be read: {photos}: " in done.stderr


def test_a_model_that_cannot_be_used_is_to_be_restored(embed, made):
    done = embed("verify", "--model", "nowhere", cwd=made)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: nowhere cannot be used: restore it, or train and build the index again"
    )
