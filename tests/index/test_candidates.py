import io
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedder import CandidateError, CatalogueError
from embedder.catalogue import is_listable, same_form
from index import candidate_line
from index.candidates import check_candidates, read_candidates, unknown_ids_error
from index.rows import Item
from index.schema import IndexInfo
from index.store import Store
from index.store_writing import WritableStore

plain_ids = st.text(
    st.characters(
        blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], blacklist_characters=",#\ufeff"
    ),
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
        ("a\tb\n", ":1: expected 'id' or 'id,quantity', found 'a\tb'"),
        ("\t2\n\ta\tb\t2\n", ":2: expected 'id' or 'id,quantity', found 'a\tb\t2'"),
        ("#\n4006381333931\n4006381333931,0", ":3: expected 'id' or 'id,quantity'"),
        ("a\x0bb\n", ":1: expected the id of an item, found 'a\x0bb'"),
        ("ok\r\na\u2028b\r\n", ":2: expected the id of an item"),
        ("ok\r\rb\0\r", ":3: expected the id of an item"),
        ("x" * 5000 + ",0", ":1: expected 'id' or 'id,quantity', found 'xx"),
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
    with WritableStore.create(tmp_path / "items.index", info) as store:
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


def read(text, has=None):
    return read_candidates(io.BytesIO(text.encode()), has)


@pytest.mark.parametrize(
    ("line", "items", "means"),
    [
        ("screw 3,5", {"screw 3,5"}, {"screw 3,5": 1}),
        ("screw 3,5", {"screw 3"}, {"screw 3": 5}),
        ("screw 3,5", set(), {"screw 3": 5}),
        ("screw 3,5,2", {"screw 3", "screw 3,5"}, {"screw 3,5": 2}),
        ("screw 3,5\t2", {"screw 3,5", "screw 3,5,2"}, {"screw 3,5": 2}),
        ("screw 3\t5", {"screw 3", "screw 3,5"}, {"screw 3": 5}),
        ("screw 3, 5", {"screw 3", "screw 3,5"}, {"screw 3": 5}),
        ("tea,black", {"tea"}, {"tea,black": 1}),
        ("tea,4006381333931", {"tea,4006381333931"}, {"tea,4006381333931": 1}),
        ("tea,0", {"tea,0", "tea"}, {"tea,0": 1}),
        (",2", {",2"}, {",2": 1}),
        ("Su\u0308\u00df,2", {"S\u00fc\u00df,2"}, {"S\u00fc\u00df,2": 1}),
    ],
)
def test_a_line_that_is_an_items_id_as_a_whole_means_that_item(line, items, means):
    assert read(line, items.__contains__) == means


def test_a_line_that_may_mean_two_things_is_refused_and_says_how_to_write_either():
    with pytest.raises(CandidateError) as error:
        read("ok\nbolt,5\n", {"bolt", "bolt,5", "ok"}.__contains__)
    assert ":2: 'bolt,5' may be 5 of 'bolt' or one 'bolt,5': put a tab between id and quantity" in (
        str(error.value)
    )


def test_lists_that_were_joined_may_have_a_byte_order_mark_in_the_middle():
    assert read("\ufeffa\n\ufeff# b\n\ufeff b,2\n") == {"a": 1, "b": 2}


def test_only_ends_of_lines_end_lines():
    assert read("a\u00a0b\rc\r\nd\u200be\nf") == {"a\u00a0b": 1, "c": 1, "d\u200be": 1, "f": 1}


listable = st.text(min_size=1).map(same_form).filter(is_listable)


@given(
    st.dictionaries(
        listable | st.from_regex(r"[a,#]{1,3}(,[0-9]{1,3}){0,3}").map(same_form), st.integers(1, 99)
    ),
    st.sets(listable),
)
def test_lines_that_were_written_read_back_whatever_items_there_are(wanted, others):
    wanted = {item: count for item, count in wanted.items() if is_listable(item)}
    assume(wanted)
    text = "".join(f"{candidate_line(item, count)}\n" for item, count in wanted.items())
    items = others | wanted.keys() | set(text.splitlines())
    assert read(text) == read(text, items.__contains__) == wanted


@pytest.mark.parametrize(("item", "count"), [("#a", 1), (" a", 1), ("\ufeffa", 1), ("a\nb", 1)])
def test_a_line_of_what_is_no_id_is_not_written(item, count):
    with pytest.raises(CatalogueError, match="expected an item id that a list can hold"):
        candidate_line(item, count)


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_a_line_of_no_or_too_many_pieces_is_not_written(count):
    with pytest.raises(CandidateError, match="expected a quantity of 1 to 999,999,999"):
        candidate_line("a", count)


@pytest.mark.parametrize("unknown", ["x" * 4096, "a\0b", "a\udc80", "\ud83d", "sku-00001\n", ""])
def test_what_can_be_no_id_is_not_found(store, monkeypatch, unknown):
    assert store.centroids([unknown])[1] == [unknown]
    for few in (0, 20_000):
        monkeypatch.setattr("index.candidates._FEW_ENOUGH_TO_COMPARE", few)
        named = f"no such item: '{unknown}'" if len(unknown) < 200 else "xxx... (4,096 characters)'"
        said = str(unknown_ids_error([unknown], store))
        assert said.endswith(f"{named}: correct it, or add it to the index")


def test_ids_of_great_length_are_not_compared(store):
    for number in range(2_000):
        centroid = np.array([1, 0, 0, 0], dtype=np.float32)
        store.put(Item(f"{'xy' * 2048}{number}", centroid, 1, 0.0, "a.jpg", b""))
    # Comparing them would take hours.
    message = str(unknown_ids_error(["yx" * 2048, "sku-0001", *["y" * 200] * 5], store))
    assert "(4,096 characters)', 'sku-0001' (nearest: sku-" in message
