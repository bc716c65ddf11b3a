"""What tells which items of a catalogue have changed."""

import hashlib
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from index.signatures import settled_states, signature, signature_of_files

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
    numbers = [number for state in states for number in state]
    content = "\0".join(names).encode(errors="surrogatepass") + struct.pack(
        f"={len(numbers)}q", *numbers
    )
    return hashlib.blake2b(content, digest_size=16).digest()


def test_it_is_of_names_sizes_and_times(photos):
    states = [(number, LONG_AGO + number) for number in range(len(photos))]
    assert settled_states(photos) == states
    assert signature_of_files(NAMES, photos) == signature(NAMES, states) == naive(NAMES, states)
    assert signature_of_files([], []) == signature([], []) == naive([], [])


def test_a_file_that_is_gone_has_a_state_of_its_own(photos):
    Path(photos[2]).unlink()
    states = [(0, LONG_AGO), (1, LONG_AGO + 1), (-1, -1), (3, LONG_AGO + 3)]
    assert signature_of_files(NAMES, photos) == signature(NAMES, states)


@pytest.mark.parametrize("at", range(len(NAMES)))
def test_any_change_of_a_file_changes_it(photos, at):
    before = signature_of_files(NAMES, photos)
    assert signature_of_files(NAMES, photos) == before
    os.utime(photos[at], ns=(0, LONG_AGO + at + 1))
    later = signature_of_files(NAMES, photos)
    with Path(photos[at]).open("ab") as file:
        file.write(b"x")
    os.utime(photos[at], ns=(0, LONG_AGO + at + 1))
    larger = signature_of_files(NAMES, photos)
    renamed = signature_of_files([*NAMES[:at], f"{NAMES[at]}x", *NAMES[at + 1 :]], photos)
    assert len({before, later, larger, renamed}) == 4


@pytest.mark.parametrize("ago", [0, 1.5, -1000])
@pytest.mark.parametrize("at", range(len(NAMES)))
def test_a_file_that_changed_just_now_never_gives_the_same_again(photos, monkeypatch, at, ago):
    now = LONG_AGO + 10**12
    moment = now - int(ago * 1e9)
    os.utime(photos[at], ns=(moment, moment))
    clock = iter([now, now, now + 1, now + 1])  # the whole item is looked at twice each time
    monkeypatch.setattr("index.signatures.time", SimpleNamespace(time_ns=lambda: next(clock)))
    assert signature_of_files(NAMES, photos) != signature_of_files(NAMES, photos)
