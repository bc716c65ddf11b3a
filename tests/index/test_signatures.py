"""What tells which items of a catalogue have changed."""

import hashlib
import os
from array import array
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedder import Catalogue
from index.signatures import settled_states, signature, signature_now

LONG_AGO = 1_600_000_000_123_456_789
NAMES = ["a/1.jpg", "a/\udcff.png", "a/ü.jpg", "a/deep/2.jpg"]


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / name for name in NAMES]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number))
        os.utime(path, ns=(0, LONG_AGO + number))
    return [str(path) for path in paths]


def naive(names, states):
    numbers = array("q", [number for state in states for number in state])
    content = "\0".join(names).encode(errors="surrogatepass") + numbers.tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


@pytest.fixture
def now(tmp_path):
    """The signature of photos as they are now."""
    return lambda photos: signature_now(Catalogue(tmp_path, {}), photos)


def test_it_is_of_names_sizes_and_times(photos, now):
    states = [(number, LONG_AGO + number) for number in range(len(photos))]
    assert settled_states(photos) == states
    assert now(photos) == signature(NAMES, states) == naive(NAMES, states)
    assert now([]) == signature([], []) == naive([], [])


def test_a_file_that_is_gone_has_a_state_of_its_own(photos, now):
    Path(photos[2]).unlink()
    states = [(0, LONG_AGO), (1, LONG_AGO + 1), (-1, -1), (3, LONG_AGO + 3)]
    assert now(photos) == signature(NAMES, states) == naive(NAMES, states)


@pytest.mark.parametrize("at", range(len(NAMES)))
def test_any_change_of_a_file_changes_it(photos, now, at):
    before = now(photos)
    assert now(photos) == before
    os.utime(photos[at], ns=(0, LONG_AGO + at + 1))
    later = now(photos)
    with Path(photos[at]).open("ab") as file:
        file.write(b"x")
    os.utime(photos[at], ns=(0, LONG_AGO + at + 1))
    larger = now(photos)
    Path(photos[at]).rename(f"{photos[at]}x")
    renamed = now([*photos[:at], f"{photos[at]}x", *photos[at + 1 :]])
    assert len({before, later, larger, renamed}) == 4


@pytest.mark.parametrize("ago", [0, 1.5, -1000])
@pytest.mark.parametrize("at", range(len(NAMES)))
def test_a_file_that_changed_just_now_never_gives_the_same_again(photos, now, monkeypatch, at, ago):
    moment = LONG_AGO + 10**12
    changed = moment - int(ago * 1e9)
    os.utime(photos[at], ns=(changed, changed))
    clock = iter([moment, moment + 1])
    monkeypatch.setattr("index.signatures.time", SimpleNamespace(time_ns=lambda: next(clock)))
    assert now(photos) != now(photos)
