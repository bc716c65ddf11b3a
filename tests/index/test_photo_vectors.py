"""The vectors of a catalogue, from what a build kept or embedded anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder import Catalogue, Embedder, ModelError, read_catalogue
from index import build_index
from index.kept_photos import kept_beside
from index.photo_vectors import PhotoVectors, photo_vectors
from index.store import Store


@pytest.fixture
def copied(catalogue: Catalogue, tmp_path: Path) -> Path:
    """Three items of four photos, which a test may change."""
    for item, photos in list(catalogue.items.items())[:3]:
        (tmp_path / "catalogue" / item).mkdir(parents=True)
        for photo in photos[:4]:
            shutil.copy2(photo, tmp_path / "catalogue" / item)
    return tmp_path / "catalogue"


@pytest.fixture
def store(copied: Path, random_model: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "items.index"
    build_index(read_catalogue(copied), Embedder.open(random_model), path)
    with Store.open(path) as store:
        yield store


def looked_up(folder: Path, model: Path, store: Store) -> PhotoVectors:
    return photo_vectors(read_catalogue(folder), Embedder.open(model), store)


def test_photo_vectors_of_the_catalogue_are_those_that_the_build_kept(
    copied: Path, random_model: Path, store: Store
) -> None:
    before = kept_beside(store.path).read_bytes()
    found = looked_up(copied, random_model, store)
    catalogue = read_catalogue(copied)
    expected = np.stack(list(Embedder.open(random_model).embed(catalogue.paths())))
    np.testing.assert_array_equal(found.vectors, expected)
    assert found.photos == tuple(catalogue.paths())
    assert found.items == tuple(item for item in catalogue.items for _ in range(4))
    assert found.indexed.all()
    assert kept_beside(store.path).read_bytes() == before


def test_photo_vectors_tell_new_changed_and_bad_photos_from_those_of_the_index(
    copied: Path, random_model: Path, store: Store, catalogue: Catalogue
) -> None:
    item, photos = next(iter(catalogue.items.items()))
    new = copied / item / "zz-new.jpg"
    shutil.copy2(photos[5], new)
    changed, bad = sorted((copied / item).iterdir())[:2]
    shutil.copy2(photos[6], changed)
    bad.write_bytes(b"no photo")
    found = looked_up(copied, random_model, store)
    told = dict(zip(found.photos, found.indexed.tolist(), strict=True))
    assert {photo for photo, known in told.items() if not known} == {str(new), str(changed)}
    assert [Path(error.photo) for error in found.unreadable] == [bad]
    assert len(found.vectors) == len(found.items) == 12


def test_photo_vectors_of_another_folder_know_photos_by_content_and_not_by_name(
    copied: Path, random_model: Path, store: Store, tmp_path: Path
) -> None:
    items = sorted(path.name for path in copied.iterdir())
    shutil.copytree(copied / items[0], tmp_path / "others" / items[0])
    # Other photos by the names, sizes and times of the index: as unpacked from two archives.
    (tmp_path / "others" / items[1]).mkdir()
    for photo in (copied / items[1]).iterdir():
        other, status = tmp_path / "others" / items[1] / photo.name, photo.stat()
        Image.new("RGB", (8, 8), "red").save(other)
        other.write_bytes(other.read_bytes().ljust(status.st_size, b"\0"))
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert other.stat().st_size == status.st_size
    found = looked_up(tmp_path / "others", random_model, store)
    told = list(zip(found.items, found.indexed.tolist(), strict=True))
    assert told == [(items[0], True)] * 4 + [(items[1], False)] * 4


@pytest.mark.parametrize("damage", ["missing", "not SQLite", "another model"])
def test_photo_vectors_without_what_was_kept_are_the_same(
    copied: Path, random_model: Path, store: Store, damage: str, tmp_path: Path
) -> None:
    before = looked_up(copied, random_model, store)
    kept = kept_beside(store.path)
    if damage == "missing":
        kept.unlink()
    elif damage == "not SQLite":
        kept.write_bytes(b"something else")
    else:
        content = kept.read_bytes()
        fingerprint = store.info.fingerprint.encode()
        kept.write_bytes(content.replace(fingerprint, b"0" * len(fingerprint)))
    after = looked_up(copied, random_model, store)
    np.testing.assert_array_equal(before.vectors, after.vectors)
    assert after.indexed.all()  # by where they are


def test_photo_vectors_refuse_another_model(copied: Path, other_model: Path, store: Store) -> None:
    with pytest.raises(ModelError, match="another model"):
        looked_up(copied, other_model, store)
