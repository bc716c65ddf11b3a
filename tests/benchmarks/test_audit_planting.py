"""What is planted into a catalogue is what is said, and the same for the same seed."""

from collections import Counter
from pathlib import Path

import pytest
from audit_planting import CHANGES, plant, read_planted

from embedder import read_catalogue


@pytest.fixture
def planted(sample, tmp_path):
    def run(folder, seed):
        foreign = sorted((sample / "photos").iterdir())
        target, truth = tmp_path / folder, tmp_path / f"{folder}.csv"
        return target, plant(sample / "catalogue", target, truth, 0.1, foreign, seed), truth

    return run


def test_moved_photos_and_copies_are_where_the_truth_says(planted, sample):
    folder, said, truth = planted("polluted", 0)
    assert read_planted(truth) == said
    kinds = Counter(one.kind for one in said)
    assert kinds == {"swapped": 14, "copy": 14, "outlier": 7}
    before, after = read_catalogue(sample / "catalogue"), read_catalogue(folder)
    assert after.photo_count == before.photo_count + 21
    contents = {
        Path(path).read_bytes(): item for item, paths in before.items.items() for path in paths
    }
    swapped = {one.photo: one for one in said if one.kind == "swapped"}
    for item, paths in after.items.items():
        for path in map(Path, paths):
            name = str(path.relative_to(folder))
            if path.name.startswith("p"):
                shown = contents[path.read_bytes()]
                assert (shown != item) == (name in swapped)
                if name in swapped:
                    assert (swapped[name].item_id, swapped[name].true_item) == (item, shown)
    for one in said:
        if one.kind == "copy":
            same = (folder / one.photo).read_bytes() == (folder / one.of).read_bytes()
            assert same == (one.how == "same bytes")
            assert Path(one.of).parts[0] == one.true_item
    assert {one.how for one in said if one.kind == "copy"} == set(CHANGES)


def test_the_seed_decides(planted):
    first = planted("first", 3)[1]
    assert planted("again", 3)[1] == first
    assert planted("other", 4)[1] != first
