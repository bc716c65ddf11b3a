"""Adding and removing single items: as a build would have it, at once, or not at all."""

import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest
from databases import select

from embedder import (
    CandidateError,
    CatalogueError,
    Embedder,
    IndexBusyError,
    IndexFileError,
    ModelError,
    PhotoError,
    read_catalogue,
)
from embedder.locking import only_process
from embedder.model_files import Architecture, ModelInfo
from index import Matcher, add_item, build_index, remove_items
from index.places import DatabaseUrl
from index.stores import open_store


@pytest.fixture
def folder(part_of_sample):
    return part_of_sample(items=4, photos=5)


@pytest.fixture
def file(folder, random_embedder, index):
    """An index of all items of the folder but the last, which lies in `new` afterwards."""
    last = max(folder.iterdir())
    shutil.move(last, folder.parent / "new")
    build(folder, random_embedder, index)
    return index


@pytest.fixture
def built(file, stored):
    """The same, in either store."""
    return stored(file)


@pytest.fixture
def new(file, tmp_path):
    return sorted((tmp_path / "new").iterdir())


@pytest.fixture(scope="session")
def other_embedder(save_random_model):
    return Embedder.open(save_random_model(ModelInfo(Architecture(size=32), 0.1), 5))


def build(folder, embedder, index, **options):
    return build_index(read_catalogue(folder), embedder, index, **options)


def row(index, item_id):
    query = "SELECT centroid, photos, dispersion, reference, signature FROM items"
    query += f" WHERE id = '{item_id}'"
    if isinstance(index, DatabaseUrl):
        return select(index.secret, query)[0]
    database = sqlite3.connect(index)
    found = database.execute(query).fetchone()
    database.close()
    return found


def ids(index):
    with open_store(index) as store:
        return list(store.ids())


def all_of(index):
    """All that is in it."""
    if not isinstance(index, DatabaseUrl):
        return index.read_bytes()
    queries = [f"SELECT * FROM {name} ORDER BY 1" for name in ("items", "unreadable", "meta")]
    return [select(index.secret, query) for query in queries]


def test_the_photo_to_show_is_found_from_any_folder(
    built, random_embedder, new, monkeypatch, tmp_path
):
    monkeypatch.chdir(new[0].parent)
    add_item(built, random_embedder, "new", [new[0].name, new[1].read_bytes()])
    monkeypatch.chdir(tmp_path)
    with open_store(built) as store:
        assert store.references(["new"]) == {"new": new[0].absolute()}


def test_an_added_item_is_that_of_a_build(file, folder, random_embedder, new):
    before = ids(file)
    report = add_item(file, random_embedder, "new", new)
    assert (report.photos, report.unreadable, report.replaced) == (5, (), False)
    assert ids(file) == ["new", *before]
    shutil.copytree(new[0].parent, folder / "new")
    build(folder, random_embedder, file.with_name("whole.index"))
    assert row(file, "new")[:3] == row(file.with_name("whole.index"), "new")[:3]
    assert row(file, "new")[3] == str(new[0])


def test_every_form_of_a_photo_can_be_added(built, random_embedder, new):
    forms = [new[0], str(new[1]), new[2].read_bytes(), *new[3:]]
    add_item(built, random_embedder, "forms", forms, jobs=1)
    add_item(built, random_embedder, "paths", new)
    assert row(built, "forms")[:3] == row(built, "paths")[:3]
    add_item(built, random_embedder, "bytes", [new[2].read_bytes()])
    assert row(built, "bytes")[3] == "photo 1"


def test_an_added_item_stays_until_the_catalogue_has_it(
    file, folder, random_embedder, new, everything
):
    add_item(file, random_embedder, "new", new[:2])
    added = row(file, "new")
    for changes in (False, True):
        if changes:
            shutil.rmtree(min(folder.iterdir()))
        report = build(folder, random_embedder, file)
        assert report.embedded == 0
        assert "new" not in report.removed
        assert row(file, "new") == added
    shutil.copytree(new[0].parent, folder / "new")
    assert build(folder, random_embedder, file).embedded == 5
    build(folder, random_embedder, file.with_name("whole.index"))
    assert everything(file) == everything(file.with_name("whole.index"))
    shutil.rmtree(folder / "new")
    assert build(folder, random_embedder, file).removed == ("new",)
    assert "new" not in ids(file)


def test_an_index_of_another_model_is_refused_and_left_alone(built, other_embedder, new):
    before = all_of(built)
    for replace in (False, True):
        with pytest.raises(ModelError, match="built with another model"):
            add_item(built, other_embedder, min(ids(built)), new, replace=replace)
    assert all_of(built) == before


