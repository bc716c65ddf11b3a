"""The Python client of the documentation, as it stands there."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "serve.md"


@pytest.fixture(scope="module")
def match():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(code, PAGE.name, "exec"), names)
    return names["match"]


def test_it_matches(match, server, sample):
    truth = dict(line.split(",") for line in (sample / "truth.csv").read_text().split()[1:])
    photos = sorted((sample / "photos").iterdir())
    found = match(server.url, photos, [item for item in truth.values() if item])
    right = [one["item_id"] == truth[photo.name] for one, photo in zip(found, photos, strict=True)]
    assert sum(right) >= len(right) - 1
    assert all(0 <= one["confidence"] <= 1 and one["status"] != "unreadable" for one in found)


def test_it_says_what_is_wrong(match, server, sample):
    photos = sorted((sample / "photos").iterdir())[:1]
    with pytest.raises(ValueError, match=r"^no such item: 'sku-00001' .*sku-0000"):
        match(server.url, photos, ["sku-00001"])
