"""`embed add` and `embed remove` as a user runs them."""

import csv
import io
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from embedder import read_catalogue
from embedder.locking import only_process
from index import build_index


@pytest.fixture
def place(tmp_path, sample, random_model, random_embedder):
    """A folder with an index of three items, its model, and photos of two more."""
    items = sorted((sample / "catalogue").iterdir())[:5]
    for item in items[:3]:
        shutil.copytree(item, tmp_path / "catalogue" / item.name)
    for item in items[3:]:
        shutil.copytree(item, tmp_path / "new" / item.name)
    shutil.copytree(random_model, tmp_path / "items.model")
    build_index(read_catalogue(tmp_path / "catalogue"), random_embedder, tmp_path / "items.index")
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    return tmp_path


def ids(place):
    database = sqlite3.connect(place / "items.index")
    found = [item_id for (item_id,) in database.execute("SELECT id FROM items ORDER BY id")]
    database.close()
    return found


def one_line_error(done, status=1):
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert status == 2 or len(lines) == 1
    return lines[-1]


def test_an_item_comes_is_matched_and_goes(embed, place):
    done = embed("add", "sku-9", "new/sku-000004")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "items.index: sku-9 added, 12 photo(s)\n"
    photo = min((place / "new" / "sku-000004").iterdir())
    command = ("match", "--candidates", "-", "--format", "csv", "--unknown", "0", photo)
    matched = embed(*command, input="sku-9\n")
    assert matched.returncode == 0, matched.stderr
    assert [row["item_id"] for row in csv.DictReader(io.StringIO(matched.stdout))] == ["sku-9"]
    built = embed("build-index", "catalogue")
    assert built.stderr == "items.index: 4 items, 48 photos (0 embedded now)\n"
    done = embed("remove", "sku-9", "sku-000001")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "items.index: 2 item(s) removed\n"
    assert ids(place) == ["sku-000002", "sku-000003"]
    assert "'sku-9'" in one_line_error(embed(*command, input="sku-9\n"))


def test_files_and_folders_below_folders_are_photos_of_one_item(embed, place):
    (place / "new" / "notes.txt").touch()
    (place / "new" / ".hidden").mkdir()
    shutil.copy(min((place / "new" / "sku-000004").iterdir()), place / "new" / ".hidden")
    one = min((place / "catalogue" / "sku-000001").iterdir())
    done = embed("add", "--jobs", "1", "all", "new", one)
    assert done.stderr == "items.index: all added, 25 photo(s)\n"


def test_unreadable_photos_are_listed(embed, place):
    done = embed("add", "sku-9", "bad.jpg", "gone.jpg", "new/sku-000004")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "2 photo(s) could not be read and are left out:",
        "  bad.jpg: not an image that can be read",
        "  gone.jpg: no such file",
        "items.index: sku-9 added, 12 photo(s)",
    ]


def test_an_item_is_replaced_only_with_replace(embed, place):
    before = (place / "items.index").read_bytes()
    assert "--replace" in one_line_error(embed("add", "sku-000001", "new"))
    assert (place / "items.index").read_bytes() == before
    done = embed("add", "sku-000001", "new", "--replace")
    assert done.stderr == "items.index: sku-000001 replaced, 24 photo(s)\n"
    assert len(ids(place)) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "sku-9"], "expected photos or folders of photos of the item, found none"),
        (["add", "sku-9", "bad.jpg"], "bad.jpg: not an image that can be read"),
        (["add", "sku-9", "gone.jpg"], "gone.jpg: no such file"),
        (["add", "sku-9", "bare"], "bare: expected photos, found none"),
        (["add", "#9", "new"], "expected an item id that a list can hold, found '#9'"),
        (["add", " 9", "new"], "expected an item id that a list can hold, found ' 9'"),
        (["add", "two\nlines", "new"], r"found 'two\nlines'"),
        (["add", b"sk\xe4", "new"], r"found 'sk\udce4'"),
        (["add", "sku-9", "new", "--index", "no.index"], "embed build-index"),
        (["add", "sku-9", "new", "--index", "none/no.index"], "none/no.index"),
        (["add", "sku-9", "new", "--index", "new"], "new: "),
        (["add", "sku-9", "new", "--index", "bad.jpg"], "bad.jpg: "),
        (["add", "sku-9", "new", "--model", "no.model"], "embed train"),
        (["add", "sku-9", "new", "--model", "other.model"], "another model"),
        (["remove", "sku-00000l"], "no such item: 'sku-00000l' (nearest: sku-0000"),
        (["remove", "sku-000001", "sku-00000l"], "no such item: 'sku-00000l' (nearest: sku-0000"),
        (["remove", ""], "expected an item id that a list can hold, found ''"),
        (["remove", "sku-000001", "--index", "no.index"], "embed build-index"),
        (["remove", "sku-000001", "--index", "new"], "new: "),
        (["remove", "sku-000001", "--index", "bad.jpg"], "bad.jpg: "),
    ],
)
def test_mistakes_get_one_line_and_change_nothing(embed, place, arguments, says, request):
    if "other.model" in arguments:
        shutil.copytree(request.getfixturevalue("other_model"), place / "other.model")
    (place / "bare").mkdir()
    before = (place / "items.index").read_bytes()
    assert says in one_line_error(embed(*[os.fsdecode(argument) for argument in arguments]))
    assert (place / "items.index").read_bytes() == before


