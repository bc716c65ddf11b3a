"""`embed match --report` in Chromium, where there is one: all pictures can be seen."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from embedder import Catalogue
from index import build_index

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HOSTILE = "<b>&amp;\u202e\"'\u05d0 -->"


@pytest.fixture
def chromium(tmp_path):
    """Open a page in Chromium with an empty profile and no network; gives what it printed."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")

    def run(page, *options):
        own = (f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND")
        command = [browser, *QUIET, *own, "--enable-logging=stderr", *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr  # where it says what the page's policy refuses
        return done.stdout

    return run


@pytest.fixture
def coloured(tmp_path, embed, random_model, random_embedder, read_report):
    """A report on photos that are each of one colour, and the colours of photos and references."""
    levels = [40, 130, 220]
    colours = [(r, g, b) for r in levels for g in levels for b in levels if not r == g == b]
    shown, kept = colours[:6], colours[12:18]
    for folder, some in (("photos", shown), ("catalogue", kept)):
        (tmp_path / folder).mkdir()
        for number, colour in enumerate(some):
            Image.new("RGB", (64, 64), colour).save(tmp_path / folder / f"{number}.png")
    photos = enumerate(sorted((tmp_path / "catalogue").iterdir()))
    items = {f"{HOSTILE}{number}": (str(photo),) for number, photo in photos}
    build_index(Catalogue(tmp_path, items), random_embedder, tmp_path / "items.index")
    (tmp_path / "ids.txt").write_text("\n".join(items), encoding="utf-8")
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"<html>")
    options = ("--model", random_model, "--format", "json", "--report", "report.html")
    done = embed("match", "--candidates", "ids.txt", *options, "photos")
    assert done.returncode == 0, done.stderr
    read_report(tmp_path / "report.html")
    return tmp_path / "report.html", json.loads(done.stdout)["matches"], shown + kept


def seen(pixels, colour):
    """How many pixels are of a colour, as far as a JPEG keeps it."""
    return int((np.abs(pixels.astype(int) - colour).max(axis=2) <= 6).sum())


@pytest.mark.parametrize("dark", [False, True])
def test_all_pictures_are_seen(chromium, coloured, tmp_path, dark):
    report, _, colours = coloured
    options = [f"--screenshot={tmp_path / 'shot.png'}", "--window-size=1280,3000"]
    chromium(report, *options, *["--blink-settings=preferredColorScheme=0"] * dark)
    with Image.open(tmp_path / "shot.png") as shot:
        pixels = np.asarray(shot.convert("RGB"))
    for colour in colours:
        assert seen(pixels, colour) > 5000, colour
    assert (pixels.mean() < 110) == dark


def test_a_browser_reads_what_the_standard_library_reads(chromium, coloured, parsed):
    report, rows, _ = coloured
    root = parsed(chromium(report, "--dump-dom"))
    assert sorted(card.title for card in root.matches()) == sorted(row["photo"] for row in rows)
    items = {svg.attributes["aria-label"] for svg in root.all("svg", role="img")}
    chosen = {row["item_id"] for row in rows if row["item_id"]}
    assert chosen
    assert {f"Reference photo of {item}" for item in chosen} <= items
    assert len(root.all("img")) == 6
    assert len(root.all("b")) == 5  # those of the counts: an id adds none


def test_it_prints_on_pages(chromium, coloured, tmp_path):
    report, _, _ = coloured
    chromium(report, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Subtype /Image") >= 12
