"""What reaches a terminal: names and ids as they are written, never what they would make it do."""

import json
import shutil
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screen import run_in_terminal

from cli.output import shown, shown_json, table, table_within
from embedder import read_catalogue
from index import build_index

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f\u202egpj\u2066\u2028\r\n[red]red[blink]"
HARMLESS = (
    "\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\x08\\x7f\\u202egpj\\u2066\\u2028\\r\\n[red]red[blink]"
)
TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_obeyed(char):
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or (
        unicodedata.bidirectional(char) in TURNS
    )


def test_of_all_characters_those_that_are_obeyed_are_spelled_out_and_no_others():
    marks = set("\u061c\u200e\u200f")  # unseen, and move what stands beside them
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        if is_obeyed(char) or char in marks:
            assert shown(char).isascii()
            assert shown(char).isprintable()
            assert shown(char).encode().decode("unicode_escape") == char
        else:
            assert shown(char) == char


@given(st.text(st.characters(categories=None) | st.sampled_from(EVIL)))
def test_json_says_the_same_and_has_nothing_that_is_obeyed(text):
    for ascii_only, indent in ((False, None), (False, 2), (True, 2)):
        document = {"photo": text, text: [text]}
        plain = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
        assert json.loads(shown_json(plain)) == document
        assert not any(map(is_obeyed, shown_json(plain).replace("\n", "")))
        assert shown_json(plain).count("\n") == plain.count("\n")


def test_a_table_has_a_line_a_row_whatever_is_in_its_cells():
    lines = table([["photo", "item"], [EVIL, "a\nb"], ["c", EVIL]], frozenset({1})).split("\n")
    assert [line.split() for line in lines[1:]] == [[HARMLESS, "a\\nb"], ["c", HARMLESS]]
    assert {len(line) for line in lines} == {len(HARMLESS) * 2 + 2}


WIDE = [
    ["photo", "item", "score", "margin", "why"],
    ["photos/1.jpg", "sku-000001", "0.123", "-0.456", "sku-000002 is likelier by itself"],
    ["photos/2.jpg", "sku-000002", "0.987", "+0.654", ""],
]
NUMBERS = frozenset({2, 3})


@pytest.mark.parametrize(
    ("width", "left_out", "why_below"),
    [
        (73, [], False),
        (72, [], True),
        (39, [], True),
        (38, [3], True),
        (31, [3], True),
        (30, [3, 2], True),
        (5, [3, 2], True),
    ],
)
def test_a_narrow_terminal_has_remarks_below_and_then_fewer_columns(width, left_out, why_below):
    lines = table_within(width, WIDE, NUMBERS, spare=(3, 2)).split("\n")
    kept = [at for at in range(4) if at not in left_out]
    cells = [[row[at] for at in kept] for row in WIDE]
    if why_below:
        assert lines.pop(2) == "  sku-000002 is likelier by itself"
        assert [line.split() for line in lines] == cells
        assert width < 20 or max(map(len, lines)) <= width
    else:
        assert "\n".join(lines) == table(WIDE, NUMBERS)


@pytest.fixture(scope="module")
def built(tmp_path_factory, random_model, random_embedder, sample):
    """A catalogue with a photo that cannot be read, by a name that would clear a terminal."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(random_model, folder / "items.model")
    for item in sorted((sample / "catalogue").iterdir())[:3]:
        shutil.copytree(item, folder / "catalogue" / item.name)
    (folder / "catalogue" / item.name / f"{EVIL}.jpg").write_bytes(b"<html>")
    (folder / f"{EVIL}.jpg").write_bytes(b"<html>")
    build_index(read_catalogue(folder / "catalogue"), random_embedder, folder / "items.index")
    return folder


@pytest.fixture
def place(built, tmp_path):
    return shutil.copytree(built, tmp_path, dirs_exist_ok=True)


def test_on_a_terminal_names_are_shown_not_obeyed(embed_path, place):
    def run(*arguments, text=b""):
        return run_in_terminal([embed_path, *arguments], place, None, text)

    status, seen = run("build-index", "catalogue")
    assert status == 0
    assert f"{HARMLESS}.jpg: not an image that can be read\r\n" in seen
    assert not {"\x9b", "\x07", "\x08", "\x7f", "\u202e", "\u2066", "\u2028"} & set(seen)
    assert "\x1b[2J" not in seen  # a bar has other escapes
    item = next((place / "catalogue").iterdir())
    photos = (f"{EVIL}.jpg", item / "0001.jpg")
    for form in ("table", "json", "jsonl"):
        status, seen = run(
            "match", "--candidates", "-", "--format", form, *photos, text=item.name.encode()
        )
        assert status == 0
        assert not any(map(is_obeyed, seen.replace("\r\n", "")))
        assert f"cannot be read: {HARMLESS}.jpg: not an image that can be read\r\n" in seen
        assert "[red]red[" in seen


@pytest.mark.parametrize(
    "arguments",
    [
        (EVIL,),
        (f"--{EVIL}",),
        ("match", f"--{EVIL}"),
        ("match", "--views", EVIL, "--candidates", "x", "y"),
        ("match", "--format", EVIL, "--candidates", "x", "y"),
        ("match", "--candidates", EVIL, "a.jpg"),
        ("match", "--candidates", "-", "--index", EVIL, "a.jpg"),
        ("match", "--candidates", "-", "--model", EVIL, f"{EVIL}.jpg"),
        ("match", "--candidates", "-", f"{EVIL}.csv"),
        ("match", "--candidates", "-", "a.jpg"),
        ("remove", "sku-1", EVIL),
        ("remove", EVIL.replace("\n", "").replace("\r", "")),
        ("remove", "\u202egpj"),
        ("add", EVIL, f"{EVIL}.jpg"),
        ("add", "new", f"{EVIL}.jpg"),
        ("calibrate", EVIL),
        ("verify", "--index", EVIL),
        ("verify", "--model", EVIL),
        ("match", "--candidates", "-", "--report", f"{EVIL}/x", "a.jpg"),
        ("build-index", EVIL),
        ("sample", "items.model", EVIL),
        ("train", "catalogue", "--vary", EVIL),
        ("train", "catalogue", "--backbone", EVIL),
    ],
    ids=ascii,
)
def test_errors_are_lines_that_can_be_shown(embed, place, arguments):
    text = EVIL.replace("\n", "").replace("\r", "")
    done = embed(*arguments, input=text, timeout=60)
    assert done.returncode in (1, 2)
    # click itself takes some escapes out where there is no terminal; not those of EVIL.
    assert not any(map(is_obeyed, done.stderr.replace("\n", "")))
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("Error: ")
    assert len(lines) == (1 if done.returncode == 1 else 4)
