"""Fixtures: a terminal, and reports of `embed match --report`, read with the standard library."""

import base64
import hashlib
import json
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from embedder import Catalogue
from index import build_index

ORDER = ["unreadable", "unsure", "unknown", "missing", "matched"]  # of the parts of a report
VOID = {"meta", "img"}


class Element:
    """What the parser found: `children` are elements and texts."""

    def __init__(self, tag, attributes=()):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def elements(self):
        """All elements below this one, in order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.elements()

    def all(self, tag, **attributes):
        """Those of a tag with some attributes; `class_` is `class`, `aria_label` `aria-label`."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            element
            for element in self.elements()
            if element.tag == tag and wanted.items() <= element.attributes.items()
        ]

    def one(self, tag, **attributes):
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self):
        return "".join(
            child.text if isinstance(child, Element) else child for child in self.children
        )

    @property
    def title(self):
        """Of a card."""
        return self.one("h3").text

    def cards(self, *statuses):
        """Of a report: in the parts of some statuses, in the order of the page."""
        parts = [part for part in self.all("section") if part.attributes["id"] in statuses]
        return [card for part in parts for card in part.all("li", class_="card")]

    def matches(self):
        """Of a report: the cards that are of photos."""
        return self.cards(*(status for status in ORDER if status != "missing"))

    def picture_of(self, card, item):
        """Of a report: the address of the picture of an item in a card; None without one."""
        found = card.all("svg", class_="picture", aria_label=f"Reference photo of {item}")
        if not found:
            return None
        return self.one("image", id=found[0].one("use").attributes["href"][1:]).attributes["href"]


class Reader(HTMLParser):
    """Reads HTML into a tree; fails where an element is not closed as it should be."""

    def __init__(self):
        super().__init__()
        self.open = [Element("")]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, attrs)
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, attrs))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    (root,) = reader.open
    return root


def assert_safe(root):
    """Nothing runs, nothing is loaded, and the page itself forbids it."""
    assert not {"script", "link", "iframe", "object", "base", "form"} & {
        element.tag for element in root.elements()
    }
    for element in root.elements():
        for key, value in element.attributes.items():
            assert not key.startswith("on")
            assert key not in ("style", "srcset", "action", "background")
            if key == "src" or (key == "href" and element.tag == "image"):
                assert value.startswith("data:image/jpeg;base64,")
            elif key == "href":
                assert value.startswith("#")
    style = root.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = root.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert dict(rule.split(maxsplit=1) for rule in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def assert_accessible(root, order):
    """Every picture has a text, every link and label leads somewhere, parts are in their order."""
    names = [e.attributes["id"] for e in root.elements() if "id" in e.attributes]
    assert len(names) == len(set(names))
    for element in root.elements():
        target = element.attributes.get("href", f"#{names[0]}")
        assert target[0] != "#" or target[1:] in names
        assert element.attributes.get("aria-labelledby", names[0]) in names
        if element.tag == "img":
            assert element.attributes["alt"].strip()
        if element.tag == "svg" and element.attributes.get("aria-hidden") != "true":
            assert element.attributes["role"] == "img"
            assert element.attributes["aria-label"].strip()
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("title").text == root.one("h1").text
    parts = [part.attributes["id"] for part in root.all("section")]
    assert parts == [part for part in order if part in parts]
    levels = [int(e.tag[1]) for e in root.elements() if e.tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


@pytest.fixture(scope="session")
def parsed():
    """Read HTML into a tree."""
    return parse


@pytest.fixture
def read_report():
    """Read a report, after a look at what must be true of all of them."""

    def read(path: Path, order=ORDER):
        root = parse(path.read_bytes().decode("utf-8"))
        assert_safe(root)
        assert_accessible(root, order)
        return root

    return read


@pytest.fixture
def place(tmp_path, sample, random_model, random_embedder, catalogue):
    """A folder with a model, an index, its catalogue and photos."""
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    shutil.copytree(random_model, tmp_path / "items.model")
    items = {
        item: tuple(str(tmp_path / Path(photo).relative_to(sample)) for photo in photos)
        for item, photos in catalogue.items.items()
    }
    own = Catalogue(tmp_path / "catalogue", items)
    build_index(own, random_embedder, tmp_path / "items.index")
    return tmp_path


@pytest.fixture
def ids(sample):
    """The candidates of the sample."""
    lines = (sample / "ids.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def report(embed, place, read_report):
    """Run `embed match --report`; gives the report, and what JSON says of the same match."""

    def run(candidates, *arguments):
        options = ("--candidates", "-", "--format", "json", "--report", "report.html")
        done = embed("match", *options, *arguments, input="\n".join(candidates))
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "report.html: the report, to be opened in a browser"
        return read_report(place / "report.html"), json.loads(done.stdout)

    return run
