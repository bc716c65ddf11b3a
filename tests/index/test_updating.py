"""However a catalogue changed, its updated index is the one that is built from nothing."""

import os
import shutil
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from PIL import Image

from embedder import Embedder, read_catalogue
from embedder.model_files import Architecture, ModelInfo
from index import build_index

SIDE = 24
ITEMS = ["a", "b", "ü ö"]
NAMES = ["1.bmp", "2.bmp", "3.bmp", "10.bmp", "old/1.bmp"]
CONTENTS = range(12)
LONG_AGO = 1_600_000_000_000_000_000
UNREADABLE = 11


@pytest.fixture(scope="module")
def embedder(save_random_model):
    """A model with random weights and 5 numbers a photo, that asks for whitening."""
    info = ModelInfo(Architecture(size=32, dim=5), 0.2, whitened_temperature=0.4)
    return Embedder.open(save_random_model(info, 2))


def write(path, content):
    """Write one of a few photos, all of the same number of bytes; one of them is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(content).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    if content == UNREADABLE:
        path.write_bytes(b"not" + path.read_bytes()[3:])


def set_time(path, changed):
    os.utime(path, ns=(changed, changed))


def build(folder, embedder, index):
    return build_index(read_catalogue(folder), embedder, index, skip_empty=True)


def photos_in(root):
    """Item to name to content, of those that can be read."""
    return {
        item.name: {
            str(path.relative_to(item)): path.read_bytes()
            for path in item.rglob("*.bmp")
            if path.read_bytes()[:3] != b"not"
        }
        for item in root.iterdir()
    }


class Updates(RuleBasedStateMachine):
    """Changes of a catalogue of which files of one size have times long ago, or still to come."""

    def __init__(self, embedder, everything, root):
        super().__init__()
        self.embedder, self.everything = embedder, everything
        self.root, self.folder, self.index = root, root / "catalogue", root / "items.index"
        self.ticks = count(LONG_AGO, 2**30)
        self.steps = (2**number for number in range(30))  # no sum of some is zero
        self.known = {}
        self.all_kept = True  # not of the items that an update had no need to look at

    def stamp(self, path, settled):
        """A time of its own; one that is still to come is like one of just now."""
        set_time(path, next(self.ticks) + (0 if settled else 2 * LONG_AGO))

    def some(self, data):
        found = sorted(
            # Without any photo there would be nothing to build.
            path
            for path in self.folder.rglob("*.bmp")
            if path.parent.name != "fixed"
        )
        return data.draw(st.sampled_from(found)) if found else None

    @initialize(contents=st.lists(st.sampled_from(CONTENTS), min_size=9, max_size=9))
    def begin(self, contents):
        for at, content in enumerate(contents):
            path = self.folder / ITEMS[at // 3] / NAMES[at % 3]
            write(path, content)
            self.stamp(path, True)
        write(self.folder / "fixed" / "1.bmp", 0)
        self.stamp(self.folder / "fixed" / "1.bmp", True)
        self.update()

    @rule(
        item=st.sampled_from(ITEMS),
        name=st.sampled_from(NAMES),
        content=st.sampled_from(CONTENTS),
        settled=st.booleans(),
    )
    def write_a_photo(self, item, name, content, settled):
        path = self.folder / item / name
        write(path, content)
        self.stamp(path, settled)

    @rule(data=st.data(), content=st.sampled_from(CONTENTS), sign=st.sampled_from([-1, 0, 1]))
    def overwrite_with_almost_the_same_time(self, data, content, sign):
        if (path := self.some(data)) is not None:
            changed = path.stat().st_mtime_ns
            if sign or changed > time.time_ns():  # the rest cannot be seen
                write(path, content)
                set_time(path, changed + sign * next(self.steps))

    @rule(data=st.data(), settled=st.booleans())
    def touch(self, data, settled):
        if (path := self.some(data)) is not None:
            self.stamp(path, settled)

    @rule(data=st.data())
    def delete(self, data):
        if (path := self.some(data)) is not None:
            path.unlink()

    @rule(data=st.data(), item=st.sampled_from(ITEMS), name=st.sampled_from(NAMES))
    def move_over_another(self, data, item, name):
        if (path := self.some(data)) is not None:
            (self.folder / item / name).parent.mkdir(parents=True, exist_ok=True)
            path.rename(self.folder / item / name)

    @rule(data=st.data())
    def swap(self, data):
        one, other = self.some(data), self.some(data)
        if one != other:
            one.rename(self.root / "between")
            other.rename(one)
            (self.root / "between").rename(other)

    @rule(item=st.sampled_from(ITEMS))
    def delete_an_item(self, item):
        shutil.rmtree(self.folder / item, ignore_errors=True)

    @rule(item=st.sampled_from(ITEMS), to=st.sampled_from([*ITEMS, "copy"]), keep=st.booleans())
    def copy_or_rename_an_item(self, item, to, keep):
        if item != to and (self.folder / item).exists():
            shutil.rmtree(self.folder / to, ignore_errors=True)
            shutil.copytree(self.folder / item, self.folder / to)
            if not keep:
                shutil.rmtree(self.folder / item)

    @rule()
    def lose_what_is_kept(self):
        self.index.with_name("items.index.photos").unlink(missing_ok=True)
        self.all_kept = False

    @rule()
    def lose_the_index(self):
        self.index.unlink(missing_ok=True)

    @rule()
    def update(self):
        now = photos_in(self.folder)
        known = self.known if self.all_kept else {}
        new = [c for item in now for c in now[item].values() if c not in known.get(item, ())]
        self.all_kept |= not self.index.exists()
        report = build(self.folder, self.embedder, self.index)
        fresh = self.root / "fresh"
        fresh.mkdir()
        all_new = build(self.folder, self.embedder, fresh / "items.index")
        assert self.everything(self.index) == self.everything(fresh / "items.index")
        shutil.rmtree(fresh)
        assert report.embedded <= len(new)
        assert all_new.embedded == report.photos == sum(map(len, now.values()))
        assert report.empty == tuple(sorted(item for item, photos in now.items() if not photos))
        assert [str(e) for e in report.unreadable] == [str(e) for e in all_new.unreadable]
        assert build(self.folder, self.embedder, self.index).embedded == 0
        self.known = {item: set(photos.values()) for item, photos in now.items()}

    def teardown(self):
        shutil.rmtree(self.root)


def test_any_changes_give_the_index_built_from_nothing(embedder, everything, tmp_path):
    roots = (tmp_path / str(number) for number in count())
    run_state_machine_as_test(
        lambda: Updates(embedder, everything, next(roots)),
        settings=settings(max_examples=12, stateful_step_count=14),
    )


@pytest.fixture
def folder(tmp_path):
    """Nine photos of three items, changed long ago."""
    for at in range(9):
        path = tmp_path / "catalogue" / ITEMS[at // 3] / NAMES[at % 3]
        write(path, at)
        set_time(path, LONG_AGO + at)
    return tmp_path / "catalogue"


def fresh(folder, embedder, everything, tmp_path):
    build(folder, embedder, tmp_path / "fresh.index")
    found = everything(tmp_path / "fresh.index")
    (tmp_path / "fresh.index").unlink()
    (tmp_path / "fresh.index.photos").unlink()
    return found


def test_what_is_kept_may_be_deleted_and_costs_only_the_items_that_changed(
    folder, embedder, index, everything, tmp_path
):
    assert build(folder, embedder, index).embedded == 9
    kept = index.with_name("items.index.photos")
    kept.unlink()
    assert build(folder, embedder, index).embedded == 0
    kept.unlink()
    set_time(folder / "a" / "1.bmp", LONG_AGO)
    write(folder / "b" / "1.bmp", 9)
    assert build(folder, embedder, index).embedded == 3
    assert everything(index) == fresh(folder, embedder, everything, tmp_path)


def test_an_index_that_was_deleted_comes_back_without_embedding(
    folder, embedder, index, everything
):
    build(folder, embedder, index)
    before = everything(index)
    index.unlink()
    assert build(folder, embedder, index).embedded == 0
    assert everything(index) == before


@pytest.mark.parametrize("deleted", [[], ["items.index"], ["items.index.photos"]])
def test_a_photo_rewritten_within_the_same_moment_is_found(
    folder, embedder, index, everything, tmp_path, deleted
):
    photo = folder / "a" / "1.bmp"
    write(photo, 9)
    size, moment = photo.stat().st_size, time.time_ns()
    set_time(photo, moment)
    build(folder, embedder, index)
    write(photo, 10)
    set_time(photo, moment)
    assert (photo.stat().st_size, photo.stat().st_mtime_ns) == (size, moment)
    for name in deleted:
        index.with_name(name).unlink()
    assert build(folder, embedder, index).embedded == (3 if "items.index.photos" in deleted else 1)
    assert everything(index) == fresh(folder, embedder, everything, tmp_path)


def test_a_catalogue_that_was_moved_embeds_nothing(
    folder, embedder, index, everything, monkeypatch
):
    build(folder, embedder, index)
    before = everything(index)
    moved = folder.rename(folder.with_name("moved"))
    assert build(moved, embedder, index).embedded == 0
    assert everything(index) == before
    monkeypatch.chdir(folder.parent)
    assert build("moved", embedder, index).embedded == 0
    monkeypatch.chdir("moved")
    assert build(".", embedder, index).embedded == 0
    assert everything(index) == before


def test_a_manifest_of_the_same_photos_embeds_nothing(folder, embedder, index, everything):
    build(folder, embedder, index)
    before = everything(index)
    (folder / "items.csv").write_text(
        "item_id,path\n"
        + "".join(f"{p.parent.name},{p.relative_to(folder)}\n" for p in folder.rglob("*.bmp"))
    )
    assert build(folder / "items.csv", embedder, index).embedded == 0
    assert everything(index) == before


def test_a_photo_listed_twice_counts_twice_and_is_kept_once(folder, embedder, index, everything):
    rows = ["a,a/1.bmp", "a,a/1.bmp", "a,a/2.bmp", "b,a/1.bmp"]
    manifest = folder / "items.csv"
    manifest.write_text("\n".join(["item_id,path", *rows]))
    assert build(manifest, embedder, index).photos == 4
    before = everything(index)
    index.unlink()
    assert build(manifest, embedder, index).embedded == 0
    assert everything(index) == before


def test_photos_of_the_middle_ages(tmp_path, embedder):
    # In memory, where file systems are that know such times.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as root:
        photos = [Path(root, "catalogue", "a", f"{number}.bmp") for number in range(3)]
        for content, photo in enumerate(photos):
            write(photo, content)
            set_time(photo, -14 * 10**18)
        if photos[0].stat().st_mtime_ns != -14 * 10**18:
            pytest.skip("no file system here knows times before 1901")
        index = Path(root, "items.index")
        assert build(photos[0].parents[1], embedder, index).embedded == 3
        write(photos[1], 5)
        set_time(photos[1], -14 * 10**18)
        assert build(photos[0].parents[1], embedder, index).embedded == 1
