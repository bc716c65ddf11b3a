"""Catalogues in Parquet, beside the same ones in CSV."""

import csv
import sys
import tracemalloc

import pyarrow as pa
import pytest
from pyarrow import parquet

from embedder import CatalogueError, MissingExtraError, read_catalogue
from embedder.manifests import manifest_rows, root_of
from index.chunks import groups_of, look_through

ROWS = [("b", "x/2.jpg"), ("a", "1.jpg"), ('Süß, 20 "x"', "/photos/1.jpg"), ("b", "x/1.jpg")]


def write(file, rows, **types):
    """A table of rows with further columns, in another order."""
    columns = {
        "note": pa.array([0.5] * len(rows)),
        "path": pa.array([row[1] for row in rows], types.get("path", pa.string())),
        "item_id": pa.array([row[0] for row in rows], types.get("item_id", pa.string())),
    }
    parquet.write_table(pa.table(columns), file, row_group_size=50_000)
    return file


def refusal(path):
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["list.parquet", "list.PARQUET"])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_the_same_catalogue_as_from_csv(tmp_path, name, kind):
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("item_id", "path"), *ROWS])
    found = read_catalogue(write(tmp_path / name, ROWS, item_id=kind, path=kind))
    expected = read_catalogue(tmp_path / "list.csv")
    assert found.items == expected.items
    assert list(found.items) == list(expected.items)
    for photos in found.items.values():
        assert found.within(photos) == expected.within(photos)


def test_paths_start_from_the_folder_of_a_manifest(tmp_path):
    path = write(tmp_path / "list.parquet", ROWS)
    assert read_catalogue(path).items["a"] == (str(tmp_path / "1.jpg"),)
    assert root_of(path) == tmp_path
    assert root_of(tmp_path / "gone.parquet") == tmp_path
    (tmp_path / "photos.parquet").mkdir()
    assert root_of(tmp_path / "photos.parquet") == tmp_path / "photos.parquet"


def test_chunks_are_those_of_csv(tmp_path):
    rows = [(f"item {number // 7}", f"{number}.jpg") for number in range(25_000)]
    table = write(tmp_path / "a.parquet", rows)
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "path"), *rows])
    assert list(groups_of(table)) == list(groups_of(tmp_path / "a.csv"))
    assert look_through(table) == look_through(tmp_path / "a.csv")


def test_few_rows_are_held_at_a_time(tmp_path):
    peaks = []
    for count in (100_000, 400_000):
        path = tmp_path / f"{count}.parquet"
        write(path, [(f"item {number}", f"{number}.jpg") for number in range(count)])
        tracemalloc.start()
        assert sum(1 for _ in manifest_rows(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("a", None), "['a', None]"),
        ((None, "1.jpg"), "[None, '1.jpg']"),
        (("", "1.jpg"), "['', '1.jpg']"),
        (("a", "\t"), "['a', '\\t']"),
        (("a", "1\0.jpg"), "['a', '1\\x00.jpg']"),
    ],
)
def test_a_row_without_a_value_is_named(tmp_path, row, said):
    path = write(tmp_path / "a.parquet", [*ROWS * 4_000, row, *ROWS])
    assert refusal(path) == f"{path}: row 16001: expected 'item_id' and 'path', found {said}"


def test_what_is_not_as_expected(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, [(1, "1.jpg")], item_id=pa.int64())
    assert refusal(path).endswith("expected 'item_id' as texts, found int64")
    parquet.write_table(pa.table({"id": ["a"], "path": ["1.jpg"]}), path)
    assert refusal(path).endswith("expected columns 'item_id' and 'path', found ['id', 'path']")
    write(path, [])
    assert "found none" in refusal(path)
    content = write(path, ROWS).read_bytes()
    for broken in (b"", b"item_id,path\na,1.jpg\n", content[:-20], content[:40] + content[60:]):
        path.write_bytes(broken)
        assert "cannot be read as Parquet: " in refusal(path)
    write(path, [("#a", "1.jpg")])
    assert "expected an item id that a list can hold, found '#a'" in refusal(path)


def test_without_arrow_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra \[parquet\]"):
        read_catalogue(path)
