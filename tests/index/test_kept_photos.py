"""What is kept of photos: it comes back as it was, or not at all, and is never in the way."""

import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import IndexFileError
from index.kept_photos import KeptPhoto, KeptPhotos

DIM = 6
MODEL = "f" * 64
NAMES = [b"1.jpg", b"2.jpg", b"old/\xe4\xff.jpg", "ü ö.png".encode()]
ITEMS = ["a", "b", "ä/ö 'x'"]


def photo(seed):
    rng = np.random.default_rng(seed)
    size, changed = (int(number) for number in rng.integers(0, 2**62, 2))
    return KeptPhoto(size, changed, rng.bytes(16), rng.normal(size=DIM).astype(np.float32))


def plain(photos):
    return {name: (p.size, p.changed, p.digest, p.vector.tolist()) for name, p in photos.items()}


def put_all(path, items=ITEMS):
    """Put a photo of each name into each item."""
    expected = {}
    with KeptPhotos.open(path, MODEL, DIM) as kept:
        for at, item in enumerate(items):
            photos = {name: photo((at, number)) for number, name in enumerate(NAMES)}
            kept.put(item, photos.items())
            expected[item] = plain(photos)
    return expected


def read_all(path, items=ITEMS, model=MODEL, dim=DIM):
    with KeptPhotos.open(path, model, dim) as kept:
        return {item: plain(kept.of_item(item)) for item in items}


def edit(path, statement, *values):
    connection = sqlite3.connect(path)
    changed = connection.execute(statement, values).rowcount
    connection.commit()
    connection.close()
    return changed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "items with space?#.index.photos"


def test_what_was_put_comes_back_under_its_item_and_name(path):
    expected = put_all(path)
    assert read_all(path) == expected
    with KeptPhotos.open(path, MODEL, DIM) as kept:
        assert kept.of_item("none") == {}
        vector = kept.of_item("a")[NAMES[2]].vector
        assert (vector.dtype, vector.shape) == (np.float32, (DIM,))


whole = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(width=32, allow_nan=False)


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.dictionaries(
        st.binary(max_size=9),
        st.builds(
            KeptPhoto,
            whole,
            whole,
            st.binary(min_size=16, max_size=16),
            st.lists(numbers, min_size=DIM, max_size=DIM).map(lambda x: np.array(x, np.float32)),
        ),
        max_size=5,
    ),
)
def test_any_item_name_and_numbers_come_back(tmp_path_factory, item, photos):
    path = tmp_path_factory.mktemp("kept") / "items.index.photos"
    with KeptPhotos.open(path, MODEL, DIM) as kept:
        kept.put(item, photos.items())
    assert read_all(path, [item]) == {item: plain(photos)}


def test_a_later_photo_of_a_name_takes_the_place_of_the_earlier(path):
    expected = put_all(path)
    with KeptPhotos.open(path, MODEL, DIM) as kept:
        kept.put("a", [(NAMES[0], photo(99))])
    expected["a"] |= plain({NAMES[0]: photo(99)})
    assert read_all(path) == expected


def test_photos_and_items_are_forgotten_one_by_one(path):
    expected = put_all(path)
    with KeptPhotos.open(path, MODEL, DIM) as kept:
        kept.remove("a", [NAMES[0], NAMES[2], b"unknown"])
        kept.remove_others([*set(ITEMS) - {"b"}, "unknown"])
    for name in (NAMES[0], NAMES[2]):
        del expected["a"][name]
    assert read_all(path) == {**expected, "b": {}}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_was_put_before_an_error_is_kept_and_the_error_goes_on(path, error):
    with pytest.raises(error), KeptPhotos.open(path, MODEL, DIM) as kept:
        kept.put("a", [(b"1.jpg", photo(1))])
        raise error
    assert read_all(path, ["a"]) == {"a": plain({b"1.jpg": photo(1)})}


@pytest.mark.parametrize(
    "meta",
    [
        "UPDATE meta SET value = 'other' WHERE key = 'fingerprint'",
        "UPDATE meta SET value = '0' WHERE key = 'format'",
        "UPDATE meta SET value = '2' WHERE key = 'format'",
        "UPDATE meta SET value = x'ff' WHERE key = 'format'",
        "UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'format'",
        "DELETE FROM meta WHERE key = 'format'",
        "INSERT INTO meta VALUES ('more', 'of it')",
        "DROP TABLE meta",
    ],
)
def test_a_file_of_another_model_or_format_is_made_anew(path, meta):
    put_all(path)
    edit(path, meta)
    assert read_all(path) == {item: {} for item in ITEMS}
    expected = put_all(path)
    assert read_all(path) == expected


def test_another_model_takes_the_place_of_the_first(path):
    put_all(path)
    assert read_all(path, model="e" * 64) == {item: {} for item in ITEMS}
    assert read_all(path) == {item: {} for item in ITEMS}


