"""The page in Chromium, as users at a bench meet it, with a server that runs."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from embedder import Catalogue
from index import build_index

PRODUCTS = (
    *("Avocado", "Banana", "Cabbage", "Carrots", "Ginger", "Kiwi", "Lemon", "Oatly-Oat-Milk"),
    *("God-Morgon-Apple-Juice", "God-Morgon-Orange-Juice"),
)
HOSTILE = (
    "<img src=x onerror=hit=1>",
    "\"><script>hit=1</script>'",
    "a\u202eexe.gpj",
    "../../v1/index?a=b#c%00",
    "\u05d0\u05d1,\u05d2 " + 60 * "very-long",
)


@pytest.mark.real_data
def test_ten_real_photos_get_the_answers_of_the_command_line(
    at, start, real_data, trained_model, embed, tmp_path
):
    for product in PRODUCTS:
        (tmp_path / "catalogue" / product).mkdir(parents=True)
        for photo in sorted((real_data / "grocery" / "train" / product).iterdir())[:8]:
            shutil.copy(photo, tmp_path / "catalogue" / product)
        (tmp_path / "photos").mkdir(exist_ok=True)
        photo = min((real_data / "grocery" / "val" / product).iterdir())
        shutil.copy(photo, tmp_path / "photos" / f"photo of {product}.jpg")
    (tmp_path / "items.model").symlink_to(trained_model)
    assert embed("build-index", "catalogue").returncode == 0
    candidates = (*PRODUCTS[:8], "God-Morgon-Apple-Juice,2")
    (tmp_path / "ids.txt").write_text("\n".join(candidates))
    options = ("--candidates", "ids.txt", "--format")
    expected = json.loads(embed("match", *options, "json", "photos").stdout)
    for match in expected["matches"]:
        match["photo"] = Path(match["photo"]).name
    with start(tmp_path) as server:
        page = at(server)
        page.set_input_files("#choose", sorted((tmp_path / "photos").iterdir()))
        page.set_input_files("#ids-file", tmp_path / "ids.txt")
        expect(page.locator("#ids-count")).to_have_text("9")
        page.match()
        assert json.loads(page.download("#json")[1]) == expected
        page.results()  # the CSV as well
        order = {"unreadable": 0, "unsure": 1, "unknown": 2, "matched": 3}
        matches = sorted(
            expected["matches"], key=lambda match: (order[match["status"]], match["confidence"])
        )
        cards = page.locator("#cards .card").all()
        for card, match in zip(cards, matches, strict=True):
            expect(card.locator("h3 bdi")).to_have_text(match["photo"])
            answer = card.locator("figure").nth(1)
            expect(answer).to_contain_text(match["item_id"] or "None of the candidates")
            expect(answer).to_contain_text(f"{match['confidence']:.1%}")
            expect(card.locator(".why")).to_contain_text(match["reason"] or "")
            card.scroll_into_view_if_needed()
            pictures = {match["item_id"]}
            if match["status"] != "matched":
                pictures.add(match["runner_up"])
            expect(card.locator("img")).to_have_count(1 + len(pictures - {None}))
            for picture in card.locator("img").all():
                picture.evaluate("picture => picture.decode()")
        missing = page.locator("#missing-cards h3").all_inner_texts()
        assert sorted(missing) == sorted(expected["missing"])


def test_a_wrong_id_is_told_and_corrected(at, server, photos, ids):
    page = at(server)
    page.give(photos, [*ids[:3], "sku-00000x", *ids[3:]])
    page.click("#match")
    expect(page.locator("#ids-error")).to_contain_text("no such item: 'sku-00000x' (nearest: ")
    expect(page.locator("#ids")).to_be_focused()
    expect(page.locator("#ids")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("getSelection().toString()") == "sku-00000x"
    expect(page.locator("#thumbs li")).to_have_count(len(photos))
    page.keyboard.press("Delete")  # what is wrong is selected
    expect(page.locator("#ids-error")).to_be_hidden()
    page.match()
    found, missing = page.results()
    assert {match["item_id"] for match in found.values()} == set(ids)
    assert not missing


def test_a_photo_that_cannot_be_read_is_named_among_others(at, server, photos, ids):
    page = at(server)
    bad = {"name": "bad.heic", "mimeType": "", "buffer": b"<html>"}
    page.give(photos, ids)
    page.set_input_files("#choose", bad)
    expect(page.locator("#thumbs li").last).to_contain_text("no preview here")
    page.match()
    first = page.locator("#cards .card").first
    expect(first.locator("h3")).to_have_text(f"Photo {len(photos) + 1}: bad.heic")
    expect(first.locator(".why")).to_have_text("! Unreadable: not an image that can be read")
    found, missing = page.results()
    assert found.pop("bad.heic")["status"] == "unreadable"
    assert {match["item_id"] for match in found.values()} == set(ids)
    assert not missing


def test_the_keyboard_is_enough(at, server, photos, ids):
    page = at(server)
    seen = []

    def tab_to(place, key="Tab"):
        for _ in range(40):
            page.keyboard.press(key)
            focused = page.evaluate(
                """() => {
                    const { id, tagName } = document.activeElement;
                    const focused = document.activeElement;
                    const place = focused.closest(".button") ?? focused;
                    return [id || tagName, getComputedStyle(place).outlineStyle];
                }"""
            )
            assert focused[1] == "solid", f"no focus is seen at {focused[0]}"
            seen.append(focused[0])
            if focused[0] == place:
                return
        pytest.fail(f"{place} is not reached: {seen}")

    tab_to("choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photos)
    tab_to("ids")
    page.keyboard.insert_text("\n".join(ids))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#results-title")).to_be_focused()
    tab_to("csv")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to("SELECT")
    before = page.locator("#counts").inner_text()
    page.keyboard.press("End")  # none of these
    expect(page.locator("#cards .card").first.locator(".why")).to_contain_text("set by hand")
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    assert page.locator("#counts").inner_text() != before


@pytest.fixture
def hostile(tmp_path, random_model, random_embedder, photos):
    """A folder to serve, of ids that would do harm where they are taken for HTML."""
    items = {item: (str(photo),) for item, photo in zip(HOSTILE, photos, strict=False)}
    build_index(Catalogue(tmp_path, items), random_embedder, tmp_path / "items.index")
    (tmp_path / "items.model").symlink_to(random_model)
    return tmp_path


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_names_are_only_names(at, start, hostile, photos, width, scheme):
    names = [f"{name.replace('/', ' ')}.jpg" for name in HOSTILE]
    content = [photo.read_bytes() for photo in photos]
    files = [
        {"name": name, "mimeType": "image/jpeg", "buffer": photo}
        for name, photo in zip(names, content, strict=False)
    ]
    with start(hostile) as server:
        page = at(server, viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.give(files[:4], [f"{item}\t2" for item in HOSTILE])
        page.match()
        for select in page.locator("select").all():
            select.focus()
        page.set_by_hand(names[0], HOSTILE[0])
        found, missing = page.results()
        assert set(found) == set(names[:4])
        assert {match["item_id"] for match in found.values()} | set(missing) >= set(HOSTILE)
        titles = page.locator("#cards h3 bdi").all_inner_texts()
        assert sorted(titles) == sorted(names[:4])
        assert page.evaluate("typeof hit") == "undefined"
        assert page.locator("[onerror], main script").count() == 0
        assert "\u202e" not in "".join(page.locator("option").all_inner_texts())
        sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert sizes == [width, width]
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        pictures = page.locator("#missing-cards img")
        expect(pictures).not_to_have_count(0)
        rgb = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
        assert (sum(map(int, rgb)) < 384) == (scheme == "dark")


def test_a_phone_offers_its_camera(at, server, photos):
    page = at(server, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    camera = page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    page.set_input_files("#camera", photos[:1])
    page.set_input_files("#camera", photos[1:2])
    expect(page.locator("#thumbs li")).to_have_count(2)
    expect(page.get_by_text("Take a photo")).to_be_visible()
