"""Files that a killed process or a bad disk left broken: the next build makes them whole."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from embedder import IndexBusyError, read_catalogue
from index import add_item, build_index
from index.store import Store
from index.store_writing import WritableStore

PAGE = 4096
KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 2")
connection.execute("UPDATE items SET photos = 0, reference = hex(zeroblob(2000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(part_of_sample):
    return part_of_sample(items=8, photos=6)


def build(folder, embedder, index, **options):
    return build_index(read_catalogue(folder), embedder, index, **options)


@pytest.fixture
def built(folder, random_embedder, index):
    build(folder, random_embedder, index)
    return index


def kill_a_writer(index):
    """Leave an index as a process that is killed in the middle of a commit leaves it."""
    before = index.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, index], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert index.with_name(f"{index.name}-journal").stat().st_size > 0
    assert index.read_bytes() != before


def test_an_index_whose_writer_was_killed_can_be_read(built, folder):
    ids = [item.name for item in folder.iterdir()]
    with Store.open(built) as store:
        expected, _ = store.centroids(ids)
    kill_a_writer(built)
    with Store.open(built) as store:
        np.testing.assert_array_equal(store.centroids(ids)[0], expected)
        assert store.photo_count() == 48


def test_an_index_whose_writer_was_killed_is_brought_up_to_date(
    built, folder, random_embedder, everything
):
    add_item(built, random_embedder, "hand", sorted(min(folder.iterdir()).iterdir()))
    build(folder, random_embedder, built)
    before = everything(built)
    kill_a_writer(built)
    assert build(folder, random_embedder, built).embedded == 0
    assert everything(built) == before
    with WritableStore.open(built) as store:
        assert store.photo_count() == 54
    assert not built.with_name(f"{built.name}-journal").exists()


@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_the_journal_of_a_killed_writer_is_not_played_back_into_a_new_index(
    built, folder, random_embedder, everything, deleted
):
    kill_a_writer(built)
    if deleted:
        built.unlink()
    shutil.copytree(min(folder.iterdir()), folder / "new")
    build(folder, random_embedder, built)
    build(folder, random_embedder, built.with_name("fresh.index"))
    with WritableStore.open(built) as store:
        assert store.photo_count() == 54
    assert everything(built) == everything(built.with_name("fresh.index"))


def pages(path):
    return range(0, path.stat().st_size, PAGE)


def test_a_kept_file_with_a_damaged_page_is_made_anew(built, folder, random_embedder, everything):
    before, kept = everything(built), built.with_name(f"{built.name}.photos")
    whole = kept.read_bytes()
    for at in pages(kept):
        kept.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        built.unlink()
        assert build(folder, random_embedder, built).photos == 48
        assert everything(built) == before


@pytest.mark.parametrize("seed", range(12))
def test_a_kept_file_with_damage_anywhere_gives_less_but_nothing_wrong(
    built, folder, random_embedder, everything, seed
):
    before, kept = everything(built), built.with_name(f"{built.name}.photos")
    rng, whole = np.random.default_rng(seed), kept.read_bytes()
    for _ in range(5):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(damaged), 8):
            damaged[at] = rng.integers(256)
        kept.write_bytes(damaged)
        built.unlink()
        build(folder, random_embedder, built)
        assert everything(built) == before


def test_a_kept_photo_whose_name_became_text_that_is_not_unicode_is_left_out(
    built, folder, random_embedder, everything
):
    before, kept = everything(built), built.with_name(f"{built.name}.photos")
    database = sqlite3.connect(kept)
    database.execute(
        "UPDATE photos SET name = CAST(x'ff' AS TEXT) WHERE CAST(name AS TEXT) LIKE '%/0001.jpg'"
    )
    database.commit()
    database.close()
    built.unlink()
    assert build(folder, random_embedder, built).embedded == 8
    assert everything(built) == before


def test_an_index_with_a_damaged_page_is_built_anew(built, folder, random_embedder, everything):
    before, whole = everything(built), built.read_bytes()
    for at in [*pages(built)][1:]:  # without the first it could be any file
        built.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        build(folder, random_embedder, built)
        assert everything(built) == before


def test_an_index_that_was_cut_off_is_built_anew(built, folder, random_embedder, everything):
    before, whole = everything(built), built.read_bytes()
    for at in [*pages(built)][1:]:
        built.write_bytes(whole[:at])
        build(folder, random_embedder, built)
        assert everything(built) == before


@pytest.mark.parametrize(
    "damage", ["centroid = zeroblob(400)", "photos = 7", "checksum = 1", "signature = 'text'"]
)
def test_a_damaged_item_is_mended_by_the_build_that_its_error_asks_for(
    built, folder, random_embedder, everything, damage
):
    before, item = everything(built), min(folder.iterdir()).name
    database = sqlite3.connect(built)
    database.execute(f"UPDATE items SET {damage} WHERE id = ?", (item,))
    database.commit()
    database.close()
    build(folder, random_embedder, built)
    assert everything(built) == before


def test_a_photo_that_was_another_one_during_the_build_is_found(
    sample, tmp_path, random_embedder, index, everything
):
    folder = tmp_path / "catalogue"
    shutil.copytree(sample / "catalogue", folder)
    photo = max(max(folder.iterdir()).iterdir())
    content, changed = photo.read_bytes(), photo.stat().st_mtime_ns - 10**10
    os.utime(photo, ns=(changed, changed))

    def change(done, total):
        if done == 1:
            shutil.copyfile(min(min(folder.iterdir()).iterdir()), photo)

    build(folder, random_embedder, index, jobs=1, on_progress=change)
    photo.write_bytes(content)
    os.utime(photo, ns=(changed, changed))
    build(folder, random_embedder, index)
    build(folder, random_embedder, index.with_name("fresh.index"))
    assert everything(index) == everything(index.with_name("fresh.index"))


def rows_kept(index):
    database = sqlite3.connect(index.with_name(f"{index.name}.photos"))
    found = database.execute("SELECT DISTINCT item_id FROM photos ORDER BY 1").fetchall()
    database.close()
    return [item for (item,) in found]


def test_what_is_kept_of_an_item_goes_with_it_when_the_index_never_had_it(
    folder, random_embedder, index
):
    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, random_embedder, index, on_progress=stop)
    gone = min(folder.iterdir())
    assert gone.name in rows_kept(index)
    shutil.rmtree(gone)
    build(folder, random_embedder, index)
    assert gone.name not in rows_kept(index)


def test_an_interruption_loses_nothing_of_photos_that_were_renamed(built, folder, random_embedder):
    for photo in [*folder.rglob("*.jpg")]:
        photo.rename(photo.with_name(f"new-{photo.name}"))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, random_embedder, built, on_progress=stop)
    assert build(folder, random_embedder, built).embedded == 0


def test_an_index_that_another_program_holds_is_not_taken_for_damaged(
    built, folder, random_embedder, everything, monkeypatch
):
    monkeypatch.setattr("index.database._WAIT_SECONDS", 0.1)
    add_item(built, random_embedder, "hand", sorted(min(folder.iterdir()).iterdir()))
    before = everything(built)
    other = sqlite3.connect(built, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("UPDATE items SET photos = photos + 1")
    assert built.with_name(f"{built.name}-journal").exists()
    with pytest.raises(IndexBusyError, match="in use by another process"):
        build(folder, random_embedder, built)
    other.execute("ROLLBACK")
    other.close()
    assert everything(built) == before
