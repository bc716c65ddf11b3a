"""`embed verify` and `embed build-index --repair`, as a user runs them."""

import hashlib
import json
import os
import shutil
import sqlite3

import pytest

from embedder import read_catalogue
from index import add_item, build_index


@pytest.fixture
def place(tmp_path, sample, random_model, random_embedder):
    """A folder with a model, a catalogue of three items, and an index with one more."""
    shutil.copytree(random_model, tmp_path / "items.model")
    for item in sorted((sample / "catalogue").iterdir())[:3]:
        shutil.copytree(item, tmp_path / "catalogue" / item.name)
    build_index(read_catalogue(tmp_path / "catalogue"), random_embedder, tmp_path / "items.index")
    photos = sorted((tmp_path / "catalogue").rglob("0001.jpg"))
    add_item(tmp_path / "items.index", random_embedder, "by hand", photos)
    return tmp_path


def damage(index, item_id):
    database = sqlite3.connect(index)
    row = database.execute("UPDATE items SET photos = photos + 1 WHERE id = ?", (item_id,))
    assert row.rowcount == 1
    database.commit()
    database.close()


def test_what_is_whole_is_said_to_be(embed, place):
    before = (place / "items.index").read_bytes()
    done = embed("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "items.index: whole, 4 items\nitems.model: whole, and runs\n"
    assert (place / "items.index").read_bytes() == before


def test_a_damaged_item_is_named_and_repair_makes_anew_nothing_else(embed, place):
    damage(place / "items.index", "sku-000002")
    done = embed("verify")
    assert done.returncode == 1
    assert "items.index: the row of item 'sku-000002' is damaged" in done.stdout
    assert "items.model: whole, and runs" in done.stdout
    (error,) = done.stderr.splitlines()
    assert "--repair --index items.index --model items.model" in error
    assert str(place / "catalogue") in error
    (place / "items.index.photos").unlink()
    done = embed("build-index", "catalogue", "--repair")
    assert done.returncode == 0
    assert "4 items, 39 photos (12 embedded now)" in done.stderr
    assert embed("verify").returncode == 0


def test_an_item_that_no_catalogue_has_is_lost_by_name(embed, place):
    damage(place / "items.index", "by hand")
    assert "'by hand'" in embed("verify").stdout
    done = embed("build-index", "catalogue", "--repair")
    assert "could not be taken over" in done.stderr and "by hand: add them" in done.stderr
    assert "3 items, 36 photos (0 embedded now)" in done.stderr
    assert embed("verify").returncode == 0


def test_damage_to_what_is_kept_of_photos_is_no_loss(embed, place):
    database = sqlite3.connect(place / "items.index.photos")
    database.execute("UPDATE photos SET size = 1 WHERE item_id = 'sku-000001'")
    database.commit()
    database.close()
    done = embed("verify")
    assert done.returncode == 1
    assert "a photo of item 'sku-000001' is damaged: the next build" in done.stdout
    assert "items.index: whole, 4 items" in done.stdout
    assert "no loss" in done.stderr
    assert "(12 embedded now)" not in embed("build-index", "catalogue").stderr


def test_a_model_that_is_not_that_of_the_index_is_said_so(embed, place, other_model):
    done = embed("verify", "--model", other_model)
    assert done.returncode == 1
    assert "not the model that the index was built with" in done.stdout
    assert "items.index: whole, 4 items" in done.stdout


@pytest.mark.parametrize("name", ["model.tflite", "weights.safetensors"])
def test_a_damaged_file_of_the_model_is_named(embed, place, name):
    path = place / "items.model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = embed("verify")
    assert done.returncode == 1
    assert f"items.model/{name}: expected SHA-256" in done.stdout
    assert "cannot be used" in done.stderr


def test_a_model_that_crashes_its_process_does_not_crash_this_one(embed, place):
    """A description that fits a file which is no network: only running it can tell."""
    path, description = place / "items.model" / "model.tflite", place / "items.model" / "model.json"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(range(256)) * 40)
    document = json.loads(description.read_text())

    document["sha256"]["model.tflite"] = hashlib.sha256(path.read_bytes()).hexdigest()
    description.write_text(json.dumps(document))
    done = embed("verify")
    assert done.returncode == 1
    assert "model.tflite" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_there_says_what_is_expected(embed, tmp_path):
    done = embed("verify")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "items.index: expected an index file, found none" in done.stderr
    assert embed("verify", "--help").stdout.count("embed verify") >= 2


@pytest.mark.parametrize(
    ("kind", "found"),
    [("text", "not an index, or damaged"), ("database", "another SQLite database")],
)
def test_a_file_that_never_was_an_index_is_not_written_over(embed, place, kind, found):
    path = place / "notes"
    if kind == "text":
        path.write_text("what I must not forget\n" * 1000)
    else:
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE items (id TEXT)")
        database.commit()
        database.close()
    before = path.read_bytes()
    assert found in (done := embed("verify", "--index", "notes")).stdout + done.stderr
    for options in ((), ("--repair",)):
        done = embed("build-index", "catalogue", "--index", "notes", *options)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert path.read_bytes() == before
    assert "nothing of one in it: delete it" in done.stderr


def test_an_index_of_a_later_version_is_not_said_to_be_damaged(embed, place):
    content = bytearray((place / "items.index").read_bytes())
    content[60:64] = (9).to_bytes(4, "big")
    (place / "items.index").write_bytes(content)
    done = embed("verify")
    assert done.returncode == 1
    assert "upgrade" in done.stderr
    assert "--repair" not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("--repair",)], ids=["build", "repair"])
def test_a_lost_calibration_is_said(embed, place, other_model, options):
    assert embed("calibrate", "catalogue").returncode == 0
    said = "if they were by 'embed calibrate', run that again"
    assert said not in embed("build-index", "catalogue", *options).stderr
    done = embed("build-index", "catalogue", "--model", other_model, *options)
    assert said in done.stderr
    assert said not in embed("build-index", "catalogue", "--model", other_model).stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_pipes_are_not_waited_for(embed, place):
    os.mkfifo(place / "pipe")
    for options in ((), ("--repair",)):
        done = embed("build-index", "catalogue", "--index", "pipe", *options, timeout=30)
        assert "found a special file" in done.stderr
    (place / "items.index.photos").unlink()
    os.mkfifo(place / "items.index.photos")
    assert embed("verify", timeout=30).returncode == 0
