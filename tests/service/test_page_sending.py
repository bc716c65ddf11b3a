"""What is given to the page, and how it gets to the server: limits, tokens, waiting."""

import shutil

import pytest
from playwright.sync_api import expect

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
