"""An audit as a whole: on photos with mistakes planted, and on vectors whose story is known."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from embedder import Catalogue, CatalogueError, PhotoError, read_catalogue
from embedder.score_space import unit
from index import audit, build_index
from index.auditing import Scoring, audit_photos
from index.calibration import uncalibrated
from index.listing import FEWEST_PHOTOS, Photos, list_duplicates
from index.near_duplicates import Copies
from index.photo_vectors import PhotoVectors
from index.store import Store

PLAIN = Scoring(None, uncalibrated(0.05))


def scattered(seed=0, items=12, photos=30, dim=10):
    """Vectors of items that are told apart easily, and a catalogue whose files are not there."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(items), photos)
    vectors = unit(rng.normal(size=(items, dim)))[labels] + 0.1 * rng.normal(size=(360, dim))
    ids = [f"sku-{item:02}" for item in range(items)]
    paths = [f"none/{at:03}.jpg" for at in range(len(labels))]
    return unit(vectors).astype(np.float32), labels, ids, paths


def as_found(vectors, labels, ids, paths, unreadable=()):
    items = {
        ids[item]: tuple(paths[at] for at in np.flatnonzero(labels == item))
        for item in range(len(ids))
    }
    named = tuple(ids[item] for item in labels)
    photos = PhotoVectors(named, tuple(paths), vectors, np.ones(len(labels), bool), unreadable)
    return photos, Catalogue(Path("none"), items)


def test_wrong_labels_are_named_with_what_they_show():
    vectors, labels, ids, paths = scattered()
    labels[[5, 100, 200]] = [7, 0, 1]
    found = audit_photos(*as_found(vectors, labels, ids, paths), PLAIN)
    assert {(one.photo, one.item_id, one.shown) for one in found.mislabelled} == {
        (paths[5], ids[7], ids[0]),
        (paths[100], ids[0], ids[3]),
        (paths[200], ids[1], ids[6]),
    }
    assert {(one.item_id, one.shown, one.photos) for one in found.wrong_labels} == {
        (ids[7], ids[0], 1),
        (ids[0], ids[3], 1),
        (ids[1], ids[6], 1),
    }
    for one in found.mislabelled:
        shown = labels[paths.index(one.shown_photo)]
        assert ids[shown] == one.shown
    assert (found.duplicates, found.outliers, found.unreadable) == ((), (), ())


def test_the_order_of_photos_does_not_matter():
    vectors, labels, ids, paths = scattered(1)
    labels[[5, 100, 200]] = [7, 0, 1]
    found = audit_photos(*as_found(vectors, labels, ids, paths), PLAIN)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = [paths[at] for at in order]
    other = audit_photos(*as_found(vectors[order], labels[order], ids, shuffled), PLAIN)
    assert [one.photo for one in found.mislabelled] == [one.photo for one in other.mislabelled]
    assert [(one.item_id, one.other) for one in found.look_alikes] == [
        (one.item_id, one.other) for one in other.look_alikes
    ]
    assert found.few_photos == other.few_photos


def test_twins_are_look_alikes_and_not_mislabelled():
    vectors, labels, ids, paths = scattered(2)
    rng = np.random.default_rng(0)
    twins = labels < 2
    labels[twins] = rng.integers(0, 2, twins.sum())
    vectors[twins] = unit(vectors[0] + 0.1 * rng.normal(size=(twins.sum(), 10)))
    found = audit_photos(*as_found(vectors, labels, ids, paths), PLAIN)
    assert {found.look_alikes[0].item_id, found.look_alikes[0].other} == {ids[0], ids[1]}
    assert found.look_alikes[0].confusion > 0.3
    assert found.look_alikes[0].reverse > 0.3
    assert all(one.confusion < 0.05 for one in found.look_alikes[1:])
    assert len(found.mislabelled) < 6


def test_photos_that_do_not_count_leave_an_item_with_too_few():
    vectors, labels, ids, paths = scattered(3, photos=30)
    keep = np.ones(len(labels), bool)
    keep[10:30] = False  # ten are left of the first item
    labels[40] = 0  # and one that shows another
    photos, catalogue = as_found(vectors[keep], labels[keep], ids, np.array(paths)[keep].tolist())
    catalogue.items["empty"] = ()
    found = audit_photos(photos, catalogue, PLAIN)
    assert [(one.item_id, one.photos) for one in found.few_photos] == [("empty", 0), (ids[0], 10)]
    assert found.items == 13


def test_no_photo_that_can_be_read_is_an_error():
    photos = PhotoVectors(
        (), (), np.zeros((0, 4), np.float32), np.zeros(0, bool), (PhotoError("a.jpg", "no such"),)
    )
    with pytest.raises(CatalogueError, match=r"none: expected photos .* such as a\.jpg"):
        audit_photos(photos, Catalogue(Path("none"), {"a": ("a.jpg",)}), PLAIN)


