"""Centroids out of an index and vectors into one, through files that others read and write."""

import io
import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_ids import REFUSED, odd_ids
from pyarrow import parquet

from embedder.catalogue import checked_id, is_listable, same_form
from embedder.errors import CatalogueError, IndexFileError
from index import Matcher, build_from_vectors, export_vectors, read_vectors, remove_items, scanning
from index.store import Store

KINDS = ("npz", "parquet", "faiss")
DIM = 6


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An index of odd ids in several blocks, and its ids, centroids and counts."""
    path = tmp_path_factory.mktemp("built") / "items.index"
    ids = odd_ids(400)
    rng = np.random.default_rng(0)
    times = rng.integers(1, 4, len(ids))
    items = [item for item, count in zip(ids, times, strict=True) for _ in range(count)]
    build_from_vectors(rng.normal(size=(len(items), DIM)), items, path)
    with Store.open(path) as store:
        vectors, _ = store.centroids(ids)
    return path, ids, vectors, times


@pytest.fixture
def exported(built, tmp_path, monkeypatch):
    """The index as a file of some kind."""
    monkeypatch.setattr(scanning, "_AT_ONCE", 64)

    def export(kind):
        with Store.open(built[0]) as store:
            assert export_vectors(store, tmp_path / f"items.{kind}") == len(built[1])
        return tmp_path / f"items.{kind}"

    return export


def write(path, ids, vectors):
    """A file of vectors, written with the library it is for alone."""
    kind = path.suffix
    if kind == ".npz":
        np.savez(path, ids=np.array(ids, dtype=str), vectors=vectors)
    elif kind == ".parquet":
        parquet.write_table(pa.table({"id": ids, "vector": list(vectors)}), path)
    else:
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(vectors.astype(np.float32))
        faiss.write_index(index, str(path))
        lines = "".join(f"{item}\n" for item in ids)
        path.with_name(f"{path.name}.ids.txt").write_bytes(lines.encode())
    return path


def refusal(path):
    with pytest.raises(CatalogueError) as caught:
        read_vectors(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_id(ids, *columns):
    return {item: tuple(np.array(part).tolist()) for item, *part in zip(ids, *columns, strict=True)}


def test_numpy_reads_what_is_exported(built, exported):
    _, ids, vectors, times = built
    with np.load(exported("npz"), allow_pickle=False) as found:
        assert set(found.files) == {"ids", "vectors", "photos"}
        assert found["ids"].dtype.kind == "U"
        assert (found["vectors"].dtype, found["photos"].dtype) == (np.float32, np.int64)
        assert sorted(found["ids"].tolist()) == sorted(ids)
        assert by_id(found["ids"].tolist(), found["vectors"]) == by_id(ids, vectors)
        assert by_id(found["ids"].tolist(), found["photos"]) == by_id(ids, times)


def test_arrow_reads_what_is_exported(built, exported):
    _, ids, vectors, times = built
    path = exported("parquet")
    table = parquet.read_table(path)
    assert table.schema.equals(
        pa.schema(
            [("id", pa.string()), ("vector", pa.list_(pa.float32(), DIM)), ("photos", pa.int64())]
        )
    )
    assert parquet.ParquetFile(path).num_row_groups == 7
    found = table.to_pydict()
    assert by_id(found["id"], found["vector"]) == by_id(ids, vectors)
    assert by_id(found["id"], found["photos"]) == by_id(ids, times)


def test_faiss_finds_in_what_is_exported_what_the_index_does(built, exported):
    path, ids, _, _ = built
    exported("faiss")
    index = faiss.read_index(str(exported("faiss")))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    lines = (exported("faiss").parent / "items.faiss.ids.txt").read_bytes().decode().split("\n")
    assert lines.pop() == ""
    asked = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    scores, rows = index.search(asked / np.linalg.norm(asked, axis=1, keepdims=True), 5)
    with Matcher.open(path) as matcher:
        assert not matcher.store.info.whitened
        nearest, expected = matcher.nearest(asked, ids, count=5)
    assert [[lines[row] for row in some] for some in rows] == nearest
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="names are texts here")
@pytest.mark.parametrize("kind", KINDS)
def test_folders_whose_names_are_no_texts(kind, built, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    with Store.open(built[0]) as store:
        export_vectors(store, folder / f"items.{kind}")
    vectors, ids = read_vectors(folder / f"items.{kind}")
    assert by_id(ids, vectors) == by_id(built[1], built[2])


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_an_export_is_that_index(kind, built, exported, tmp_path):
    path, ids, vectors, _ = built
    report = build_from_vectors(*read_vectors(exported(kind)), tmp_path / "again.index")
    assert (report.items, report.photos) == (len(ids), len(ids))
    asked = np.random.default_rng(2).normal(size=(20, DIM)).astype(np.float32)
    with Matcher.open(path) as one, Matcher.open(tmp_path / "again.index") as two:
        again, unknown = two.store.centroids(ids)
        assert not unknown
        np.testing.assert_allclose(again, vectors, atol=2e-7)
        assert one.nearest(asked, ids)[0] == two.nearest(asked, ids)[0]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(min_size=1, max_size=8).filter(lambda text: is_listable(same_form(text)))),
    st.sampled_from([".npz", ".parquet"]),
    st.sampled_from([np.float32, np.float64]),
)
def test_what_is_written_is_read(tmp_path, ids, suffix, dtype):
    ids = ["one", *ids]
    vectors = np.random.default_rng(len(ids)).normal(size=(len(ids), 3)).astype(dtype)
    found, items = read_vectors(write(tmp_path / f"some{suffix}", ids, vectors))
    assert items == [checked_id(item, "") for item in ids]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors.astype(np.float32))


def test_odd_ids_and_many_photos_of_one_come_through_faiss(tmp_path):
    ids = odd_ids(300, seed=1)
    ids = [*ids, *ids[::2]]
    vectors = np.random.default_rng(3).normal(size=(len(ids), 4)).astype(np.float32)
    found, items = read_vectors(write(tmp_path / "some.faiss", ids, vectors))
    assert items == ids
    np.testing.assert_array_equal(found, vectors)


def test_kinds_of_columns_that_others_write_are_read(tmp_path):
    vectors = np.random.default_rng(4).normal(size=(5, 3))
    ids = ["a", "b", "a", "c", "b"]
    path = tmp_path / "some.parquet"
    for vector in (
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 3),
        pa.list_(pa.float16()),
    ):
        for text in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
            columns = {
                "vector": pa.array(
                    vectors.astype(vector.value_type.to_pandas_dtype()).tolist(), vector
                ),
                "other": pa.array(range(5)),
                "id": pa.array(ids).cast(text),
            }
            parquet.write_table(pa.table(columns), path)
            found, items = read_vectors(path)
            assert items == ids
            np.testing.assert_allclose(found, vectors, atol=1e-3)


@pytest.mark.parametrize("key", ["Flat", "IVF4,Flat", "HNSW8", "IDMap,Flat", "IDMap2,Flat"])
def test_faiss_indexes_give_their_vectors_in_the_order_of_adding(key, tmp_path):
    vectors = np.random.default_rng(5).normal(size=(300, 8)).astype(np.float32)
    index = faiss.index_factory(8, key)
    index.train(vectors)
    if key.startswith("IDMap"):
        index.add_with_ids(vectors, np.arange(300)[::-1] * 7)
    else:
        index.add(vectors)
    path = write(tmp_path / "some.faiss", [str(at) for at in range(300)], vectors)
    faiss.write_index(index, str(path))
    np.testing.assert_array_equal(read_vectors(path)[0], vectors)


def test_vectors_that_faiss_compressed_are_near(tmp_path):
    vectors = np.random.default_rng(6).normal(size=(400, 8)).astype(np.float32)
    index = faiss.index_factory(8, "SQ8")
    index.train(vectors)
    index.add(vectors)
    path = write(tmp_path / "some.faiss", [str(at) for at in range(400)], vectors)
    faiss.write_index(index, str(path))
    np.testing.assert_allclose(read_vectors(path)[0], vectors, atol=0.02)


def test_numbers_of_faiss_that_are_no_order_are_refused(tmp_path):
    vectors = np.random.default_rng(7).normal(size=(100, 8)).astype(np.float32)
    index = faiss.index_factory(8, "IVF2,Flat")
    index.train(vectors)
    index.add_with_ids(vectors, np.arange(100) + 5)
    path = write(tmp_path / "some.faiss", [str(at) for at in range(100)], vectors)
    faiss.write_index(index, str(path))
    assert "no vector of the number 0" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e30])
def test_a_vector_of_no_use_is_named_by_its_row(kind, bad, tmp_path):
    vectors = np.ones((5, 3), np.float32)
    vectors[3] = bad
    said = refusal(write(tmp_path / f"some.{kind}", list("abcde"), vectors))
    if kind == "faiss" and np.isnan(bad):
        assert "no vector of the number 3" in said  # to FAISS there is none
    else:
        assert "row 4: expected finite vectors" in said


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_that_no_list_can_hold_is_named_by_its_row(kind, tmp_path):
    # A file of lines has some of them as two.
    of_lines = [item for item in REFUSED if "\n" not in item and max(item, default="") < "\ud800"]
    for item in of_lines[:: 5 if kind == "faiss" else 1]:  # each takes a process of its own
        if kind == "npz" and item.endswith("\0"):
            continue  # numpy takes these off
        said = refusal(write(tmp_path / f"some.{kind}", ["a", "b", item], np.ones((3, 2))))
        assert "row 3: expected an item id that a list can hold" in said


def test_a_wrong_number_of_ids_is_told(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, ids=np.array(["a", "b"]), vectors=np.ones((3, 2)))
    assert "expected an id for each of 3 vectors, found 2 ids" in refusal(path)
    path = write(tmp_path / "some.faiss", ["a", "b", "c", ""], np.ones((3, 2)))
    assert "expected 3 ids, one a line, found 4" in refusal(path)
    (tmp_path / "some.faiss.ids.txt").write_text("a\nb\nc")  # without an end
    assert read_vectors(path)[1] == ["a", "b", "c"]
    (tmp_path / "some.faiss.ids.txt").write_bytes(b"\xff")
    assert "some.faiss.ids.txt: expected ids as text in UTF-8" in refusal(path)
    (tmp_path / "some.faiss.ids.txt").unlink()
    assert "expected its ids in" in refusal(path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.array(["a"])}, "expected arrays 'ids' and 'vectors', found ['ids']"),
        ({"ids": np.array([1]), "vectors": np.ones((1, 2))}, "'ids' as an array of texts"),
        ({"ids": np.array([["a"]]), "vectors": np.ones((1, 2))}, "'ids' as an array of texts"),
        ({"ids": np.array(["a"]), "vectors": np.ones(2)}, "'vectors' as floats (photos, dim)"),
        ({"ids": np.array(["a"]), "vectors": np.ones((1, 2), int)}, "'vectors' as floats"),
        ({"ids": np.array(["a"]), "vectors": np.ones((1, 0))}, "dim from 1 to 4096"),
        ({"ids": np.array(["a"]), "vectors": np.ones((1, 4097))}, "dim from 1 to 4096"),
        ({"ids": np.zeros(0, "<U1"), "vectors": np.ones((0, 2))}, "dim from 1 to 4096, found (0"),
        ({"ids": np.array(["a"], object), "vectors": np.ones((1, 2))}, "found objects"),
    ],
)
def test_other_arrays_are_refused(arrays, said, tmp_path):
    np.savez(tmp_path / "some.npz", **arrays)
    assert said in refusal(tmp_path / "some.npz")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"]}, "columns 'id' and 'vector', found ['id']"),
        ({"id": [1], "vector": [[1.0]]}, "'id' as texts, found int64"),
        ({"id": ["a"], "vector": [1.0]}, "'vector' as lists of floats, found double"),
        ({"id": ["a"], "vector": [[1]]}, "'vector' as lists of floats, found list"),
        ({"id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "row 2: expected a vector of 1 numb"),
        ({"id": ["a", "b"], "vector": [[1.0], None]}, "row 2: expected a vector of 1 numbers"),
        ({"id": ["a"], "vector": [[]]}, "found list<element: null>"),
        ({"id": ["a", "b"], "vector": [[1.0], [None]]}, "row 2: expected finite vectors"),
        ({"id": ["a", None], "vector": [[1.0], [1.0]]}, "row 2: expected an id, found none"),
    ],
)
def test_other_columns_are_refused(columns, said, tmp_path):
    parquet.write_table(pa.table(columns), tmp_path / "some.parquet")
    assert said in refusal(tmp_path / "some.parquet")


def test_what_is_no_such_file_is_refused(tmp_path):
    assert "found none" in refusal(tmp_path / "some.npz")
    (tmp_path / "some.npy").touch()
    assert "expected a file of vectors (.npz, .parquet, .faiss), found another" in refusal(
        tmp_path / "some.npy"
    )
    (tmp_path / "folder.npz").mkdir()
    assert "found no file" in refusal(tmp_path / "folder.npz")
    os.mkfifo(tmp_path / "pipe.faiss")
    assert "found no file" in refusal(tmp_path / "pipe.faiss")
    single = io.BytesIO()
    np.save(single, np.ones((2, 2)))
    (tmp_path / "some.npz").write_bytes(single.getvalue())
    assert "as numpy.savez writes them" in refusal(tmp_path / "some.npz")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_one_line_or_what_they_say(kind, tmp_path):
    """Cut short, and with bytes changed: refused, or read as vectors with as many ids."""
    vectors = np.random.default_rng(8).normal(size=(50, 4)).astype(np.float32)
    path = write(tmp_path / f"some.{kind}", [f"sku-{at}" for at in range(50)], vectors)
    content = path.read_bytes()
    rng = np.random.default_rng(9)
    tries = 6 if kind == "faiss" else 60  # each in a process of its own
    for at in range(tries):
        if at % 2:
            changed = bytearray(content)
            for place in rng.integers(0, len(content) if at % 4 == 1 else 60, 3):
                changed[place] = rng.integers(256)
        else:
            changed = content[: rng.integers(len(content))]
        path.write_bytes(changed)
        try:
            found, ids = read_vectors(path)
        except CatalogueError as error:
            assert "\n" not in str(error)
        else:
            assert found.shape[0] == len(ids) == 50


def test_more_than_there_is_is_refused_before_room_is_made(tmp_path):
    import zipfile

    header = io.BytesIO()
    claimed = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 4)}
    np.lib.format.write_array_header_1_0(header, claimed)
    ids = io.BytesIO()
    np.save(ids, np.array(["a"]))
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ids.npy", ids.getvalue())
        file.writestr("vectors.npy", header.getvalue())
    assert "bytes, found 0" in refusal(path)


def test_a_pickle_is_not_run(tmp_path):
    class Run:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    np.savez(tmp_path / "some.npz", ids=np.array([Run()], object), vectors=np.ones((1, 2)))
    refusal(tmp_path / "some.npz")
    assert not (tmp_path / "ran").exists()


def test_a_failed_export_leaves_what_was_there(built, tmp_path, little_room):
    path = tmp_path / "items.npz"
    path.write_bytes(b"old")
    with Store.open(built[0]) as store:
        with little_room(3000), pytest.raises(IndexFileError, match=r"items\.npz: cannot be writ"):
            export_vectors(store, path)
        with pytest.raises(IndexFileError, match=r"ends in \.npz"):
            export_vectors(store, tmp_path / "items.csv")
        with pytest.raises(IndexFileError, match="found a folder"):
            (tmp_path / "folder.npz").mkdir()
            export_vectors(store, tmp_path / "folder.npz")
        with pytest.raises(IndexFileError, match="make the folder first"):
            export_vectors(store, tmp_path / "none" / "items.npz")
    assert path.read_bytes() == b"old"
    assert {file.name for file in tmp_path.iterdir()} == {"items.npz", "folder.npz"}


def test_an_index_without_items_is_not_exported(tmp_path):
    build_from_vectors(np.ones((1, 2)), ["a"], tmp_path / "items.index")
    remove_items(tmp_path / "items.index", ["a"])
    with Store.open(tmp_path / "items.index") as store, pytest.raises(IndexFileError, match="none"):
        export_vectors(store, tmp_path / "items.npz")


def test_without_arrow_the_extra_is_named(built, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError('no pyarrow')")
    (tmp_path / "some.parquet").touch()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from embedder import MissingExtraError\n"
        "from index import export_vectors, read_vectors\n"
        "from index.store import Store\n"
        "for call in (lambda: export_vectors(Store.open(sys.argv[2]), 'a.parquet'),\n"
        "             lambda: read_vectors(sys.argv[1] + '/some.parquet')):\n"
        "    try:\n        call()\n"
        "    except MissingExtraError as error:\n        print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path, built[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.count("'embed-match[parquet]'") == 2


def test_the_command_builds_from_a_file(embed, tmp_path):
    vectors = np.random.default_rng(10).normal(size=(60, 5))
    write(tmp_path / "some.npz", [f"sku-{at % 6}" for at in range(60)], vectors)
    done = embed("build-index", "--vectors", "some.npz", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "items.index: 6 items, 60 vectors\n"
    assert '"items": 6' in done.stdout
    found = embed("verify")
    assert "whole, 6 items" in found.stdout
    write(tmp_path / "some.npz", ["a", "b\x1b[31m"], vectors[:2])
    before = (tmp_path / "items.index").read_bytes()
    done = embed("build-index", "--vectors", "some.npz")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "row 2" in done.stderr and "\x1b" not in done.stderr
    assert (tmp_path / "items.index").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected CATALOGUE or --vectors FILE, found neither"),
        (("catalogue", "--vectors", "a.npz"), "expected --vectors or CATALOGUE, found both"),
        (("--vectors", "a.npz", "--skip-empty"), "expected --vectors or --skip-empty, found both"),
        (("--vectors", "a.npz", "--repair"), "expected --vectors or --repair, found both"),
        (("--vectors", "a.npz", "--model", "m"), "expected --vectors or --model, found both"),
        (("--vectors", "a.npz"), "a.npz: expected a file of vectors"),
    ],
)
def test_what_does_not_go_with_vectors_is_refused(arguments, said, embed):
    done = embed("build-index", *arguments)
    assert done.returncode
    assert said in done.stderr


def test_a_parquet_file_without_a_row_is_refused(tmp_path):
    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), 3))])
    parquet.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    with pytest.raises(CatalogueError, match="expected vectors, found no row"):
        read_vectors(tmp_path / "empty.parquet")
