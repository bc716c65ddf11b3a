"""Fixtures of the tests that build an index: where it goes, and a catalogue for it."""

import shutil
import sqlite3

import pytest


@pytest.fixture
def index(tmp_path):
    return tmp_path / "items.index"


@pytest.fixture
def part_of_sample(sample, tmp_path):
    """Copy the first photos of the first items to a catalogue that a test may change."""

    def copy(items, photos):
        root = tmp_path / "catalogue"
        for item in sorted((sample / "catalogue").iterdir())[:items]:
            (root / item.name).mkdir(parents=True)
            for photo in sorted(item.iterdir())[:photos]:
                shutil.copy2(photo, root / item.name)
        return root

    return copy


@pytest.fixture
def everything():
    """Read all that an index says, byte by byte, but for when it was made and from which files."""

    def read(index):
        connection = sqlite3.connect(index)
        queries = [
            "SELECT id, centroid, photos, dispersion, reference, checksum FROM items ORDER BY id",
            "SELECT id FROM items INDEXED BY items_again ORDER BY id",
            "SELECT * FROM unreadable ORDER BY item_id, photo",
            "SELECT * FROM spreads ORDER BY item_id",
            "SELECT * FROM meta WHERE key NOT IN ('created', 'catalogue', 'seal') ORDER BY key",
        ]
        found = [connection.execute(query).fetchall() for query in queries]
        connection.close()
        return found

    return read