def test_a_build_with_another_model_names_added_items_as_lost(
    built, folder, random_embedder, other_embedder, new
):
    for item_id in ("z", "hand", min(ids(built))):
        add_item(built, random_embedder, item_id, new, replace=True)
    report = build(folder, other_embedder, built)
    assert (report.lost, report.removed) == (("hand", "z"), ())
    assert ids(built) == sorted(item.name for item in folder.iterdir())
    assert build(folder, other_embedder, built).lost == ()


def test_unreadable_photos_are_reported_and_change_nothing_else(built, random_embedder, new):
    bad, gone = new[0].parent.parent / "bad.jpg", new[0].parent.parent / "gone.jpg"
    bad.write_bytes(new[0].read_bytes()[:200])
    report = add_item(built, random_embedder, "some", [bad, *new, gone, b"rubbish"])
    assert [error.photo for error in report.unreadable] == [str(bad), str(gone), "photo 8"]
    assert report.unreadable[1].reason == "no such file"
    add_item(built, random_embedder, "good", new)
    assert row(built, "some") == row(built, "good")
    with open_store(built) as store:
        assert sorted(map(str, store.unreadable())) == sorted(map(str, report.unreadable))
    add_item(built, random_embedder, "some", new, replace=True)
    with open_store(built) as store:
        assert store.unreadable() == ()


@pytest.mark.parametrize("photos", [[], ["gone.jpg"], [b"", b"rubbish"]])
@pytest.mark.parametrize("replace", [False, True])
def test_nothing_readable_is_an_error_and_changes_nothing(built, random_embedder, photos, replace):
    before = all_of(built)
    item_id = min(ids(built)) if replace else "new"
    with pytest.raises(CatalogueError, match="expected a readable photo, found none") as error:
        add_item(built, random_embedder, item_id, photos, replace=replace)
    assert "\n" not in str(error.value)
    assert all_of(built) == before


def test_an_item_is_replaced_only_where_asked(built, random_embedder, new):
    item = min(ids(built))
    before, content = row(built, item), all_of(built)
    with pytest.raises(CatalogueError, match=f"has an item '{item}' already.*--replace"):
        add_item(built, random_embedder, item, new)
    assert all_of(built) == content
    assert add_item(built, random_embedder, item, new[:3], replace=True).replaced
    assert row(built, item) != before
    assert row(built, item)[1] == 3
    assert len(ids(built)) == 3
    assert not add_item(built, random_embedder, "new", new, replace=True).replaced


def test_a_replaced_item_of_the_catalogue_comes_back_with_the_next_build(
    file, folder, random_embedder, new, everything
):
    before = everything(file)
    add_item(file, random_embedder, min(ids(file)), new, replace=True)
    assert build(folder, random_embedder, file).embedded == 0
    assert everything(file) == before


def test_ids_are_the_same_in_either_unicode_form(built, random_embedder, new):
    add_item(built, random_embedder, "Su\u0308\u00df", new)
    assert "S\u00fc\u00df" in ids(built)
    with pytest.raises(CatalogueError, match="already"):
        add_item(built, random_embedder, "S\u00fc\u00df", new)
    remove_items(built, ["Su\u0308\u00df", "S\u00fc\u00df", "Su\u0308\u00df"])
    assert len(ids(built)) == 3


@pytest.mark.parametrize("item_id", ["", "#5", " a", "a ", "two\nlines", "sk\udce4", "a\u2028b"])
def test_ids_that_no_list_can_hold_are_refused(built, random_embedder, new, item_id):
    before = all_of(built)
    with pytest.raises(CatalogueError, match="expected an item id that a list can hold") as error:
        add_item(built, random_embedder, item_id, new)
    assert "\n" not in str(error.value)
    assert all_of(built) == before


def test_all_items_are_removed_or_none(file, folder, random_embedder, everything):
    all_ids, before = ids(file), all_of(file)
    whole = everything(file)
    with pytest.raises(CandidateError, match=r"no such item: 'sku-00000l' \(nearest: sku-0000"):
        remove_items(file, [all_ids[0], "sku-00000l", all_ids[1]])
    assert all_of(file) == before
    remove_items(file, iter([all_ids[0], all_ids[2], all_ids[0]]))
    assert ids(file) == [all_ids[1]]
    with pytest.raises(CandidateError, match=all_ids[0]):
        remove_items(file, [all_ids[0]])
    assert build(folder, random_embedder, file).embedded == 0
    assert everything(file) == whole


