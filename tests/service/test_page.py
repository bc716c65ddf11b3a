"""The page in Chromium, as users at a bench meet it, with a server that runs."""

import csv
import io
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from embedder import Catalogue
from index import build_index

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
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


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        message = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@dataclass
class Bench:
    """The page, and what was seen from outside of it."""

    page: Page

    def __getattr__(self, name):
        return getattr(self.page, name)

    def give(self, photos, ids):
        self.page.set_input_files("#choose", photos)
        self.page.fill("#ids", "\n".join(ids))

    def match(self):
        self.page.click("#match")
        expect(self.page.locator("#counts li")).not_to_have_count(0)

    def card(self, name):
        return self.page.locator("#cards .card", has=self.page.get_by_text(name, exact=True))

    def set_by_hand(self, name, option):
        select = self.card(name).locator("select")
        select.focus()  # the candidates come into it then
        labels = select.evaluate("select => [...select.options].map(option => option.text)")
        (label,) = [label for label in labels if label.startswith(option)]
        select.select_option(label=label)

    def download(self, button):
        with self.page.expect_download() as download:
            self.page.click(button)
        path = Path(download.value.path())
        return download.value.suggested_filename, path.read_bytes().decode("utf-8")

    def results(self):
        """What the downloaded JSON and CSV say; they say the same."""
        _, text = self.download("#json")
        _, table = self.download("#csv")
        document = json.loads(text)
        rows = list(csv.DictReader(io.StringIO(table, newline="")))
        for match, row in zip(document["matches"], rows, strict=True):
            assert all(row[key] == ("" if match[key] is None else match[key]) for key in TEXTS)
            assert all(row[key] == "" or float(row[key]) == match[key] for key in NUMBERS)
        return {match["photo"]: match for match in document["matches"]}, document["missing"]


TEXTS = ("photo", "item_id", "status", "runner_up", "reason")
NUMBERS = ("confidence", "score", "runner_up_score", "margin", "none", "views", "unreadable")


