"""Indexes of the corpus of photos, and matching it: nothing lost, nothing changed by bad photos."""

import csv
import ctypes
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from photo_corpus import NAMES, write_corpus

from embedder import CatalogueError, PhotoError, read_catalogue
from embedder.photos import photo_name
from index import build_index
from index.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two catalogues, with and without the bad photos, and each good one as an item of its own."""
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def corpus(place):
    for name in ("all", "good"):
        (place / name / "mixed").mkdir(parents=True)
    cases = write_corpus(place / "all" / "mixed")
    for number, case in enumerate(case for case in cases if case.pixels is not None):
        shutil.copy2(place / "all" / "mixed" / case.name, place / "good" / "mixed" / case.name)
        for name in ("all", "good"):
            (place / name / f"alone-{number:03}").mkdir()
            photo = place / name / f"alone-{number:03}" / case.name
            shutil.copy2(place / "all" / "mixed" / case.name, photo)
    return cases


@pytest.fixture(scope="module")
def bad(corpus):
    return [case for case in corpus if case.pixels is None]


def rows_of(index):
    with Store.open(index) as store:
        return store.statistics(store.ids())


def lines_of(text):
    """Lines of a text in which no other character is one that a terminal obeys."""
    lines = text.split("\n")
    obeyed = {"Cc", "Cs", "Zl", "Zp", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for line in lines:
        assert not obeyed & {
            *map(unicodedata.category, line),
            *map(unicodedata.bidirectional, line),
        }
    return lines


def test_an_index_of_good_photos_is_the_same_with_bad_ones_beside_them(
    place, corpus, bad, random_embedder, tmp_path
):
    everything, good = read_catalogue(place / "all"), read_catalogue(place / "good")
    report = build_index(everything, random_embedder, tmp_path / "all.index", jobs=3)
    other = build_index(good, random_embedder, tmp_path / "good.index", jobs=1)
    assert rows_of(tmp_path / "all.index") == rows_of(tmp_path / "good.index")
    assert other.unreadable == ()
    # Every file is either in the index or in the report, with the reason it should have.
    assert everything.photo_count == len(corpus) * 2 - len(bad)
    assert report.photos == other.photos == everything.photo_count - len(bad)
    found = {error.photo: error.reason for error in report.unreadable}
    assert len(found) == len(report.unreadable) == len(bad)
    for case in bad:
        assert case.reason in found[photo_name(place / "all" / "mixed" / case.name)].lower()
    again = build_index(everything, random_embedder, tmp_path / "all.index")
    assert (again.embedded, again.photos) == (0, report.photos)
    assert {error.photo: error.reason for error in again.unreadable} == found


@pytest.fixture
def commands(embed, random_model, tmp_path):
    shutil.copytree(random_model, tmp_path / "items.model")
    return embed


def test_the_commands_account_for_every_photo_in_lines_that_can_be_shown(
    place, corpus, bad, commands, tmp_path
):
    built = commands("build-index", place / "all")
    assert built.returncode == 0, built.stderr
    lines = lines_of(built.stderr)
    assert lines[0] == f"{len(bad)} photo(s) could not be read and are left out:"
    assert f"  and {len(bad) - 20} more" in lines
    good = len(corpus) - len(bad)
    assert f"{good + 1} items, {2 * good} photos ({2 * good} embedded now)" in lines[-2]
    assert len(lines) == 24
    ids = "\n".join(path.name for path in (place / "all").iterdir())
    matched = {}
    for name in ("all", "good"):
        photos = place / name / "mixed"
        done = commands("match", "--candidates", "-", "--format", "json", photos, input=ids)
        assert done.returncode == 0, done.stderr
        lines_of(done.stderr)
        rows = json.loads(done.stdout)["matches"]
        matched[name] = {row.pop("photo"): row for row in rows}
        assert len(matched[name]) == len(rows)
        table = commands("match", "--candidates", "-", photos, input=ids)
        assert len(lines_of(table.stdout)) == len(rows) + 2
    assert len(matched["all"]) == len(corpus)
    for case in corpus:
        row = matched["all"][photo_name(place / "all" / "mixed" / case.name)]
        if case.pixels is None:
            assert row["status"] == "unreadable"
            assert case.reason in row["reason"].lower()
        else:
            assert row == matched["good"][photo_name(place / "good" / "mixed" / case.name)]
            assert row["views"] == 1


def test_each_photo_is_found_by_its_name_in_a_list(place, corpus, commands, embed_path, tmp_path):
    """CSV in, CSV and JSON out: exactly the names that were given."""
    assert commands("build-index", place / "good").returncode == 0
    folder, ids = place / "good" / "mixed", "mixed\nalone-000"
    # A list in UTF-8 cannot hold a name that is none, and spaces around a name are taken away.
    names = [name for name in NAMES if name == name.strip() and "\udce4" not in name]
    assert len(names) == len(NAMES) - 2
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["photo"], *([name] for name in names)])
    expected = [str(folder / name) for name in names]
    for form in ("csv", "json", "jsonl"):
        command = [embed_path, "match", "--candidates", "-", "--format", form, folder / "list.csv"]
        # As bytes: the text of a process would come with '\\r' turned into '\\n'.
        done = subprocess.run(command, cwd=tmp_path, input=ids.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr
        output = done.stdout.decode()
        if form == "csv":
            rows = list(csv.DictReader(io.StringIO(output, newline="")))
        elif form == "json":
            rows = json.loads(output)["matches"]
        else:
            rows = [json.loads(line) for line in output.splitlines()]
        assert [row["photo"] for row in rows] == expected
        if form != "csv":
            lines_of(output)
    (folder / "list.csv").unlink()


def drop_the_right_to_read_everything():
    """In a child, before it becomes a command: permissions bind root as they bind others."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                os._exit(99)