def test_every_unknown_item_is_named(built):
    with pytest.raises(CandidateError, match=r"'x1', 'x2', .*'x10', and 2 more: correct it"):
        remove_items(built, [f"x{number}" for number in range(1, 13)])


def test_no_items_to_remove_changes_nothing(built):
    before = all_of(built)
    remove_items(built, [])
    assert all_of(built) == before


def test_removing_an_item_removes_what_is_known_of_it(built, random_embedder, new):
    add_item(built, random_embedder, "new", [*new, b"rubbish"])
    remove_items(built, ["new"])
    with open_store(built) as store:
        assert store.unreadable() == ()
        assert store.photo_count() == 15


def test_matches_see_an_added_and_a_removed_item_at_once(built, random_embedder, random_model, new):
    vectors = np.stack([v for v in random_embedder.embed(new) if not isinstance(v, PhotoError)])
    everyone = [*ids(built), "new"]
    with Matcher.open(built, random_model) as matcher:
        with pytest.raises(CandidateError, match="'new'"):
            matcher.match_vectors(vectors, everyone)
        add_item(built, random_embedder, "new", new)
        nearest, scores = matcher.nearest(vectors, everyone, count=4)
        with Matcher.open(built, random_model) as later:
            np.testing.assert_array_equal(scores, later.nearest(vectors, everyone, count=4)[1])
        centroid = np.frombuffer(row(built, "new")[0], dtype="<f4")
        own = [scores[at][names.index("new")] for at, names in enumerate(nearest)]
        np.testing.assert_allclose(own, vectors @ centroid, atol=1e-5)
        assert matcher.match([new[0]], ["new"], unknown=0.0)[0].item_id == "new"
        remove_items(built, ["new"])
        with pytest.raises(CandidateError, match="'new'"):
            matcher.match_vectors(vectors, everyone)


def test_a_build_keeps_others_from_writing(file, folder, random_embedder, new, monkeypatch):
    monkeypatch.setattr("index.database._WAIT_SECONDS", 0.05)
    refused = []

    def edit(done, total):
        for change in (
            lambda: add_item(file, random_embedder, "new", new),
            lambda: remove_items(file, [min(folder.iterdir()).name]),
        ):
            with pytest.raises(IndexBusyError, match="another process is writing it"):
                change()
            refused.append(done)

    min(min(folder.iterdir()).iterdir()).unlink()
    build(folder, random_embedder, file, on_progress=edit)
    assert len(refused) == 2 * 4
    assert add_item(file, random_embedder, "new", new).photos == 5
    with only_process(file.with_name(f".{file.name}.lock")) as alone:
        assert alone
        with pytest.raises(IndexBusyError):
            remove_items(file, ["new"])


def test_writers_wait_for_each_other(file, random_embedder, new):
    held = threading.Event()

    def hold():
        with only_process(file.with_name(f".{file.name}.lock")) as alone:
            assert alone
            held.set()
            time.sleep(0.5)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    assert add_item(file, random_embedder, "new", new).photos == 5
    other.join()


def test_an_item_that_another_adds_meanwhile_is_not_replaced(built, random_embedder, new):
    class Meanwhile(Embedder):
        def embed(self, photos, jobs=None):
            add_item(built, random_embedder, "new", new[:1])
            return super().embed(photos, jobs)

    slow = Meanwhile(random_embedder.info, random_embedder._load)
    with pytest.raises(CatalogueError, match="has an item 'new' already"):
        add_item(built, slow, "new", new)
    assert row(built, "new")[1] == 1


def test_a_disk_that_is_full_leaves_the_index_as_it_was(file, random_embedder, new, little_room):
    before, whole = all_of(file), [*new, *(f"gone-{number}.jpg" for number in range(400))]
    with little_room(len(before) + 4096), pytest.raises(IndexFileError) as error:
        add_item(file, random_embedder, "new", whole)
    assert "\n" not in str(error.value)
    assert all_of(file) == before
    assert len(add_item(file, random_embedder, "new", whole).unreadable) == 400


@pytest.mark.parametrize("content", [None, b"", b"thesis " * 999], ids=["none", "empty", "text"])
def test_what_is_no_index_is_refused_and_left_alone(index, random_embedder, content):
    if content is not None:
        index.write_bytes(content)
    for change in (
        lambda: add_item(index, random_embedder, "new", []),
        lambda: remove_items(index, ["new"]),
    ):
        with pytest.raises(IndexFileError) as error:
            change()
        assert str(index) in str(error.value)
        assert "\n" not in str(error.value)
    assert (index.read_bytes() if index.exists() else None) == content
