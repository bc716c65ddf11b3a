"""Photos of the corpus, damaged at random: read or refused in one line, whatever is in them."""

import numpy as np
import pytest
from photo_corpus import SIDE, write_corpus

from embedder import PhotoError, photo_formats
from embedder.photos import prepare

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of much that is damaged


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    paths = [folder / case.name for case in write_corpus(folder) if "bomb" not in case.name]
    return [path.read_bytes() for path in paths if path.is_file()]


def damaged(content, rng):
    """With a few bytes changed, most of them near the beginning, or taken out, doubled, cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        if not data:
            break
        at = int(len(data) * rng.random() ** 2)
        length = int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0:
            del data[at : at + length]
        elif kind == 1:
            data[at:at] = data[at : at + length]
        elif kind == 2 and rng.random() < 0.3:
            del data[at:]
        else:
            data[at : at + length] = rng.bytes(length)
    return bytes(data)


def test_whatever_is_damaged_a_photo_is_read_or_refused_in_one_line(contents, rounds, monkeypatch):
    monkeypatch.setattr(photo_formats, "MAX_DECODED_PIXELS", 4_000_000)  # or it would take hours
    read = refused = 0
    for number in range(rounds(10_000, 1_000_000)):
        rng = np.random.default_rng(number)
        content = damaged(contents[number % len(contents)], rng)
        try:
            pixels = prepare(content, SIDE)
        except PhotoError as error:
            assert error.reason, number
            assert error.reason == " ".join(error.reason.split()), number
            refused += 1
        else:
            assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, 3), np.uint8), number
            read += 1
    assert min(read, refused) > (read + refused) / 20
