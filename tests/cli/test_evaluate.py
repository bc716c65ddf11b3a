"""`embed evaluate`, as a user runs it."""

import json
import re
import shutil
from itertools import pairwise

import pytest

from cli.charts import Axis, Line, line_chart, ticks_from
from embedder import Catalogue, read_catalogue
from index import build_index


@pytest.fixture
def place(tmp_path, sample, random_model, random_embedder, catalogue):
    """A folder with a model, an index of two thirds of the photos, and the others by item."""
    shutil.copytree(random_model, tmp_path / "items.model")
    for item, photos in catalogue.items.items():
        (tmp_path / "others" / item).mkdir(parents=True)
        for photo in photos[8:]:
            shutil.copy2(photo, tmp_path / "others" / item)
    some = {item: photos[:8] for item, photos in catalogue.items.items()}
    build_index(Catalogue(catalogue.source, some), random_embedder, tmp_path / "items.index")
    return tmp_path


def test_evaluate_prints_tables_within_eighty_columns(embed, place):
    done = embed("evaluate", "others")
    assert done.returncode == 0
    assert done.stderr == (
        "48 photos of 12 items asked (48 new)\n"
        "The index is not calibrated: it calls nothing unknown; see 'embed calibrate'\n"
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    for title in ("recall@1 ", "recall@10 ", "mAP@R ", "candidates ", "ECE ", "Most confused"):
        assert title in done.stdout


def test_the_tables_the_json_and_the_report_say_the_same(embed, place, parsed):
    done = embed("evaluate", "others", "--json", "--report", "e.html")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["kinds"]["asked"] == 48
    assert found["unreadable"] == []
    figures = found["recall"]["1"]
    assert 0 <= figures["low"] <= figures["value"] <= figures["high"] <= 1
    first = f"{100 * figures['value']:.1f} %"
    printed = embed("evaluate", "others").stdout
    assert re.search(rf"recall@1 +{re.escape(first)}", printed)
    root = parsed((place / "e.html").read_text(encoding="utf-8"))
    cells = [cell.text for cell in root.all("td")]
    assert first in cells
    assert len(root.all("svg", role="img")) == 2
    pairs = found["confusions"]
    assert [card.title for card in root.all("li", class_="card")] == [
        f"{pair['item_id']} taken for {pair['taken_for']}" for pair in pairs
    ]
    assert len(root.all("img")) == 3 * len(pairs) > 0
    assert not root.all("script")
    assert all(image.attributes["src"].startswith("data:image/jpeg") for image in root.all("img"))
    assert all(image.attributes["alt"].strip() for image in root.all("img"))
    ids = {item["item_id"] for item in found["by_item"]}
    assert ids == set(read_catalogue(place / "others").items)


def test_photos_of_the_catalogue_itself_are_said_to_flatter(embed, place, sample):
    done = embed("evaluate", sample / "catalogue", "--index", "all.index")
    assert "all.index: expected an index file, found none" in done.stderr
    embed("build-index", sample / "catalogue", "--index", "all.index")
    done = embed("evaluate", sample / "catalogue", "--index", "all.index")
    assert done.returncode == 0
    assert "144 photos of 12 items asked (144 that training saw: new ones will" in done.stderr


def test_a_bad_photo_and_an_unknown_item_are_told(embed, place):
    first, second, *_ = sorted((place / "others").iterdir())
    (first / "bad.jpg").write_bytes(b"no photo")
    second.rename(second.with_name("another"))
    done = embed("evaluate", "others")
    assert done.returncode == 0
    assert "1 photo(s) could not be read and are left out:" in done.stderr
    assert "44 photos of 11 items asked (44 new; 4 of items that the index" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: expected a folder with one folder of photos an item"),
        (["others", "--model", "nowhere"], "nowhere"),
        (["others", "--report", "nowhere/e.html"], "expected a report in a folder that is there"),
        (["unknown"], "found 4 photos, 0 of them of such items"),
    ],
)
def test_mistakes_are_told_in_a_line(embed, place, arguments, said):
    shutil.copytree(next((place / "others").iterdir()), place / "unknown" / "another")
    done = embed("evaluate", *arguments)
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert said in error
    assert done.stdout == ""


def test_a_chart_draws_each_point_where_its_axes_say(parsed):
    line = Line("right & wrong", [(2, 90.0), (200, 100.0)], [(85.0, 95.0), (99.0, 100.0)])
    x = Axis("candidates", [2, 20, 200], logarithmic=True)
    root = parsed(line_chart("A <title>", [line], x, Axis("right, %", [80, 90, 100])))
    (left, low), (right, high) = (
        map(float, point.split(",")) for point in root.one("polyline").attributes["points"].split()
    )
    marks = {text.text: text.attributes for text in root.all("text")}
    assert left == pytest.approx(float(marks["2"]["x"]), abs=0.1)
    assert right == pytest.approx(float(marks["200"]["x"]), abs=0.1)
    assert float(marks["20"]["x"]) == pytest.approx((left + right) / 2, abs=0.1)
    assert low == pytest.approx(float(marks["90"]["y"]) - 4, abs=0.1)
    assert high == pytest.approx(float(marks["100"]["y"]) - 4, abs=0.1)
    around = root.one("polygon").attributes["points"].split()
    assert len(around) == 4 and around[3].startswith(f"{left:.1f},")
    said = root.one("svg", role="img").attributes["aria-label"]
    assert said == "A <title>. right, % over candidates. right & wrong: 2: 90, 200: 100."


@pytest.mark.parametrize("lowest", [0.0, 3.7, 42.0, 91.3, 99.2, 99.96, 100.0])
def test_ticks_are_round_and_reach_around_all_values(lowest):
    ticks = ticks_from(lowest, 100.0)
    assert ticks[0] <= lowest < ticks[1] or lowest == 100.0
    assert ticks[-1] == 100.0
    assert 2 <= len(ticks) <= 12
    steps = {round(b - a, 6) for a, b in pairwise(ticks)}
    assert len(steps) == 1


def test_a_learning_curve_is_printed_and_drawn(embed, tmp_path, parsed):
    embed("sample", ".", "--items", "4", "--photos", "7", "--queries", "0", "--size", "32")
    embed("train", "catalogue", "--size", "32", "--epochs", "1")
    done = embed("evaluate", "catalogue", "--learning-curve", "--report", "c.html")
    assert done.returncode == 0
    assert "tested with 4 photos of 4 items" in done.stderr
    heading = done.stdout.splitlines()[1]
    assert heading.split("  ")[0] == "photos" and "1 epochs, %" in heading
    root = parsed((tmp_path / "c.html").read_text(encoding="utf-8"))
    advice = done.stdout.splitlines()[-3:]
    assert [said.text for said in root.one("main").all("p")] == advice
    models = sorted(tmp_path.glob("items.model.curve/*/items.model/model.json"))
    assert len(models) == 2
    times = [path.stat().st_mtime_ns for path in models]
    found = json.loads(embed("evaluate", "catalogue", "--learning-curve", "--json").stdout)
    assert [path.stat().st_mtime_ns for path in models] == times  # what was trained is kept
    assert [(one["photos"], one["epochs"]) for one in found["figures"]] == [(6, 1), (6, 2)]
    assert found["advice"] == advice