def test_an_index_that_stays_in_use_is_one_line(embed, place):
    shutil.copy2(place / "items.index", place / "other.index")
    says = {
        "items.index": "another process is writing it: wait",
        "other.index": "in use by another process: wait",
    }
    commands = [
        (*command, "--index", index)
        for index in says
        for command in (("add", "sku-9", "new"), ("remove", "sku-000001"))
    ]
    with (
        only_process(place / ".items.index.lock"),
        closing(sqlite3.connect(place / "other.index", isolation_level=None)) as other,
        ThreadPoolExecutor(len(commands)) as threads,  # each waits for ten seconds
    ):
        other.execute("BEGIN EXCLUSIVE")
        ended = threads.map(lambda command: embed(*command), commands)
        for command, done in zip(commands, ended, strict=True):
            assert says[command[-1]] in one_line_error(done)


def test_usage_errors_exit_with_2(embed):
    for arguments in (["add"], ["remove"], ["add", "x", "y", "--jobs", "0"], ["remove", "--model"]):
        one_line_error(embed(*arguments), status=2)


def test_places_come_from_the_environment(embed, place):
    (place / "items.model").rename(place / "m")
    (place / "items.index").rename(place / "i")
    environment = {**os.environ, "EMBED_MODEL": "m", "EMBED_INDEX": "i"}
    assert embed("add", "sku-9", "new", env=environment).stderr.startswith("i: sku-9 added")
    assert embed("remove", "sku-9", env=environment).stderr == "i: 1 item(s) removed\n"


def test_added_items_that_another_model_cannot_keep_are_named(embed, place, other_model):
    assert embed("add", "sku-9", "new").returncode == 0
    done = embed("build-index", "catalogue", "--model", other_model)
    assert "1 item(s) of the old index could not be taken over" in done.stderr
    assert "sku-9: add them with 'embed add'" in done.stderr


def test_ids_may_be_in_either_unicode_form(embed, place):
    assert embed("add", "Su\u0308\u00df", "new").returncode == 0
    assert ids(place)[0] == "S\u00fc\u00df"
    assert embed("remove", "Su\u0308\u00df").stderr == "items.index: 1 item(s) removed\n"


def test_an_item_named_twice_is_removed_once(embed, place):
    done = embed("remove", "sku-000001", "sku-000001")
    assert done.stderr == "items.index: 1 item(s) removed\n"


@pytest.mark.parametrize("name", ["add", "remove"])
def test_help_has_examples(embed, name):
    shown = embed(name, "--help")
    assert shown.returncode == 0
    assert f"  embed {name} " in shown.stdout.partition("Examples:")[2]
    assert f"\n  {name} " in embed("--help").stdout


def test_only_the_index_and_its_lock_are_written(embed, place):
    before = {path.name for path in Path(place).iterdir()}
    embed("add", "sku-9", "new")
    embed("remove", "sku-9")
    assert {path.name for path in place.iterdir()} == before
