"""`embed match --report`: what is in the page."""

import base64
import io
import json
import os
import random
import re
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import cli.report_page
from cli.page import text
from cli.report_cards import Shown
from cli.report_page import KINDS, Contents, page
from cli.report_pictures import side_of, thumbnail
from embedder import Catalogue, PhotoError
from embedder.catalogue import checked_id
from embedder.errors import CatalogueError
from index import Match, build_index

ORDER = [kind.status for kind in KINDS]
SIDE = side_of(30)  # of the pictures of a small report


def content(uri):
    return base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))


def test_every_photo_is_shown_once_with_its_item_the_doubtful_first(report, place, ids):
    (place / "photos" / "bad.jpg").write_bytes(b"<html>")
    given = report(ids[:6], "photos")[1]["matches"]
    known = sorted(row["confidence"] for row in given if row["item_id"])
    # An error that is accepted of some, and not of others.
    root, document = report(ids[:6], "--max-error", 1 - known[len(known) // 2], "photos")
    rows = sorted(
        document["matches"], key=lambda row: (ORDER.index(row["status"]), row["confidence"] or 0)
    )
    assert {row["status"] for row in rows} >= {"unreadable", "unsure", "matched"}
    shown = root.matches()
    assert [card.title for card in shown] == [row["photo"] for row in rows]
    assert shown == [card for card in root.cards(*ORDER) if card.title.startswith("photos/")]
    for card, row in zip(shown, rows, strict=True):
        assert card in root.cards(row["status"])
        if row["status"] == "unreadable":
            assert not card.all("img")
            assert "cannot be read: not an image that can be read" in card.text
            continue
        picture = card.one("img").attributes
        assert picture["alt"] == f"Photo {row['photo']}"
        assert picture["src"] == thumbnail(place / row["photo"], SIDE).uri
        if row["item_id"]:
            assert f"Item {row['item_id']}, probability {row['confidence']:.1%}" in card.text
            first = min((place / "catalogue" / row["item_id"]).iterdir())
            assert root.picture_of(card, row["item_id"]) == thumbnail(first, SIDE).uri
        if row["status"] == "unsure":
            assert root.picture_of(card, row["runner_up"])
            assert row["reason"] in card.text
        width = float(card.all("rect", class_="part")[0].attributes["width"])
        assert abs(width - 100 * row["confidence"]) < 0.06


def test_the_head_says_what_there_is(report, place, ids):
    (place / "photos" / "bad.jpg").write_bytes(b"<html>")
    root, document = report([*ids[:-1], f"{ids[-1]},4"], "--max-error", "0.2", "photos")
    statuses = [row["status"] for row in document["matches"]]
    pieces = sum(document["missing"].values())
    doubtful = len(statuses) - statuses.count("matched")
    assert pieces >= 3
    expected = f"{doubtful} of {len(statuses)} photos need a look, {pieces} missing"
    assert root.one("h1").text == expected
    counts = {status: statuses.count(status) for status in ORDER} | {"missing": pieces}
    for status, entry in zip(ORDER, root.one("nav").all("li"), strict=True):
        assert entry.one("b").text == str(counts[status])
        assert bool(entry.all("a", href=f"#{status}")) == (counts[status] > 0)
    facts = {row.one("dt").text: row.one("dd").text for row in root.one("dl").all("div")}
    assert facts["Candidates"] == "8 items, 11 pieces"
    assert facts["Accepted error"] == "0.2"
    assert facts["Catalogue"] == str(place / "catalogue")
    assert re.fullmatch(r"[0-9a-f]{12}", facts["Model"])


def test_missing_items_are_shown_with_their_pieces(report, place, ids):
    photos = sorted((place / "photos").iterdir())[:2]
    root, document = report([f"{ids[0]},3", *ids[1:5]], *photos)
    shown = root.cards("missing")
    assert [card.title for card in shown] == list(document["missing"])
    assert sum(document["missing"].values()) >= 5
    for card in shown:
        assert root.picture_of(card, card.title)
        pieces = document["missing"][card.title]
        assert (f"{pieces} pieces" in card.text) == (pieces > 1)
    each, _ = report(ids[:5], "--independent", *photos)
    assert not each.cards("missing")
    assert "missing" not in each.one("h1").text


def test_the_picture_of_an_item_is_in_the_page_once(report, ids):
    root, document = report(ids[:2], "--independent", "photos")
    assert len(document["matches"]) == 8
    assert len(root.all("use")) > 2
    pictures = [image.attributes["href"] for image in root.all("image")]
    assert len(pictures) == len(set(pictures)) == 2


def test_several_photos_of_one_object_are_shown_together(report, place, ids):
    (place / "photos" / "box").mkdir()
    names = [f"photos/box/{name}" for name in ("a <b>.jpg", "b.jpg", "c.jpg")]
    for name, photo in zip(names, sorted((place / "photos").glob("*.jpg"))[:2], strict=False):
        photo.rename(place / name)
    (place / names[2]).write_bytes(b"<html>")
    root, _ = report(ids, "photos")
    assert "of 7 objects" in root.one("h1").text
    (card,) = [card for card in root.matches() if card.title == "photos/box"]
    views = card.one("div", class_="views")
    assert [caption.text for caption in views.all("figcaption")] == names
    alternatives = [image.attributes["alt"] for image in views.all("img")]
    assert alternatives == [f"Photo {name}" for name in names[:2]]
    assert "cannot be read: not an image that can be read" in views.text
    assert len(root.all("img")) == 8


def test_references_of_a_catalogue_that_was_moved_are_said_to_be_gone(report, place, ids):
    (place / "catalogue").rename(place / "elsewhere")
    root, _ = report(ids, "photos")
    assert not root.all("image")
    assert f"of {len(ids)} items have no picture here" in root.one("p", class_="note").text
    assert str(place / "catalogue") in root.one("p", class_="note").text
    for card in root.cards(*ORDER):
        assert len(card.all("img")) == (card in root.matches())
        assert "no picture: no such file" in card.text
    (place / "elsewhere").rename(place / "catalogue")
    root, _ = report(ids, "photos")
    assert not root.all("p", class_="note")
    assert len(root.all("image")) == len(ids)


def test_the_reference_of_an_item_added_by_hand_is_the_photo_it_was_added_with(
    embed, report, place
):
    # Of the same name as one in the catalogue, which must not be taken for it.
    (place / "sku-000001").mkdir()
    Image.new("RGB", (80, 40), (200, 30, 30)).save(place / "sku-000001" / "0001.jpg")
    assert embed("add", "red", "sku-000001/0001.jpg").returncode == 0
    root, _ = report(["red"], "photos/" + next((place / "photos").iterdir()).name)
    expected = thumbnail(place / "sku-000001" / "0001.jpg", SIDE).uri
    assert root.picture_of(root.cards(*ORDER)[-1], "red") == expected


def test_the_references_of_a_manifest_are_found(embed, report, place, ids):
    rows = [f"{item},catalogue/{item}/000{n}.jpg" for item in ids for n in (1, 2)]
    (place / "list.csv").write_text("item_id,path\n" + "\n".join(rows))
    assert embed("build-index", "list.csv").returncode == 0
    root, _ = report(ids, "photos")
    assert len(root.all("image")) == len(ids)


def test_a_damaged_reference_costs_that_picture_only(report, place, ids):
    connection = sqlite3.connect(place / "items.index")
    connection.execute("UPDATE items SET reference = 'x' WHERE id = ?", (ids[0],))
    connection.commit()
    connection.close()
    root, _ = report(ids, "photos")
    assert len(root.all("image")) == len(ids) - 1
    assert "no picture: its row in the index is damaged" in root.text


def test_pictures_are_small_upright_and_say_nothing_of_the_camera(tmp_path):
    pixels = np.zeros((200, 400, 3), np.uint8)
    pixels[:, :200] = 255  # white on the left
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    exif[0x010F] = "Somebody's camera"
    image.save(tmp_path / "a.jpg", exif=exif, comment=b"at home")
    drawn = thumbnail(tmp_path / "a.jpg", 240)
    assert (drawn.width, drawn.height) == (120, 240)
    assert b"camera" not in content(drawn.uri)
    assert b"at home" not in content(drawn.uri)
    with Image.open(io.BytesIO(content(drawn.uri))) as small:
        assert small.size == (120, 240)
        assert min(small.getpixel((60, 20))) > 250
        assert max(small.getpixel((60, 220))) < 5
    image.resize((30, 20)).save(tmp_path / "small.png")
    assert thumbnail(tmp_path / "small.png", 240)[1:] == (30, 20)
    assert side_of(4000) < side_of(100)


PIECES = [
    *("<script>alert(1)", "<li>", "<!--", "-->", "&amp;", "&lt;", "&#13;", "&", '"', "'"),
    *("<img src=x onerror=alert(1)>", "javascript:", "]]>", "<![CDATA[", "`", "=", ">"),
    *("\u202e", "\u2066", "\u200f", "\u05d0\u05d1", "\u200d", "\ufeff", "\ufffe", "\U0001f600"),
    *("  ", "\u00a0", "e\u0301", "%3C", "\\", "${x}", "{{x}}", "a", "7", "\ue000"),
]
NOT_IN_IDS = ["\n", "\r", "\t", "\x1b[31m", "\x01", "\x7f", "\x85", "\udcff", "\udce4"]


def hostile(count, pieces):
    """So many names, put together by chance, that a file could have but for a '/'."""
    chance = random.Random(count)
    found = set()
    while len(found) < count:
        name = "".join(chance.choices(pieces, k=chance.randint(1, 9)))
        if len(os.fsencode(name)) < 200:
            found.add(name)
    return sorted(found)


def hostile_ids(count):
    """So many that can be ids."""
    found = []
    for name in hostile(2 * count, [*PIECES, "</script>", "</li>", "</style>", "/"]):
        try:
            found.append(checked_id(name, "here"))
        except CatalogueError:
            continue
    return sorted(set(found))[:count]


def test_hostile_ids_and_names_read_as_exactly_what_they_are(
    embed, tmp_path, sample, random_model, random_embedder, read_report
):
    photos = [path.read_bytes() for path in sorted((sample / "catalogue").rglob("*.jpg"))]
    for folder in ("catalogue", "photos"):
        (tmp_path / folder).mkdir()
    items = {}
    for number, item in enumerate(hostile_ids(600)):
        path = tmp_path / "catalogue" / f"{number}.jpg"
        path.write_bytes(photos[number % len(photos)])
        items[item] = (str(path),)
    assert len(items) == 600
    for number, name in enumerate(hostile(500, [*PIECES, *NOT_IN_IDS])):
        (tmp_path / "photos" / f"_{name}.jpg").write_bytes(photos[-1 - number % len(photos)])
    build_index(Catalogue(tmp_path, items), random_embedder, tmp_path / "items.index")
    (tmp_path / "ids.txt").write_text("\n".join(f"{item},1" for item in items), encoding="utf-8")
    options = ("--model", random_model, "--format", "json", "--report", "report.html")
    done = embed("match", "--candidates", "ids.txt", *options, "photos")
    assert done.returncode == 0, done.stderr[-500:]
    root, document = read_report(tmp_path / "report.html"), json.loads(done.stdout)

    def said(card):
        """Name, text of the picture, items, reason."""
        named = [bdi.text for caption in card.all("figcaption") for bdi in caption.all("bdi")]
        reason = [why.text for why in card.all("p", class_="why")]
        return card.one("h3").one("bdi").text, card.one("img").attributes["alt"], *named, *reason

    expected = []
    for row in document["matches"]:
        named, reason = [row["item_id"]] if row["item_id"] else [], []
        if row["status"] != "matched":
            named.append(row["runner_up"])
            more = f": {row['reason']}" if row["reason"] else ""
            reason = [row["status"].capitalize() + more]
        expected.append((row["photo"], f"Photo {row['photo']}", *named, *reason))
    assert len(expected) == 500
    assert Counter(map(said, root.matches())) == Counter(expected)
    assert [card.title for card in root.cards("missing")] == list(document["missing"])
    pictures = {f"#{image.attributes['id']}": image for image in root.all("image")}
    for svg in root.all("svg", class_="picture"):
        item = svg.attributes["aria-label"].removeprefix("Reference photo of ")
        shown = pictures[svg.one("use").attributes["href"]].attributes["href"]
        assert shown == thumbnail(Path(items[item][0]), side_of(1100)).uri


@given(value=st.text(st.characters(exclude_categories=[])))
def test_any_text_is_read_as_it_was_written(parsed, value):
    root = parsed(f'<p title="{text(value)}">{text(value)}</p>')
    expected = value.encode(errors="replace").decode()  # what is not Unicode is '?'
    assert root.one("p").text == root.one("p").attributes["title"] == expected


def contents(**given):
    counts = {status: 0 for status in ORDER if status != "missing"}
    standard = {"counts": counts, "unit": "photos", "missing": {}, "references": {}}
    return Contents(**{**standard, "facts": [], "notes": [], **given})


def test_of_very_many_missing_items_the_first_are_shown_and_all_are_named(tmp_path, read_report):
    missing = {f"sku-{n}": n % 3 + 1 for n in range(1200)}
    references = {item: PhotoError(item, "none") for item in list(missing)[:500]}
    path = tmp_path / "report.html"
    given = contents(missing=missing, references=references)
    path.write_text("".join(page(given, [])), encoding="utf-8")
    root = read_report(path)
    assert len(root.cards("missing")) == 500
    named = [entry.one("bdi").text for entry in root.all("li", class_="listed")]
    assert [card.title for card in root.cards("missing")] + named == list(missing)
    section = root.one("section", id="missing")
    assert section.one("span", class_="count").text == f"{sum(missing.values()):,}"


def test_a_page_of_nothing_but_matches_says_so(tmp_path, read_report):
    picture = thumbnail(Image.new("RGB", (9, 9)), 9)
    given = contents(
        counts={"unreadable": 0, "unsure": 0, "unknown": 0, "matched": 2},
        references={"x": picture},
    )
    matches = [Match(name, "x", "matched", 1.0, 1.0) for name in ("a.jpg", "b.jpg")]
    shown = [Shown(match, [(match.photo, picture)]) for match in matches]
    path = tmp_path / "report.html"
    path.write_text("".join(page(given, shown)), encoding="utf-8")
    root = read_report(path)
    assert root.one("h1").text == "All 2 photos matched"
    assert [card.title for card in root.cards("matched")] == ["a.jpg", "b.jpg"]


def luminance(colour):
    """As WCAG 2.2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_texts_stand_out_from_what_is_behind_them_in_light_dark_and_print():
    style = Path(cli.report_page.__file__).with_name("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w{6});", block))
        for behind in ("page", "card", "hole"):
            for ink in ("ink", "quiet", "link", *ORDER):
                dark, light = sorted((luminance(colours[ink]), luminance(colours[behind])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, behind)
