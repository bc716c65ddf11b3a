import random
import tracemalloc
from collections import Counter

import pytest

from embedder import CatalogueError, read_catalogue
from embedder.catalogue import catalogue_rows
from index import chunks, whitening
from index.chunks import CHUNKS, groups_of, look_through


def write_manifest(path, rows):
    with path.open("w") as lines:
        lines.write("item_id,path\n")
        lines.writelines(f"{item},{photo}\n" for item, photo in rows)
    return path


def rows_in(groups):
    return [row for group in groups for chunk in group.chunks for row in chunk.rows]


def test_groups_have_all_rows_in_order(tmp_path):
    rows = [(f"item {at // 7}", f"photos/{at}.jpg") for at in range(1000)]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    groups = list(groups_of(manifest, 10))
    assert rows_in(groups) == rows
    assert [len(group.chunks) for group in groups] == [CHUNKS] * 6 + [4]
    assert len({group.key for group in groups}) == 7
    assert [group.key for group in groups] == [group.key for group in groups_of(manifest, 10)]
    write_manifest(manifest, [*rows[:-1], ("item 142", "photos/other.jpg")])
    again = [group.key for group in groups_of(manifest, 10)]
    assert again[:-1] == [group.key for group in groups[:-1]]
    assert again[-1] != groups[-1].key


def test_a_folder_gives_the_rows_of_its_catalogue(sample):
    found = {}
    for item, photo in catalogue_rows(sample / "catalogue"):
        found.setdefault(item, []).append(photo)
    assert {item: tuple(photos) for item, photos in found.items()} == read_catalogue(
        sample / "catalogue"
    ).items


@pytest.mark.parametrize("alone", [0.1, 0.97])  # of the items, those with one photo
def test_the_sample_is_that_of_the_whole_catalogue(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(whitening, "MOST_ITEMS", 20)
    monkeypatch.setattr(chunks, "_FIRST_KEPT", 50)
    choice = random.Random(0)
    rows = [
        (f"item-{item}", f"{photo}.jpg")
        for item in range(1500)
        for photo in range(1 if choice.random() < alone else 3)
    ]
    choice.shuffle(rows)
    overview = look_through(write_manifest(tmp_path / "m.csv", rows))
    counts = {item: range(count) for item, count in Counter(item for item, _ in rows).items()}
    assert overview.photos == len(rows)
    assert whitening.sample(overview.counts) == whitening.sample(counts)
    assert all(counts[item] == count for item, count in overview.counts.items())
    assert len(overview.counts) < 1500


def test_a_manifest_is_read_as_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(whitening, "MOST_ITEMS", 20)
    monkeypatch.setattr(chunks, "_FIRST_KEPT", 50)
    sizes = []
    for count in (5_000, 100_000):
        rows = ((f"item-{at // 10:08d}", f"photos/{at:08d}.jpg") for at in range(count))
        manifest = write_manifest(tmp_path / f"{count}.csv", rows)
        tracemalloc.start()
        look_through(manifest)
        assert sum(len(group.chunks) for group in groups_of(manifest, 100)) == count // 100
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] < 1.2 * sizes[0] < 3_000_000


def test_what_is_no_catalogue_is_refused_as_without_dask(tmp_path):
    for name, text in (("a.csv", "x,y\n"), ("b.csv", "item_id,path\na\n"), ("c.csv", "")):
        (tmp_path / name).write_text(text)
    write_manifest(tmp_path / "d.csv", [("#a", "x.jpg")])
    for name in ("a.csv", "b.csv", "c.csv", "d.csv", "none"):
        with pytest.raises(CatalogueError) as one:
            read_catalogue(tmp_path / name)
        with pytest.raises(CatalogueError) as other:
            look_through(tmp_path / name)
        assert str(one.value) == str(other.value)
    with pytest.raises(CatalogueError, match="found none"):
        look_through(write_manifest(tmp_path / "e.csv", []))
