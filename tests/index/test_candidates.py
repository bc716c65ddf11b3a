import io
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedder import CandidateError
from index.candidates import check_candidates, read_candidates, unknown_ids_error
from index.rows import Item
from index.schema import IndexInfo
from index.store import Store

plain_ids = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], blacklist_characters=",#"),
    min_size=1,
)


def write(tmp_path, content):
    path = tmp_path / "ids.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_ids_quantities_comments_and_line_ends(tmp_path):
    path = write(tmp_path, "\ufeff# today's box\r\nsku-1\r\n\r\n  sku 2 \n  # no\nsku-3, 2\nlast")
    assert read_candidates(path) == {"sku-1": 1, "sku 2": 1, "sku-3": 2, "last": 1}


def test_reads_an_open_file():
    assert read_candidates(io.BytesIO("\ufeffa\nb\n".encode())) == {"a": 1, "b": 1}


@given(st.dictionaries(plain_ids, st.integers(1, 99), min_size=1))
def test_round_trip(wanted):
    text = "".join(f"{item},{count}\n" for item, count in wanted.items())
    composed = {unicodedata.normalize("NFC", item): count for item, count in wanted.items()}
    assume(len(composed) == len(wanted))
    assert read_candidates(io.BytesIO(text.encode())) == composed


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "expected one item id a line, found none"),
        ("# only a comment\n", "expected one item id a line, found none"),
        ("a\nb\na\n", ":3: 'a' was listed in line 1 already"),
        ("a,0\n", ":1: expected 'id' or 'id,quantity', found 'a,0'"),
        ("a,b\n", ":1: expected 'id' or 'id,quantity', found 'a,b'"),
        (",2\n", ":1: expected 'id' or 'id,quantity', found ',2'"),
        ("a,1234567890\n", ":1: expected 'id' or 'id,quantity'"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8 text"),
    ],
)
def test_bad_lists_say_where_and_why(tmp_path, content, says):
    path = write(tmp_path, content)
    with pytest.raises(CandidateError) as error:
        read_candidates(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_list(tmp_path):
    with pytest.raises(CandidateError, match="no such file"):
        read_candidates(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ([], "at least one candidate"),
        ({}, "at least one candidate"),
        (["a", "a"], "'a' is given twice"),
        ({"a": 0}, "quantity of 1 or more"),
        ({"a": 1.5}, "quantity of 1 or more"),
        ("sku-1", "expected a list"),
    ],
)
def test_bad_candidates_from_python(candidates, says):
    with pytest.raises(CandidateError, match=says):
        check_candidates(candidates)


@pytest.fixture
def store(tmp_path):
    info = IndexInfo("f" * 64, 4, 0.1, "catalogue")
    with Store.create(tmp_path / "items.index", info) as store:
        for number in range(300):
            centroid = np.array([1, 0, 0, 0], dtype=np.float32)
            store.put(Item(f"sku-{number:05}", centroid, 1, 0.0, "a.jpg", b""))
        store.commit()
        yield store


def test_unknown_ids_are_named_with_the_nearest_ones(store):
    message = str(unknown_ids_error(["sku-00l42", "zebra"], store))
    assert "'sku-00l42' (nearest: " in message
    assert "sku-00142" in message
    assert "'zebra'" in message
    assert "\n" not in message


def test_many_unknown_ids_are_counted(store):
    message = str(unknown_ids_error([f"x{number}" for number in range(50)], store))
    assert "'x9'" in message
    assert "'x10'" not in message
    assert "and 40 more" in message


def test_large_index_is_asked_for_its_neighbours_only(store, monkeypatch):
    monkeypatch.setattr("index.candidates._FEW_ENOUGH_TO_COMPARE", 10)
    monkeypatch.setattr(Store, "ids", None)
    assert "nearest: sku-00142" in str(unknown_ids_error(["sku-00142x"], store))


def test_quantities_may_be_numpy_numbers_and_ids_of_either_unicode_form():
    assert check_candidates({"Su\u0308\u00df": np.int64(2)}) == {"S\u00fc\u00df": 2}
