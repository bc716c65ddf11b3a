import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.labelled_vectors import LabelledVectors

DIM = 3
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
ids = st.lists(st.text(), max_size=6)
TWO = LabelledVectors(np.arange(6, dtype=np.float32).reshape(2, DIM), ("a", "b")).to_bytes()


def vectors(rows):
    return arrays(np.float32, (rows, DIM), elements=finite)


@given(ids.flatmap(lambda some: st.tuples(st.just(some), vectors(len(some)))))
def test_what_was_written_is_read(given_them):
    items, vectors = given_them
    found = LabelledVectors.from_bytes(LabelledVectors(vectors, tuple(items)).to_bytes(), DIM)
    assert found.items == tuple(items)
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, vectors)


@pytest.mark.parametrize("item", ["", "a\nb", "\n", "Größe 5", "\u2028", '"', "\\n", "\0", "🧦"])
def test_ids_of_any_characters_are_kept(item):
    whole = LabelledVectors(np.ones((1, DIM), np.float32), (item,)).to_bytes()
    assert LabelledVectors.from_bytes(whole, DIM).items == (item,)
    assert whole.count(b"\n", 0, whole.index(b"]")) == 0


def test_numbers_are_little_endian_whatever_they_were():
    big = LabelledVectors(np.arange(3, dtype=">f4").reshape(1, DIM), ("a",))
    assert big.to_bytes() == b'["a"]\n' + np.arange(3, dtype="<f4").tobytes()


def test_no_vectors():
    empty = LabelledVectors(np.zeros((0, DIM), np.float32), ())
    found = LabelledVectors.from_bytes(empty.to_bytes(), DIM)
    assert found.items == ()
    assert found.vectors.shape == (0, DIM)


def test_what_is_read_can_be_changed():
    found = LabelledVectors.from_bytes(TWO, DIM)
    found.vectors[0] = 7
    assert found.vectors[0].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"not JSON\n",
        b"\xff\xfe\n" + TWO[-24:],
        b'{"a": 1}\n' + TWO[-24:],
        b'["a", 2]\n' + TWO[-24:],
        b"null\n",
        b"[" * 100_000 + b"\n",
        b'["a", "\\ud800"]\n' + TWO[-24:],
        TWO[:-4] + b"\xff\xff\xff\x7f",
        TWO[:-4] + b"\x00\x00\x80\x7f",
        b'"ab"\n' + TWO[-24:],
        TWO[:-1],
        TWO + b"\0",
        TWO[1:],
        b'["a"]\n' + TWO[-24:],
        TWO.replace(b"\n", b"", 1),
    ],
)
def test_damage_is_an_error(content):
    with pytest.raises(ValueError, match=r"."):
        LabelledVectors.from_bytes(content, DIM)


def test_vectors_of_another_length_are_an_error():
    with pytest.raises(ValueError, match="expected 2 vectors of 4 numbers, found 24 bytes"):
        LabelledVectors.from_bytes(TWO, DIM + 1)


@given(st.integers(0, len(TWO) - 1))
def test_a_file_cut_off_anywhere_is_an_error(length):
    with pytest.raises(ValueError, match=r"."):
        LabelledVectors.from_bytes(TWO[:length], DIM)


def test_the_first_line_is_json():
    assert json.loads(TWO.partition(b"\n")[0]) == ["a", "b"]
