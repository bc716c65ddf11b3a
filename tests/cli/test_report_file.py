"""`embed match --report`: where the file may be, and that it is whole or as it was."""

import os
import subprocess

import pytest


def one_line_error(done):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    return lines[-1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere/report.html", "nowhere/report.html: expected a report in a folder that is there"),
        ("catalogue", "catalogue: expected the name of a report, found no file"),
        ("/dev/null", "/dev/null: expected the name of a report, found no file"),
        ("", ".: expected the name of a report, found no file"),
        ("/proc/report.html", "/proc/report.html: cannot be written: "),
        ("circle", "circle: cannot be written: "),
        ("photos/photo-01.jpg", "expected a new file or an earlier report, found another file"),
        ("page.html", "page.html: expected a new file or an earlier report, found another file"),
        ("ids.txt", "ids.txt: expected a new file or an earlier report, found another file"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_where_no_report_can_be_is_refused_before_the_work(embed, place, name, says):
    (place / "page.html").write_text("<!DOCTYPE html><title>Not ours</title>")
    (place / "circle").symlink_to("circle")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    options = ("--candidates", "ids.txt", "--model", "no.model", "--report", name)
    assert says in one_line_error(embed("match", *options, "photos"))
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_report_takes_the_place_of_an_earlier_one_and_of_an_empty_file(report, place, ids):
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "real.html").touch()
    (place / "report.html").symlink_to("elsewhere/real.html")
    photos = sorted((place / "photos").iterdir())[:2]
    first, _ = report(ids, photos[0])
    second, _ = report(ids, photos[1])
    assert [root.one("img").attributes["alt"] for root in (first, second)] == [
        f"Photo {photo}" for photo in photos
    ]
    assert (place / "report.html").is_symlink()
    assert [path.name for path in (place / "elsewhere").iterdir()] == ["real.html"]
    assert not list(place.glob(".report*"))


def test_a_full_disk_costs_the_report_not_the_results(embed, report, little_room, place, ids):
    report(ids, "photos")
    before = (place / "report.html").read_bytes()
    options = ("--candidates", "ids.txt", "photos", "--format", "csv")
    expected = embed("match", *options).stdout
    with little_room(len(before) // 2):
        done = embed("match", *options, "--report", "report.html")
    assert "too large" in one_line_error(done)
    assert done.stdout == expected
    assert (place / "report.html").read_bytes() == before
    assert not list(place.glob(".report*"))


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_results_are_the_same_with_a_report(embed, place, form):
    options = ("match", "--candidates", "ids.txt", "--format", form, "photos")
    alone, beside = embed(*options), embed(*options, "--report", "report.html")
    assert beside.stdout == alone.stdout
    assert beside.stderr == alone.stderr + "report.html: the report, to be opened in a browser\n"
    assert beside.returncode == alone.returncode == 0


def test_a_match_that_is_not_clean_has_its_report_all_the_same(embed, place, read_report):
    options = ("match", "--candidates", "ids.txt", "--report", "report.html")
    assert embed(*options, "--strict", "--max-error", "1e-12", "photos").returncode == 3
    assert len(read_report(place / "report.html").matches()) == 8
    (place / "bad.jpg").write_bytes(b"<html>")
    assert "none of the photos can be read" in one_line_error(embed(*options, "bad.jpg"))
    assert [card.title for card in read_report(place / "report.html").matches()] == ["bad.jpg"]


def test_a_match_that_fails_leaves_the_earlier_report(embed, report, place, ids):
    report(ids, "photos")
    before = (place / "report.html").read_bytes()
    options = ("match", "--candidates", "-", "--report", "report.html", "photos")
    one_line_error(embed(*options, input="no-such-item"))
    assert (place / "report.html").read_bytes() == before


def test_a_reader_of_results_that_goes_does_not_cost_the_report(embed_path, place, read_report):
    command = [embed_path, "match", "--candidates", "ids.txt", "--report", "report.html", "photos"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        subprocess.run(command, cwd=place, stdout=writing, stderr=subprocess.PIPE, timeout=100)
    finally:
        os.close(writing)
    assert len(read_report(place / "report.html").all("img")) == 8
