import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from embedder import CatalogueError, Embedder, IndexBusyError, IndexFileError, read_catalogue
from index import build_index
from index.schema import FORMAT_VERSION
from index.store import Store


@pytest.fixture
def folder(part_of_sample):
    return part_of_sample(items=4, photos=12)


def build(folder, embedder, index, **options):
    return build_index(read_catalogue(folder), embedder, index, **options)


def contents(index):
    with Store.open(index) as store:
        ids = list(store.ids())
        return dict(zip(ids, store.centroids(ids)[0].tolist(), strict=True))


def touch(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def test_centroid_count_and_dispersion_are_those_of_the_embeddings(folder, random_embedder, index):
    report = build(folder, random_embedder, index)
    assert (report.items, report.photos, report.embedded) == (4, 48, 48)
    database = sqlite3.connect(index)
    dispersion = dict(database.execute("SELECT id, dispersion FROM items"))
    database.close()
    with Store.open(index) as store:
        for item in folder.iterdir():
            vectors = np.stack(list(random_embedder.embed(sorted(item.iterdir()))))
            mean = vectors.astype(np.float64).mean(axis=0)
            (found,), _ = store.centroids([item.name])
            spread = ((vectors - mean) ** 2).sum(axis=1).mean()
            assert dispersion[item.name] == pytest.approx(spread, abs=1e-6)
            np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-6)


def test_index_says_which_model_and_catalogue(folder, random_embedder, index):
    build(folder, random_embedder, index)
    with Store.open(index) as store:
        assert store.info.fingerprint == random_embedder.info.fingerprint
        assert store.info.temperature == random_embedder.info.temperature
        assert store.info.catalogue == str(folder)
        assert store.info.created


def test_the_same_whatever_the_number_of_threads(folder, random_embedder, tmp_path):
    build(folder, random_embedder, tmp_path / "one.index", jobs=1)
    build(folder, random_embedder, tmp_path / "three.index", jobs=3)
    assert contents(tmp_path / "one.index") == contents(tmp_path / "three.index")


def test_only_new_photos_are_embedded_again(folder, random_embedder, index):
    build(folder, random_embedder, index)
    before = contents(index)
    assert build(folder, random_embedder, index).embedded == 0
    items = sorted(folder.iterdir())
    (items[0] / "0001.jpg").unlink()
    touch(items[1] / "0002.jpg")
    (items[1] / "0003.jpg").rename(items[1] / "again.jpg")
    shutil.copy(items[0] / "0002.jpg", items[3] / "x.jpg")
    shutil.rmtree(items[2])
    shutil.copytree(items[3], folder / "new")
    report = build(folder, random_embedder, index)
    assert report.embedded == 1 + 13
    assert report.removed == (items[2].name,)
    after = contents(index)
    assert after.keys() == {items[0].name, items[1].name, items[3].name, "new"}
    assert after["new"] == after[items[3].name] != before[items[3].name]
    assert after[items[0].name] != before[items[0].name]
    build(folder, random_embedder, index.with_name("fresh.index"))
    assert contents(index.with_name("fresh.index")) == after
    # Its photos come in another order.
    np.testing.assert_allclose(after[items[1].name], before[items[1].name], atol=1e-6)


def test_unreadable_photos_are_listed_each_time_and_change_nothing_else(
    folder, random_embedder, index
):
    build(folder, random_embedder, index)
    before = contents(index)
    item = min(folder.iterdir())
    (item / "0000.jpg").write_bytes(b"not a photo")
    (item / "0005b.jpg").write_bytes((item / "0005.jpg").read_bytes()[:200])
    for _ in range(2):
        report = build(folder, random_embedder, index)
        assert report.embedded == 0
        assert report.photos == 48
        names = [error.photo for error in report.unreadable]
        assert names == [str(item / "0000.jpg"), str(item / "0005b.jpg")]
    assert contents(index) == before


def test_an_item_without_a_readable_photo_is_an_error_and_the_old_index_stays(
    folder, random_embedder, index
):
    build(folder, random_embedder, index)
    before = index.read_bytes()
    (folder / "broken").mkdir()
    (folder / "broken" / "a.jpg").write_bytes(b"")
    with pytest.raises(CatalogueError, match=r"broken: .*--skip-empty"):
        build(folder, random_embedder, index)
    (folder / "bare").mkdir()
    with pytest.raises(CatalogueError, match="bare"):
        build(folder, random_embedder, index)
    assert index.read_bytes() == before
    report = build(folder, random_embedder, index, skip_empty=True)
    assert report.empty == ("bare", "broken")
    assert len(contents(index)) == 4


def test_nothing_readable_at_all_is_an_error_even_when_empty_items_are_skipped(
    tmp_path, random_embedder, index
):
    (tmp_path / "catalogue" / "a").mkdir(parents=True)
    with pytest.raises(CatalogueError, match="no item has a readable photo"):
        build(tmp_path / "catalogue", random_embedder, index, skip_empty=True)
    assert not index.exists()


