"""Fixtures of the tests that build an index: where it goes, and a catalogue for it."""

import shutil

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
