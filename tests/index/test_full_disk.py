"""Builds that meet a full disk: nothing is lost that was kept, and the next one goes on."""

import sqlite3
from contextlib import closing

import pytest

from embedder import IndexFileError, read_catalogue
from embedder.sample import write_sample
from index import build_index

PHOTOS = 300


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A catalogue of a few hundred photos."""
    folder = tmp_path_factory.mktemp("large")
    write_sample(folder, items=12, photos=PHOTOS // 12, queries=0, size=64)
    return folder / "catalogue"


def kept(index):
    """How many photos are kept; a second look, by hand, at what was left."""
    path = index.with_name(f"{index.name}.photos")
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return 0
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return database.execute("SELECT count(*) FROM photos").fetchone()[0]


@pytest.mark.parametrize("room", [0, 4096, 20_000, 60_000, 100_000])
def test_a_disk_that_is_full_stops_a_build_in_one_line_and_the_next_goes_on(
    large, random_embedder, everything, tmp_path, little_room, room
):
    index = tmp_path / "items.index"
    with little_room(room), pytest.raises(IndexFileError) as error:
        build_index(read_catalogue(large), random_embedder, index)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not index.exists()
    before = kept(index)
    assert build_index(read_catalogue(large), random_embedder, index).embedded == PHOTOS - before
    build_index(read_catalogue(large), random_embedder, tmp_path / "whole.index")
    assert everything(index) == everything(tmp_path / "whole.index")
