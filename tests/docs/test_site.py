"""The site: it builds without a warning, loads nothing from elsewhere, and says what is so."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pytest

import embedder
import index
from embedder.model_files import Architecture, ModelInfo, write_model_info
from index.kept_photos import _TABLES as KEPT
from index.parts import PARTS
from index.results import COLUMNS, Alternative, Match
from index.schema import _TABLES as TABLES
from index.schema import IndexInfo

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    options = ("--quiet", "--fail-on-warning", "--keep-going")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """Collects the addresses that a browser fetches by itself, and where links lead."""

    def __init__(self):
        super().__init__()
        self.addresses, self.links = [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "src" in found:
            self.addresses.append(found["src"])
        if tag == "link" and found["rel"] not in ("search", "index", "next", "prev", "canonical"):
            self.addresses.append(found["href"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


def test_pages_load_nothing_from_elsewhere_and_links_lead_to_files(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        for address in loaded.addresses:
            assert "//" not in address
            assert (page.parent / address.split("?")[0]).is_file(), address
        for link in loaded.links:
            if "//" not in link and not link.startswith(("#", "mailto:")):
                assert (page.parent / link.split("#")[0]).is_file(), f"{page.name}: {link}"


def test_every_page_is_in_a_list_of_the_first_one(site):
    first = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert f"{page.relative_to(DOCS).with_suffix('.html')}" in first or page.name == "index.md"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_between_files_lead_somewhere_without_a_site_too(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).is_file(), target


def test_the_reference_of_the_command_line_is_current(docs_script):
    page = docs_script("cli_reference")
    assert page.PAGE.read_text(encoding="utf-8") == page.reference(), (
        "docs/reference/cli.md is out of date: run 'make reference'"
    )


@pytest.mark.parametrize("package", [embedder, index], ids=lambda package: package.__name__)
def test_everything_exported_is_in_the_reference(package):
    text = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    described = set(re.findall(rf"(?::: |`){package.__name__}\.(\w+)", text))
    assert set(package.__all__) - {"__version__"} <= described


def columns(tables):
    """Of the CREATE statements of a database: tables and columns."""
    for sql in tables:
        if sql.startswith("CREATE TABLE"):
            name, body = sql.removeprefix("CREATE TABLE ").split(" (", 1)
            yield name
            yield from re.findall(r"(?:^|,)\s*([a-z_]+) (?=[A-Z])", body)


def test_formats_name_every_field_table_and_column(tmp_path):
    write_model_info(tmp_path, ModelInfo(Architecture(), 0.1))
    description = json.loads((tmp_path / "model.json").read_text())
    wanted = {field.name for kind in (Match, Alternative, Architecture) for field in fields(kind)}
    wanted |= {*COLUMNS, *description, *description["architecture"], *PARTS}
    wanted |= {*columns(TABLES), *columns(KEPT), *(field.name for field in fields(IndexInfo))}
    assert {"spreads", "signature", "digest", "held_out"} - wanted == {"held_out"}
    text = (DOCS / "reference" / "formats.md").read_text(encoding="utf-8")
    assert wanted - set(re.findall(r"`(\w+)`", text)) - {"photos"} == set()


def python_blocks():
    for page in sorted(DOCS.rglob("*.md")):
        for number, code in enumerate(
            re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        ):
            yield pytest.param(code, id=f"{page.stem}-{number}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample, random_model, random_embedder):
    """What the examples of the pages take for granted."""
    place = tmp_path_factory.mktemp("examples")
    shutil.copytree(random_model, place / "items.model")
    items = sorted((sample / "catalogue").iterdir())
    for item, name in zip(items, ("sku-1", "sku-2", "sku-7"), strict=False):
        shutil.copytree(item, place / "catalogue" / name)
    catalogue = embedder.read_catalogue(place / "catalogue")
    index.build_index(catalogue, random_embedder, place / "items.index")
    for item, name in zip(items, "abc", strict=False):
        shutil.copy(item / "0001.jpg", place / f"{name}.jpg")
    return place


@pytest.mark.parametrize("code", list(python_blocks()))
def test_examples_in_python_run(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    pytest.importorskip("pandas")
    exec(compile(code, "example", "exec"), {})