def test_an_interrupted_build_leaves_the_old_index_and_goes_on(folder, random_embedder, index):
    build(folder, random_embedder, index)
    before = index.read_bytes()
    index.with_name("items.index.photos").unlink()
    for item in folder.iterdir():
        touch(item / "0001.jpg")

    def stop(done, total):
        if done == 30:  # in the third item
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, random_embedder, index, on_progress=stop)
    assert index.read_bytes() == before
    # What a thread takes at once is kept: all of the third item.
    assert build(folder, random_embedder, index).embedded == 12
    assert len(contents(index)) == 4
    left = sorted(path.name for path in index.parent.iterdir())
    assert left == [".items.index.lock", "catalogue", "items.index", "items.index.photos"]


@pytest.mark.parametrize("debris", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 5000])
def test_debris_of_a_build_does_not_block_the_next(folder, random_embedder, index, debris):
    index.with_name("items.index.building").write_bytes(debris)
    assert build(folder, random_embedder, index).embedded == 48


def test_a_damaged_index_is_built_anew(folder, random_embedder, index):
    build(folder, random_embedder, index)
    before = contents(index)
    index.write_bytes(index.read_bytes()[:5000])
    assert build(folder, random_embedder, index).embedded == 0
    assert contents(index) == before


def test_an_index_of_an_older_version_is_built_anew(folder, random_embedder, index):
    build(folder, random_embedder, index)
    database = sqlite3.connect(index)
    database.execute(f"PRAGMA user_version = {FORMAT_VERSION - 1}")
    database.execute("DELETE FROM items")
    database.commit()
    database.close()
    assert build(folder, random_embedder, index).photos == 48
    assert len(contents(index)) == 4


def test_other_files_are_never_written_over(folder, random_embedder, index, tmp_path):
    database = sqlite3.connect(tmp_path / "other.db")
    database.execute("CREATE TABLE precious (id)")
    database.commit()
    database.close()
    build(folder, random_embedder, index)
    newer = sqlite3.connect(index)
    newer.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    newer.commit()
    newer.close()
    (tmp_path / "thesis.txt").write_text("years of work")
    for name in ("other.db", "thesis.txt", "items.index"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(IndexFileError, match=r"expected|not an index"):
            build(folder, random_embedder, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    for place in (tmp_path, Path()):
        with pytest.raises(IndexFileError, match="expected the name of an index file"):
            build(folder, random_embedder, place)


def test_a_photo_that_changes_during_the_build_is_read_by_the_next(folder, random_embedder, index):
    first = min(min(folder.iterdir()).iterdir())
    changed = []

    def change(done, total):
        if done == 5 and not changed:
            other = next(path for path in folder.rglob("*.jpg") if path.parent != first.parent)
            changed.append(first.write_bytes(other.read_bytes()))
            touch(first)

    build(folder, random_embedder, index, on_progress=change)
    assert build(folder, random_embedder, index).embedded == 1
    build(folder, random_embedder, index.with_name("fresh.index"))
    assert contents(index) == contents(index.with_name("fresh.index"))


def test_an_index_of_another_model_is_built_anew(folder, random_embedder, trained_model, index):
    build(folder, random_embedder, index)
    before = contents(index)
    assert build(folder, Embedder.open(trained_model), index).embedded == 48
    assert contents(index) != before


def test_two_builds_at_once_are_refused(folder, random_embedder, index, monkeypatch):
    monkeypatch.setattr("index.database._WAIT_SECONDS", 0.05)
    refused = []

    def build_again(done, total):
        if not refused:
            with pytest.raises(IndexBusyError, match="another build is writing it") as error:
                build(folder, random_embedder, index)
            refused.append(str(error.value))

    build(folder, random_embedder, index, on_progress=build_again)
    assert len(refused) == 1
    assert len(contents(index)) == 4


def test_unwritable_place_is_one_line(folder, random_embedder, tmp_path):
    with pytest.raises(IndexFileError) as error:
        build(folder, random_embedder, tmp_path / "none" / "items.index")
    assert "none/items.index" in str(error.value)
    assert "\n" not in str(error.value)


def test_manifest_and_folder_give_the_same_index(folder, random_embedder, tmp_path):
    manifest = tmp_path / "items.csv"
    rows = [f"{p.parent.name},{p.relative_to(tmp_path)}" for p in sorted(folder.rglob("*.jpg"))]
    manifest.write_text("item_id,path\n" + "\n".join(rows))
    build(folder, random_embedder, tmp_path / "folder.index")
    build(manifest, random_embedder, tmp_path / "manifest.index")
    assert contents(tmp_path / "folder.index") == contents(tmp_path / "manifest.index")


def test_file_names_that_are_not_unicode_are_indexed_and_reported(folder, random_embedder, index):
    item = min(folder.iterdir())
    good = min(item.iterdir())
    shutil.copy(good, os.path.join(os.fsencode(item), b"0000-\xe4.jpg"))  # noqa: PTH118
    with open(os.path.join(os.fsencode(item), b"0001-\xe4.jpg"), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"no photo")
    report = build(folder, random_embedder, index)
    assert report.photos == 49
    assert [error.photo for error in report.unreadable] == [f"{item}/0001-?.jpg"]
