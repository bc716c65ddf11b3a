"""`embed audit`, as a user runs it."""

import csv
import io
import json
import shutil

import pytest
from PIL import Image

from embedder import read_catalogue
from index import build_index

KINDS = ["mislabelled", "duplicate", "look-alikes", "outlier", "few-photos", "unreadable"]
HOSTILE = "\u202ea<b>&\"'"


@pytest.fixture
def flawed(tmp_path, sample, random_model, random_embedder):
    """A model, and an index of a catalogue with a copy, a bad photo and an odd name."""
    shutil.copytree(random_model, tmp_path / "items.model")
    shutil.copytree(sample / "catalogue", tmp_path / "catalogue")
    first, second, third, *_ = sorted((tmp_path / "catalogue").iterdir())
    photo = sorted(first.iterdir())[0]
    shutil.copy2(photo, first / "copy.jpg")
    Image.open(sorted(second.iterdir())[0]).resize((60, 60)).save(third / "small.jpg")
    (second / "bad.jpg").write_bytes(b"no photo")
    third.rename(third.with_name(HOSTILE))
    build_index(read_catalogue(tmp_path / "catalogue"), random_embedder, tmp_path / "items.index")
    return tmp_path


def test_csv_json_and_report_say_the_same(embed, flawed, read_report):
    done = embed("audit", "catalogue", "--format", "csv", "--report", "audit.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "audit.html: the report, to be opened in a browser"
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == [
        *("kind", "item_id", "photo", "other_item", "other_photo", "score", "advice"),
    ]
    kinds = [row["kind"] for row in rows]
    assert kinds == sorted(kinds, key=KINDS.index)
    found = json.loads(embed("audit", "catalogue", "--json").stdout)
    assert found == json.loads(embed("audit", "catalogue", "--format", "json").stdout)
    assert [row["photo"] for row in rows if row["kind"] == "duplicate"] == [
        one["photo"] for one in found["duplicates"]
    ]
    small, copy = (row for row in rows if row["kind"] == "duplicate")
    assert "under two items" in small["advice"]
    assert {small["item_id"], small["other_item"]} >= {HOSTILE}
    assert copy["advice"] == "delete it: the same file is there already"
    assert float(copy["score"]) == pytest.approx(1, abs=1e-4)
    (bad,) = (row for row in rows if row["kind"] == "unreadable")
    assert bad["photo"].endswith("bad.jpg")
    assert "replace or delete it" in bad["advice"]
    few = [row for row in rows if row["kind"] == "few-photos"]
    assert [row["item_id"] for row in few] == [one["item_id"] for one in found["few_photos"]]
    root = read_report(flawed / "audit.html", KINDS)
    cards = root.all("li", class_="card")
    assert len(cards) == sum(row["kind"] in KINDS[:4] for row in rows)
    assert all(len(card.all("img")) == 2 for card in cards)
    (pairs,) = (part for part in root.all("section") if part.attributes["id"] == "duplicate")
    assert [card.one("p", class_="why").text.lower() for card in pairs.all("li")] == [
        row["advice"].lower() for row in (small, copy)
    ]
    (listed,) = (part for part in root.all("section") if part.attributes["id"] == "few-photos")
    assert [cell.text for cell in listed.all("th", scope="row")] == [row["item_id"] for row in few]


def test_the_table_shows_the_first_of_each_kind(embed, flawed):
    done = embed("audit", "catalogue")
    assert done.returncode == 0
    assert "146 photos of 12 items: " in done.stderr
    lines = done.stdout.splitlines()
    assert "Photos that are there twice: 2" in lines
    assert "Items with too few photos: 12" in lines
    assert "and 7 more: --format csv and --report have them" in lines
    assert any(line.endswith("not an image that can be read") for line in lines)
    assert "\u202e" not in done.stdout
    assert "\\u202e" in done.stdout


def test_a_catalogue_that_is_not_that_of_the_index_can_be_audited(embed, flawed):
    (flawed / "catalogue").rename(flawed / "moved")
    first = sorted((flawed / "moved").iterdir())[1]
    shutil.copytree(first, flawed / "moved" / "new")
    done = embed("audit", "moved", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["items"] == 13
    copies = [one for one in found["duplicates"] if {one["item_id"], one["of_item"]} >= {"new"}]
    assert len(copies) >= 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: expected a folder with one folder of photos an item"),
        (["catalogue", "--index", "no.index"], "no.index: expected an index file, found none"),
        (["catalogue", "--model", "no.model"], "no.model: expected a model folder"),
        (["catalogue", "--report", "catalogue"], "catalogue: expected the name of a report"),
        (["catalogue", "--json", "--format", "csv"], "expected --json or --format csv, found both"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(embed, flawed, arguments, message):
    done = embed("audit", *arguments)
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_a_model_that_is_not_that_of_the_index_is_refused(embed, flawed, other_model):
    done = embed("audit", "catalogue", "--model", other_model)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
