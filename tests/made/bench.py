"""The page of `embed serve` in a browser: what users do there, and what they see."""

import csv
import io
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TEXTS = ("photo", "item_id", "status", "runner_up", "reason")
NUMBERS = ("confidence", "score", "runner_up_score", "margin", "none", "views", "unreadable")


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


@contextmanager
def launched(path):
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@contextmanager
def opening(browser):
    """Gives a function that opens the page of a server.

    In the end no page may have asked elsewhere, broken its policy or raised an error.
    """
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

    try:
        yield opened
    finally:
        for context in contexts:
            context.close()
    assert not problems