@pytest.mark.parametrize("photos", [1, 2])
def test_one_item_and_a_few_photos_are_no_trouble(photos):
    vectors = unit(np.random.default_rng(0).normal(size=(photos, 4))).astype(np.float32)
    labels, paths = np.zeros(photos, np.int64), ["a.jpg", "b.jpg"][:photos]
    found = audit_photos(*as_found(vectors, labels, ["one"], paths), PLAIN)
    assert (found.mislabelled, found.look_alikes, found.outliers) == ((), (), ())
    assert [one.photos for one in found.few_photos] == [photos]


def test_copies_in_files_are_found_within_an_item_and_in_another(tmp_path, sample, random_embedder):
    folder = tmp_path / "catalogue"
    shutil.copytree(sample / "catalogue", folder)
    first, second, third, *_ = sorted(folder.iterdir())
    a, b, c = (sorted(item.iterdir())[0] for item in (first, second, third))
    shutil.copy2(a, first / "copy.jpg")
    ImageEnhance.Brightness(Image.open(b)).enhance(0.9).save(second / "dark.jpg", quality=70)
    Image.open(c).resize((50, 50)).save(first / "small.jpg")
    (second / "bad.jpg").write_bytes(b"no photo")
    catalogue = read_catalogue(folder)
    build_index(catalogue, random_embedder, tmp_path / "items.index")
    with Store.open(tmp_path / "items.index") as store:
        found = audit(catalogue, random_embedder, store)
    pairs = {frozenset((one.photo, one.of)): one for one in found.duplicates}
    same = pairs.pop(frozenset((str(a), str(first / "copy.jpg"))))
    assert same.same == "bytes"
    assert same.likeness == pytest.approx(1, abs=1e-4)
    dark = pairs.pop(frozenset((str(b), str(second / "dark.jpg"))))
    assert dark.same == "look"
    small = pairs.pop(frozenset((str(c), str(first / "small.jpg"))))
    assert {small.item_id, small.of_item} == {first.name, third.name}
    assert not pairs
    assert found.duplicates[0] == small  # one of two items is wrong
    assert [(one.photo, one.item_id) for one in found.unreadable] == [
        (str(second / "bad.jpg"), second.name)
    ]
    assert len(found.few_photos) == 12
    assert FEWEST_PHOTOS > 13


def copies_of(pairs, paths, wrong=()):
    """What `list_duplicates` makes of pairs that are alike."""
    numbers = np.arange(len(paths))
    photos = Photos(("a",), np.zeros(len(paths), np.int64), tuple(map(str, paths)))
    copies = [Copies(one, two, 0.999) for one, two in pairs]
    found = list_duplicates(copies, photos, np.isin(numbers, wrong))
    return {(photos.paths.index(one.photo), photos.paths.index(one.of)) for one in found}


def test_a_photo_is_listed_only_beside_one_that_is_kept(tmp_path):
    paths = [tmp_path / f"{at}.jpg" for at in range(4)]
    for at, path in enumerate(paths):
        path.write_bytes(b"." * (10 + at))  # the last is the largest
    # 1 is like 0, 0 like 2, 2 like 3: without 2 nothing says that 0 and 3 are the same.
    assert copies_of([(0, 1), (0, 2), (2, 3)], paths) == {(2, 3), (0, 1)}
    assert copies_of([(0, 1), (0, 2), (0, 3)], paths) == {(0, 3)}
    assert copies_of([(0, 1)], paths, wrong=[1]) == {(1, 0)}


def test_a_link_is_never_kept_in_place_of_its_file(tmp_path):
    (tmp_path / "z.jpg").write_bytes(b"photo")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "z.jpg")
    paths = [tmp_path / "a.jpg", tmp_path / "z.jpg"]
    assert copies_of([(0, 1)], paths) == {(0, 1)}


def test_a_copy_under_another_item_leaves_both_counted(tmp_path, sample, random_embedder):
    folder = tmp_path / "catalogue"
    shutil.copytree(sample / "catalogue", folder)
    first, second, *_ = sorted(folder.iterdir())
    shutil.copy2(sorted(first.iterdir())[0], second / "copy.jpg")
    catalogue = read_catalogue(folder)
    build_index(catalogue, random_embedder, tmp_path / "items.index")
    with Store.open(tmp_path / "items.index") as store:
        found = audit(catalogue, random_embedder, store)
    assert [one.same for one in found.duplicates] == ["bytes"]
    counts = {one.item_id: one.photos for one in found.few_photos}
    gone = {one.item_id for one in found.mislabelled} | {one.item_id for one in found.outliers}
    assert first.name in gone or counts[first.name] == 12
    assert second.name in gone or counts[second.name] == 13
