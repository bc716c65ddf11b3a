"""Results that are set right by hand in the page, and taken away as files."""

import json

from playwright.sync_api import expect


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
