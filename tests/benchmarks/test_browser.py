"""The JavaScript of docs/mobile.md in Chromium, where there is one: vectors as `Embedder` has them.

onnxruntime-web comes from npm; where that is not to be had, nothing is tested.
"""

import os
import shutil

import browser
import numpy as np
import pytest
from PIL import Image

from embedder import Embedder
from embedder.export import export_model


def missing(what):
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, browser.BROWSERS)), None)
    return found or missing(f"none of {', '.join(browser.BROWSERS)} is installed")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    if shutil.which("npm") is None:
        missing("npm is not installed")
    try:
        return browser.fetch_runtime(tmp_path_factory.mktemp("npm"))
    except OSError as error:
        missing(str(error))


@pytest.fixture
def photos(sample, tmp_path):
    """A photo as it is, one on its side with EXIF, a wide one, one that is transparent in part."""
    plain = next((sample / "photos").iterdir())
    with Image.open(plain) as opened:
        image = opened.convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.crop((0, 20, 300, 240)).save(tmp_path / "side.jpg", exif=exif, quality=95)
    image.crop((0, 100, 300, 201)).save(tmp_path / "wide.png")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "glass.webp", lossless=True)
    return [plain, *(tmp_path / name for name in ("side.jpg", "wide.png", "glass.webp"))]


def test_the_code_of_the_page_embeds_as_the_embedder_does(chromium, runtime, trained_model, photos):
    model = export_model(trained_model, "onnx", "float32").content
    contents = [path.read_bytes() for path in photos]
    found, _ = browser.embed_in_browser(chromium, runtime, model, contents)
    expected = np.stack(list(Embedder.open(trained_model).embed(photos)))
    assert found.shape == expected.shape
    assert (found * expected).sum(axis=1).min() >= 0.999


def test_the_page_makes_large_jpegs_smaller_as_the_embedder_does(
    chromium, runtime, trained_model, sample
):
    drawn_of = sorted((sample / "photos").iterdir())
    # Sides that no block divides; the wide one is made smaller by whole numbers twice.
    contents = [
        *browser.draw_large(drawn_of, (1001, 777), seed=0),
        *browser.draw_large(drawn_of, (3001, 700), seed=1),
    ]
    model = export_model(trained_model, "onnx", "float32").content
    found, _ = browser.embed_in_browser(chromium, runtime, model, contents)
    expected = np.stack(list(Embedder.open(trained_model).embed(contents)))
    assert (found * expected).sum(axis=1).min() >= 0.999


def test_what_goes_wrong_in_the_browser_is_told(chromium, runtime):
    with pytest.raises(OSError, match=r"chrom\w+: .*protobuf"):
        browser.embed_in_browser(chromium, runtime, b"no model", [b""])