@pytest.mark.parametrize(
    "content",
    [b"", b"no database", b"no database " * 1000, b"SQLite format 3\0" + b"\0" * 9000],
    ids=["empty", "short", "long", "header"],
)
def test_what_is_no_database_is_made_anew(path, content):
    path.write_bytes(content)
    assert read_all(path) == {item: {} for item in ITEMS}
    expected = put_all(path)
    assert read_all(path) == expected


def test_another_database_is_made_anew(path):
    edit(path, "CREATE TABLE photos (id)")
    assert read_all(path) == {item: {} for item in ITEMS}
    expected = put_all(path)
    assert read_all(path) == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (column, value)
        for column, values in {
            "name": [b"3.jpg", "1.jpg", 7, 0.5, ""],
            "size": [8, -1, "many", b"8", 0.5],
            "changed": [8, -1, "now", b"8", 0.5],
            "digest": [b"", b"\0" * 16, "text", 7, 0.5],
            "vector": [b"", bytes(4 * DIM), bytes(4 * DIM + 4), "text", 7, 0.5],
            "checksum": [0, -1, "text", b"", 0.5],
        }.items()
        for value in values
    ],
)
def test_a_damaged_photo_is_left_out_and_others_still_come_back(path, column, value):
    expected = put_all(path)
    edited = edit(
        path, f"UPDATE photos SET {column} = ? WHERE item_id = 'a' AND name = ?", value, NAMES[1]
    )
    assert edited == 1
    del expected["a"][NAMES[1]]
    assert read_all(path) == expected


def test_photos_that_changed_names_or_items_are_left_out(path):
    expected = put_all(path)
    rename = "UPDATE photos SET name = ? WHERE item_id = 'a' AND name = ?"
    for new, old in ((b"", NAMES[0]), (NAMES[0], NAMES[1]), (NAMES[1], b"")):
        assert edit(path, rename, new, old) == 1
    move = "UPDATE photos SET item_id = ? WHERE item_id = ? AND name = ?"
    for new, old in (("c", "a"), ("a", "b"), ("b", "c")):
        assert edit(path, move, new, old, NAMES[3]) == 1
    assert read_all(path) == {
        "a": {NAMES[2]: expected["a"][NAMES[2]]},
        "b": {name: expected["b"][name] for name in NAMES[:3]},
        ITEMS[2]: expected[ITEMS[2]],
    }


@pytest.mark.parametrize("column", ["size", "changed", "digest", "vector", "checksum"])
def test_values_swapped_between_photos_are_left_out(path, column):
    expected = put_all(path)
    edit(
        path,
        f"UPDATE photos SET {column} = (SELECT {column} FROM photos AS other "
        "WHERE other.item_id = 'b' AND other.name = photos.name) WHERE item_id = 'a'",
    )
    assert read_all(path) == {**expected, "a": {}}


def test_vectors_of_another_length_are_left_out(path):
    put_all(path)
    assert read_all(path, dim=DIM + 1) == {item: {} for item in ITEMS}


def kill_a_writer(path):
    """Leave a file as a process that is killed in the middle of a commit leaves it."""
    code = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('PRAGMA cache_size = 2')\n"
        "connection.execute('UPDATE photos SET vector = zeroblob(4000)')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", code, path], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() != before
    journal = path.with_name(f"{path.name}-journal")
    assert journal.stat().st_size > 0
    return journal


MANY = [f"item-{number}" for number in range(60)]


def test_what_a_killed_process_left_half_done_is_undone(path):
    expected = put_all(path, MANY)
    journal = kill_a_writer(path)
    assert read_all(path, MANY) == expected
    assert not journal.exists()


def test_what_a_killed_process_left_of_another_model_is_no_matter(path):
    put_all(path, MANY)
    journal = kill_a_writer(path)
    assert read_all(path, MANY, model="e" * 64) == {item: {} for item in MANY}
    assert not journal.exists()


def test_a_journal_that_outlived_its_file_is_not_played_back(path):
    put_all(path, MANY)
    journal = kill_a_writer(path)
    path.unlink()
    assert read_all(path, MANY) == {item: {} for item in MANY}
    assert not journal.exists()
    expected = put_all(path)
    assert read_all(path) == expected


def one_line_error(path):
    with pytest.raises(IndexFileError) as error, KeptPhotos.open(path, MODEL, DIM):
        pass
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_in_its_place_is_one_line(path):
    path.mkdir()
    assert "cannot be read or written" in one_line_error(path)
    assert list(path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(path):
    assert "cannot be read or written" in one_line_error(path / "none" / "items.index.photos")
    path.write_text("a file where a folder should be")
    assert "cannot be read or written" in one_line_error(path / "items.index.photos")
    assert path.read_text() == "a file where a folder should be"


def test_a_file_in_use_is_one_line_and_stays(path, monkeypatch):
    monkeypatch.setattr("index.database._WAIT_SECONDS", 0.1)
    expected = put_all(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "in use by another process" in one_line_error(path)
    other.close()
    assert read_all(path) == expected