@pytest.fixture
def bound(commands, tmp_path):
    """Run `embed` as somebody whom permissions bind."""
    if not sys.platform.startswith("linux") and os.geteuid() == 0:
        pytest.skip("permissions do not bind root on this system")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)

    def run(*arguments, **options):
        return commands(*arguments, preexec_fn=drop_the_right_to_read_everything, **options)

    done = run("match", "--candidates", "x", "closed")
    assert (
        "closed: cannot be read: Permission denied" in done.stderr
    )  # else nothing below would mean anything
    return run


@pytest.fixture
def closing(sample, tmp_path):
    """A small catalogue, of which a part can be closed until the test ends."""
    for item in sorted((sample / "catalogue").iterdir())[:3]:
        shutil.copytree(item, tmp_path / "catalogue" / item.name)
    closed = []

    def close(path, mode=0):
        closed.append((path, path.stat().st_mode))
        path.chmod(mode)

    yield tmp_path / "catalogue", close
    for path, mode in closed:
        path.chmod(mode)


def only_line(done):
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_photo_that_may_not_be_read_is_reported_and_the_rest_indexed(bound, closing):
    catalogue, close = closing
    item = min(catalogue.iterdir())
    close(item / "0001.jpg")
    done = bound("build-index", catalogue)
    assert done.returncode == 0
    assert f"  {item}/0001.jpg: permission denied\n" in done.stderr
    assert "3 items, 35 photos (35 embedded now)" in done.stderr
    matched = bound("match", "--candidates", "-", "--format", "json", item, input=item.name)
    rows = json.loads(matched.stdout)["matches"]
    assert [row["status"] == "unreadable" for row in rows] == [True, *[False] * 11]
    assert rows[0]["reason"] == "permission denied"


def test_photos_in_a_folder_that_may_be_listed_alone_are_reported_each(bound, closing):
    catalogue, close = closing
    item = min(catalogue.iterdir())
    (item / "old").mkdir()
    for photo in sorted(item.glob("*.jpg"))[:4]:
        photo.rename(item / "old" / photo.name)
    close(item / "old", 0o444)
    done = bound("build-index", catalogue)
    assert done.returncode == 0
    assert "4 photo(s) could not be read" in done.stderr
    assert f"  {item}/old/0001.jpg: permission denied\n" in done.stderr
    for photos in (item / "old", item):
        matched = bound("match", "--candidates", "-", "--format", "json", photos, input=item.name)
        rows = json.loads(matched.stdout)["matches"]
        assert {"permission denied" in (row["reason"] or "") for row in rows} == {True} | (
            {False} if photos == item else set()
        )


@pytest.mark.parametrize("inner", [False, True])
def test_a_folder_that_may_not_be_listed_is_named_and_the_index_stays(
    bound, closing, tmp_path, inner
):
    catalogue, close = closing
    assert bound("build-index", catalogue).returncode == 0
    before = (tmp_path / "items.index").read_bytes()
    item = min(catalogue.iterdir())
    folder = item / "old" if inner else item
    folder.mkdir(exist_ok=True)
    close(folder)
    # Its photos would be lost without a word.
    expected = f"Error: {folder}: cannot be read: Permission denied"
    assert only_line(bound("build-index", catalogue)) == expected
    assert (tmp_path / "items.index").read_bytes() == before
    matched = bound("match", "--candidates", "-", item, input=item.name)
    assert only_line(matched) == expected
    assert only_line(bound("add", "new", item)) == expected


def test_an_item_that_is_a_link_to_itself_is_named(tmp_path, closing):
    catalogue, _ = closing
    (catalogue / "round").symlink_to("round")
    with pytest.raises(CatalogueError, match=r"round: cannot be read: Too many .*symbolic links"):
        read_catalogue(catalogue)


def test_a_folder_of_photos_that_holds_itself_is_matched_once(commands, closing, tmp_path):
    catalogue, _ = closing
    commands("build-index", catalogue)
    item = min(catalogue.iterdir())
    for name, target in (("again", item), ("above", catalogue), ("dot", ".")):
        (item / name).symlink_to(target)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy2(item / "0001.jpg", tmp_path / "elsewhere")
    (item / "other").symlink_to(tmp_path / "elsewhere")
    done = commands("match", "--candidates", "-", "--format", "json", item, input=item.name)
    rows = json.loads(done.stdout)["matches"]
    assert [Path(row["photo"]).name for row in rows if row["views"]][-2:] == ["0012.jpg", "other"]
    assert len(rows) == 13


def test_errors_of_photos_are_of_the_tree(corpus, place, bad, random_embedder):
    for case in bad:
        error = random_embedder.embed_one(place / "all" / "mixed" / case.name)
        assert isinstance(error, PhotoError)
        assert error.reason == " ".join(error.reason.split())
