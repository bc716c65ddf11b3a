"""Commands on an index, killed at every single step that changes files."""

import shutil
import sqlite3
from contextlib import closing
from itertools import count, takewhile

import numpy as np
import pytest

from embedder import IndexFileError
from embedder.sample import write_sample
from index import make_row_file
from index.database import is_damaged_index
from index.row_file import row_path
from index.store import Store

REFUSED_TWICE = {"whole: add": "has an item 'hand' already", "whole: remove": "sku-000002"}
LEFT = {".items.index.lock", "items.index", "items.index.photos"}


@pytest.fixture(scope="module")
def catalogue_folder(tmp_path_factory, settle):
    folder = tmp_path_factory.mktemp("photos")
    write_sample(folder, items=6, photos=6, queries=0, size=32)
    settle(folder)
    return folder / "catalogue"


@pytest.fixture(scope="module")
def commands(catalogue_folder, random_model):
    """Commands by name, each on the index that `states` has under its first word."""
    model = ("--model", random_model)
    hand = sorted(min(catalogue_folder.iterdir()).iterdir())[:3]
    build = ("build-index", *model, "--jobs", "1", catalogue_folder)
    return {
        "none: build": build,
        "whole: build": build,
        "smaller: build": build,
        "of another model: build": build,
        "damaged: build": build,
        "whole: add": ("add", *model, "hand", *hand),
        "smaller: replace": ("add", *model, "--replace", "sku-000002", *hand),
        "whole: remove": ("remove", "sku-000002"),
        "whole: calibrate": ("calibrate", *model, catalogue_folder),
    }


@pytest.fixture(scope="module")
def states(fork, commands, catalogue_folder, tmp_path_factory, save_random_model, random_embedder):
    """Folders with an index that was left in some state."""
    root = tmp_path_factory.mktemp("states")
    for name in ("none", "whole", "smaller", "of another model", "damaged"):
        (root / name).mkdir()
    build = commands["none: build"]
    assert fork(root / "whole", *build).code == 0
    few = root / "few"
    for item in sorted(catalogue_folder.iterdir())[:4]:
        shutil.copytree(item, few / item.name)
    assert fork(root / "smaller", *build[:-1], few).code == 0
    other = save_random_model(random_embedder.info, 7)
    assert fork(root / "of another model", "build-index", "--model", other, few).code == 0
    # Pages lost, and a journal that would put others in their place.
    for name in ("items.index", "items.index.photos", ".items.index.lock"):
        shutil.copyfile(root / "whole" / name, root / "damaged" / name)
    index = root / "damaged" / "items.index"
    content = bytearray(index.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    index.write_bytes(content)
    index.with_name("items.index-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 300)
    return root


@pytest.fixture
def look(content):
    """Open an index as we do, then read it; None where there is none."""

    def read(index):
        try:
            if index.exists():
                Store.open(index).close()
            return content(index)
        except IndexFileError:
            assert is_damaged_index(index)
            return "damaged"
        except sqlite3.DatabaseError:
            return "damaged"

    return read


@pytest.fixture
def after(fork, commands, states, content, tmp_path):
    """What an index says after a command that nothing disturbs."""
    known = {}

    def read(name):
        if name not in known:
            folder = shutil.copytree(states / name.partition(":")[0], tmp_path / "undisturbed")
            assert fork(folder, *commands[name]).code == 0
            known[name] = content(folder / "items.index")
            shutil.rmtree(folder)
        return known[name]

    return read


@pytest.fixture
def killed(fork, commands, states, look, after, tmp_path):
    """Run a command on a copy of a state and kill it; check what it left; whether it was killed."""

    def run(name, **kill):
        folders = tmp_path / "before", tmp_path / "work"
        before, index = (
            shutil.copytree(states / name.partition(":")[0], folder) / "items.index"
            for folder in folders
        )
        ended = fork(index.parent, *commands[name], **kill)
        assert ended.killed or ended.code == 0, ended.said
        found = look(index)
        assert found == after(name) or (found == look(before) and not ended.said)
        again = fork(index.parent, *commands[name])
        if found == after(name) and name in REFUSED_TWICE:
            assert again.code == 1 and REFUSED_TWICE[name] in again.said
        else:
            assert again.code == 0, again.said
        assert look(index) == after(name)
        left = {path.name for path in index.parent.iterdir()}
        assert left - {"items.index.photos-journal"} == LEFT
        for folder in folders:
            shutil.rmtree(folder)
        return ended.killed

    return run


NAMES = ("none: build", "whole: build", "smaller: build", "of another model: build")
NAMES += ("damaged: build", "whole: add", "smaller: replace", "whole: remove", "whole: calibrate")


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_before_any_change_of_files_leaves_the_state_before_or_after(killed, name):
    changes = sum(1 for _ in takewhile(lambda n: killed(name, change=n), count(1)))
    assert changes > (15 if name.endswith("build") else 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_within_any_write_leaves_the_state_before_or_after(killed, states, name, rounds):
    """Killed by the system when a file grows: in the middle of a commit, of a copy."""
    largest = max(path.stat().st_size for path in (states / "whole").iterdir())
    sizes = range(0, largest + 1, largest // rounds(8, 64))
    assert sum(killed(name, size=size, between_commits=0) for size in sizes) > 1


def test_a_kill_within_the_copy_of_an_index_leaves_the_index(killed):
    assert killed("smaller: build", copying=True)


@pytest.mark.parametrize("name", ["smaller: replace", "whole: remove", "whole: optimize"])
def test_answers_with_a_row_file_are_those_of_the_index_whenever_killed(
    fork, commands, states, tmp_path, name
):
    made = shutil.copytree(states / name.partition(":")[0], tmp_path / "made")
    make_row_file(made / "items.index")
    ids = [f"sku-{number:06}" for number in range(1, 7)]
    command = {**commands, "whole: optimize": ("optimize", "--rows")}[name]
    for number in count(1):
        folder = shutil.copytree(made, tmp_path / "work")
        ended = fork(folder, *command, change=number)
        index = folder / "items.index"
        with Store.open(index) as store:
            found, unknown = store.centroids(ids)
        row_path(index).unlink(missing_ok=True)
        with Store.open(index) as store:
            expected, missing = store.centroids(ids)
        np.testing.assert_array_equal(found, expected)
        assert unknown == missing
        shutil.rmtree(folder)
        if not ended.killed:
            break
    assert ended.code == 0, ended.said
    assert number > 6


def test_half_a_commit_is_what_a_kill_within_a_write_leaves(fork, commands, states, tmp_path):
    """The test above does what it says: some of its kills leave a journal to be played back."""
    found = 0
    for size in range(0, 40_000, 2048):
        folder = shutil.copytree(states / "whole", tmp_path / str(size))
        fork(folder, *commands["whole: add"], size=size)
        journal = folder / "items.index-journal"
        if journal.exists() and journal.read_bytes()[:1] == b"\xd9":
            with closing(sqlite3.connect(folder / "items.index")) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found += not journal.exists()
    assert found