@pytest.fixture
def at(browser):
    """Open the page of a server; fails where it asks elsewhere or breaks its policy."""
    contexts, problems = [], []

    def heard(message):
        # That something was refused is written there by the browser itself.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            problems.append(message.text)

    def opened(server, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        own = (f"{server.url}/", f"blob:{server.url}/", "data:,")
        page.on("console", heard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("filechooser", lambda chooser: None)  # none opens, from the first key on
        page.on("request", lambda sent: sent.url.startswith(own) or problems.append(sent.url))
        page.goto(server.url)
        return Bench(page)

    yield opened
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture(scope="module")
def photos(sample):
    return sorted((sample / "photos").iterdir())


@pytest.fixture(scope="module")
def ids(sample):
    lines = (sample / "ids.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def truth(sample):
    with (sample / "truth.csv").open() as file:
        return {Path(photo).name: item for photo, item in list(csv.reader(file))[1:]}


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


def test_a_photo_that_is_set_by_hand_takes_its_item(at, server, photos, ids, truth):
    page = at(server)
    page.give(photos, ids)
    page.match()
    before, _ = page.results()
    one, other = (photo.name for photo in photos[:2])
    assert [before[name]["item_id"] for name in (one, other)] == [truth[one], truth[other]]

    page.set_by_hand(one, truth[other])
    expect(page.card(one).locator(".why")).to_have_text("✓ Matched: set by hand")
    reason = "its item was given to photo 1 by hand"
    expect(page.card(other).locator(".why")).to_have_text(f"? Unsure: {reason}")
    expect(page.locator("#missing-cards h3")).to_have_text([truth[one]])
    found, missing = page.results()
    assert missing == {truth[one]: 1}
    for name, item, status, why in (
        (one, truth[other], "matched", "set by hand"),
        (other, None, "unsure", reason),
    ):
        match = found.pop(name)
        assert (match["item_id"], match["status"], match["reason"]) == (item, status, why)
        assert match["confidence"] is None
    assert all(match == before[name] for name, match in found.items())

    page.set_by_hand(other, truth[one])
    assert page.results()[1] == {}
    page.set_by_hand(other, "None of these")
    assert page.results()[0][other]["status"] == "unknown"
    page.set_by_hand(one, "As matched")
    page.set_by_hand(other, "As matched")
    assert page.results() == (before, {})


def test_taking_back_what_was_taken_away(at, server, photos, ids, truth):
    page = at(server)
    page.give(photos, ids)
    page.match()
    before = page.results()
    one, other = (photo.name for photo in photos[:2])
    page.set_by_hand(one, truth[other])
    page.set_by_hand(other, "As matched")
    assert page.results() == before


def test_pieces_are_counted(at, server):
    """With each item twice a second photo takes nothing away, a third does."""
    page = at(server)
    alone = {"alternatives": [], "runner_up": None, "status": "matched", "reason": None}
    matches = [
        {**alone, "photo": f"photo {at}", "item_id": item, "confidence": sure}
        for at, (item, sure) in enumerate([("a", 0.9), ("a", 0.8), ("b", 0.7), (None, 0.6)], 1)
    ]

    def revised(*choices):
        found = page.evaluate(
            """async ([found, choices]) => {
                const { revised } = await import("/revise.js");
                return JSON.stringify(revised(JSON.parse(found), new Map(choices)));
            }""",
            [json.dumps({"matches": matches, "missing": {"b": 1, "__proto__": 2}}), choices],
        )
        found = json.loads(found)
        return [match["item_id"] for match in found["matches"]], found["missing"]

    assert revised() == (["a", "a", "b", None], {"b": 1, "__proto__": 2})
    assert revised((3, "b")) == (["a", "a", "b", "b"], {"__proto__": 2})
    assert revised((3, "a")) == (["a", None, "b", "a"], {"b": 1, "__proto__": 2})
    assert revised((3, "a"), (2, "a")) == ([None, None, "a", "a"], {"b": 2, "__proto__": 2})
    assert revised((3, "a"), (2, "a"), (1, "a"))[0] == [None, "a", "a", None]
    assert revised((0, "__proto__")) == (
        ["__proto__", "a", "b", None],
        {"a": 1, "b": 1, "__proto__": 1},
    )
    assert revised((0, None))[1] == {"a": 1, "b": 1, "__proto__": 2}


NOTE_NAMES = """() => {
    window.sent = [];
    const send = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function (body) {
        if (body) sent.push(...body.getAll("photos").map((file) => file.name));
        return send.call(this, body);
    };
}"""


def test_the_report_holds_the_photos_as_revised(at, server, photos, ids, truth):
    page = at(server)
    page.evaluate(NOTE_NAMES)
    page.give(photos, ids)
    page.match()
    page.set_by_hand(photos[0].name, truth[photos[1].name])
    name, report = page.download("#report")
    assert name == "report.html"
    assert report.count("<img") == len(photos)
    assert "its item was given to photo 1 by hand" in report
    # What files are called stays in the browser.
    assert photos[0].name not in report
    numbers = [f"photo {number}" for number in range(1, len(photos) + 1)]
    assert page.evaluate("sent") == [*numbers, *numbers]
    expect(page.locator("#status")).to_have_text("The report is saved.")


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


def test_a_token_is_asked_for_and_kept_for_the_tab(at, start, served, photos, ids):
    token = "a-token-of-the-bench"
    with start(served, EMBED_TOKEN=token) as server:
        page = at(server)
        field = page.locator("#token")
        expect(field).to_be_focused()
        field.press("Escape")
        expect(page.locator("#error")).to_contain_text("wants a token")
        page.give(photos, ids)
        page.click("#match")
        field.fill("another-token-of-the-bench")
        field.press("Enter")
        expect(page.locator("#token-error")).to_contain_text("wants another token")
        field.fill(token)
        field.press("Enter")
        expect(page.locator("#counts li")).not_to_have_count(0)  # it went on by itself
        page.get_by_alt_text("Reference photo").first.evaluate("picture => picture.decode()")
        stores = "[{...sessionStorage}, {...localStorage}, document.cookie]"
        assert page.evaluate(stores) == [{"embed.token": token}, {}, ""]
        page.reload()
        expect(page.locator("#index")).to_contain_text("12 items")
        expect(page.locator("#token-dialog")).to_be_hidden()


def test_a_busy_server_is_asked_again(at, server, photos, ids):
    page = at(server)
    left = ["busy", "busy"]

    def answer(route):
        if not left:
            return route.fallback()
        headers = {"Retry-After": "1"}
        return route.fulfill(status=503, headers=headers, json={"error": left.pop()})

    page.route("**/v1/match", answer)
    page.give(photos, ids)
    page.click("#match")
    expect(page.locator("#status")).to_contain_text("The server is busy: trying again in 1 s")
    expect(page.locator("#counts li")).not_to_have_count(0)
    assert not left


def test_what_is_waited_for_can_be_cancelled(at, server, photos, ids):
    page = at(server)
    page.route("**/v1/match", lambda route: None)  # never answered
    page.give(photos, ids)
    page.click("#match")
    expect(page.locator("#cards .card")).to_have_count(len(photos))
    expect(page.get_by_text("matching…")).to_have_count(len(photos))
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled.")
    expect(page.locator("#results")).to_be_hidden()
    expect(page.locator("#thumbs li")).to_have_count(len(photos))
    page.unroute("**/v1/match")
    page.match()


def test_a_server_that_went_is_told(at, start, served, photos, ids):
    with start(served) as server:
        page = at(server)
        page.give(photos, ids)
        page.match()
        before = page.results()
    page.click("#match")
    expect(page.locator("#error")).to_contain_text("The server cannot be reached")
    assert page.results() == before


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


def test_results_of_before_are_marked_and_choices_stay(at, server, photos, ids, truth):
    page = at(server)
    page.give(photos, ids)
    page.match()
    page.set_by_hand(photos[1].name, "None of these")
    page.get_by_role("button", name=f"Remove {photos[0].name}").click()
    expect(page.locator("#stale")).to_be_visible()
    assert len(page.results()[0]) == len(photos)
    page.get_by_role("button", name="Match again").click()
    expect(page.locator("#stale")).to_be_hidden()
    expect(page.locator("#cards .card")).to_have_count(len(photos) - 1)
    found, missing = page.results()
    assert found[photos[1].name]["reason"] == "set by hand"
    assert missing == {truth[photo.name]: 1 for photo in photos[:2]}
    expect(page.get_by_role("button", name="Match", exact=True)).to_be_visible()


def test_too_much_is_told_before_it_is_sent(at, start, served, photos, ids):
    with start(served, "--max-photos", "4", "--max-photo", "1") as server:
        page = at(server)
        expect(page.locator("#index")).not_to_be_empty()
        page.on("request", lambda sent: pytest.fail("sent") if "match" in sent.url else None)
        page.give(photos[:5], ids)
        line = page.locator("#photos-error")
        expect(line).to_have_text("Expected at most 4 photos at once, found 5: remove 1.")
        page.click("#match")
        expect(page.locator("#choose")).to_be_focused()
        page.click("#clear")
        large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": bytes(1_200_000)}
        page.set_input_files("#choose", large)
        expect(line).to_contain_text("Expected at most 1.0 MB a photo, found 1.2 in large.jpg")
        page.click("#match")
        expect(page.locator("#results")).to_be_hidden()


DROP = """([kind, files]) => {
    const data = new DataTransfer();
    for (const [name, type, bytes] of files) {
        data.items.add(new File([new Uint8Array(bytes)], name, { type }));
    }
    const options = { bubbles: true, cancelable: true };
    document.body.dispatchEvent(kind === "paste"
        ? new ClipboardEvent(kind, { ...options, clipboardData: data })
        : new DragEvent(kind, { ...options, dataTransfer: data }));
}"""


def test_photos_and_lists_are_dropped_and_pasted(at, server, photos, ids):
    page = at(server)
    photo = ["image.jpg", "image/jpeg", list(photos[0].read_bytes())]
    listed = ["ids.txt", "text/plain", list(b"\xef\xbb\xbf" + "\r\n".join(ids).encode())]
    page.evaluate(DROP, ["drop", [photo, listed, ["a.pdf", "application/pdf", [1]]]])
    expect(page.locator("#ids-count")).to_have_text(str(len(ids)))
    expect(page.locator("#left-out")).to_have_text("Left out, not a photo: a.pdf")
    page.evaluate(DROP, ["paste", [photo]])
    names = page.locator("#thumbs bdi")
    expect(names).to_have_text(["image.jpg", "image (2).jpg"])  # what phones call every photo
    page.match()
    assert list(page.results()[0]) == ["image.jpg", "image (2).jpg"]
    page.evaluate(DROP, ["drop", [["ids.txt", "text/plain", [0xFF, 0xFE, 65, 0]]]])
    expect(page.locator("#ids-error")).to_contain_text("expected a list of ids as UTF-8 text")
    expect(page.locator("#ids-count")).to_have_text(str(len(ids)))


def test_a_folder_is_dropped(at, server, photos, tmp_path):
    """As from a file manager: photos in folders, in the order of their names."""
    (tmp_path / "tray" / "more").mkdir(parents=True)
    for photo, name in zip(photos, ("b.jpg", "a.jpg", "more/c.jpg", ".hidden.jpg"), strict=False):
        shutil.copy(photo, tmp_path / "tray" / name)
    page = at(server)
    devtools = page.context.new_cdp_session(page.page)
    data = {"items": [], "files": [str(tmp_path / "tray")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    expect(page.locator("#thumbs bdi")).to_have_text(["a.jpg", "b.jpg", "c.jpg"])


def test_a_phone_offers_its_camera(at, server, photos):
    page = at(server, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    camera = page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    page.set_input_files("#camera", photos[:1])
    page.set_input_files("#camera", photos[1:2])
    expect(page.locator("#thumbs li")).to_have_count(2)
    expect(page.get_by_text("Take a photo")).to_be_visible()
