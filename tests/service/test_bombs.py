"""Photos that are made to cost much, and all odd ones: refused with a reason, beside good ones."""

import itertools
from pathlib import Path

import httpx
import numpy as np
import pytest
from bombs import bombs, heif_bombs, large_png, scans_jpeg
from photo_corpus import write_corpus

BOMBS = dict(itertools.chain(bombs(), heif_bombs()))


@pytest.fixture(scope="module")
def good(sample):
    """Two photos, and what is said of them."""
    return [path.read_bytes() for path in sorted((sample / "photos").iterdir())[:2]]


def matched(server, sample, photos):
    files = [("photos", ("", content)) for content in photos]
    fields = {"candidates": (sample / "ids.txt").read_text()}
    answer = httpx.post(f"{server.url}/v1/match", files=files, data=fields, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["matches"]


def said(match):
    return {name: value for name, value in match.items() if name != "photo"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_changes_nothing_for_others(server, sample, good, name):
    first, second = matched(server, sample, good)
    one, bomb, other = matched(server, sample, [good[0], BOMBS[name], good[1]])
    assert (said(one), said(other)) == (said(first), said(second))
    assert bomb["status"] == "unreadable" and bomb["item_id"] is None
    assert (
        bomb["reason"] and "\n" not in bomb["reason"] and str(server.folder) not in bomb["reason"]
    )
    assert server.is_at_rest()


def test_photos_within_the_limits_are_matched_however_small_they_come(server, sample):
    matches = matched(server, sample, [large_png(49), scans_jpeg(2_000, 2_000, 20)])
    assert all(match["status"] != "unreadable" for match in matches), matches
    (match,) = matched(server, sample, [large_png(51)])
    assert match["reason"] == "expected at most 50,000,000 pixels, found 7000 x 7285"


def test_what_is_in_memory_grows_with_no_bomb(server, sample):
    """Together they would be terabytes."""
    matched(server, sample, BOMBS.values())
    before = resident(server)
    for _ in range(3):
        matched(server, sample, BOMBS.values())
    assert resident(server) - before < 50_000_000


def resident(server):
    processes = [server.process.pid, *server.embedding()]
    pages = [Path(f"/proc/{one}/statm").read_text().split()[1] for one in processes]
    return sum(map(int, pages)) * 4096


def test_odd_photos_are_read_or_refused_as_by_the_library(server, sample, tmp_path):
    cases = [case for case in write_corpus(tmp_path) if (tmp_path / case.name).is_file()]
    for start in range(0, len(cases), 50):
        some = cases[start : start + 50]
        contents = [(tmp_path / case.name).read_bytes() for case in some]
        for case, match in zip(some, matched(server, sample, contents), strict=True):
            assert (match["status"] == "unreadable") == (case.pixels is None), case.name
            if case.pixels is None and "bomb" not in case.name:
                assert case.reason in match["reason"].lower(), case.name
    assert server.is_at_rest()


def test_a_random_walk_through_the_bytes_of_photos_never_fails(server, sample, good):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        photos = []
        for content in good * 10:
            data = bytearray(content)
            for at in rng.integers(0, len(data), rng.integers(1, 20)):
                data[at] = rng.integers(256)
            photos.append(bytes(data[: rng.integers(1, len(data) * 2)]))
        assert len(matched(server, sample, photos)) == 20
    assert server.is_at_rest()
