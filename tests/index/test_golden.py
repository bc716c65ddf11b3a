"""Files of every version that was given to users: they open, and say what they said then."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from embedder import Embedder, IndexFileError, ModelError, read_catalogue
from embedder.model_files import read_model_info
from index import Matcher, build_index, verify_index
from index.calibration import read_calibration
from index.store import Store

GOLDEN = Path(__file__).parent.parent / "golden"
VERSIONS = sorted(path for path in GOLDEN.iterdir() if (path / "expected.json").exists())


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def golden(request, tmp_path):
    """A copy: nothing may change the files."""
    return Path(shutil.copytree(request.param, tmp_path / "golden"))


@pytest.fixture
def expected(golden):
    return json.loads((golden / "expected.json").read_text(encoding="utf-8"))


def test_there_are_golden_files():
    assert VERSIONS


def test_the_index_says_what_it_said(golden, expected):
    with Store.open(golden / "items.index") as store:
        info = {**vars(store.info), "catalogue": "", "created": ""}
        assert info == expected["info"]
        assert (read_calibration(store) is not None) == expected["calibrated"]
        ids = list(store.ids())
        rows, references = store.statistics(ids), store.references(ids)
        assert ids == list(expected["items"])
        for item, (vector, photos, dispersion, reference) in expected["items"].items():
            np.testing.assert_array_equal(rows[item].vector(), np.float32(vector))
            assert (rows[item].photos, rows[item].dispersion) == (photos, dispersion)
            assert references[item] == Path(store.info.catalogue) / reference
        assert [error.reason for error in store.unreadable()] == expected["unreadable"]
    assert verify_index(golden / "items.index").problems == ()


def test_the_model_gives_the_same_vectors_and_matches(golden, expected):
    photos = sorted((golden / "photos").iterdir())
    with Matcher.open(golden / "items.index") as matcher:
        assert matcher.embedder.info.fingerprint == expected["fingerprint"]
        assert matcher.embedder.held_out().items
        vectors = np.stack(list(matcher.embedder.embed(photos)))
        np.testing.assert_allclose(vectors, expected["vectors"], atol=1e-4)
        given = np.array(expected["vectors"])
        found = matcher.match_vectors(
            given, list(expected["items"]), names=[photo.name for photo in photos]
        )
    for match, before in zip(found, expected["matches"]["matches"], strict=True):
        now = match.to_dict()
        for name, value in before.items():
            if isinstance(value, float):
                assert now[name] == pytest.approx(value, abs=1e-4), name
            elif isinstance(value, str):
                assert now[name] == value


def test_an_index_of_it_is_brought_up_to_date_without_losing_what_was_added(golden, expected):
    embedder = Embedder.open(golden / "items.model")
    (golden / "catalogue" / "new").mkdir(parents=True)
    shutil.copy2(min((golden / "photos").iterdir()), golden / "catalogue" / "new")
    build_index(read_catalogue(golden / "catalogue"), embedder, golden / "items.index")
    with Store.open(golden / "items.index") as store:
        assert list(store.ids()) == ["by hand, 1", "new"]
        vector = expected["items"]["by hand, 1"][0]
        np.testing.assert_array_equal(store.centroids(["by hand, 1"])[0][0], np.float32(vector))


def test_a_model_with_any_other_byte_is_not_that_of_the_index(golden):
    path = golden / "items.model" / "model.tflite"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.tflite: expected SHA-256"):
        Embedder.open(golden / "items.model")
    document = json.loads((golden / "items.model" / "model.json").read_text())
    changed = read_model_info(golden / "items.model").sha256["model.tflite"]
    document["sha256"]["model.tflite"] = changed[:-1] + ("0" if changed[-1] != "0" else "1")
    path.write_bytes(content)
    (golden / "items.model" / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"model\.tflite: expected SHA-256"):
        Embedder.open(golden / "items.model")


@pytest.mark.parametrize("name", ["size", "alpha", "backbone", "dim"])
def test_an_index_with_a_model_described_otherwise_is_refused(golden, name):
    path = golden / "items.model" / "model.json"
    document = json.loads(path.read_text())
    other = {"size": 33, "alpha": 0.25, "backbone": "compact", "dim": 9}
    document["architecture"][name] = other[name]
    path.write_text(json.dumps(document))
    with (
        Matcher.open(golden / "items.index") as matcher,
        pytest.raises(ModelError, match="built with another model"),
    ):
        matcher.match(["no photo"], ["by hand, 1"])


def test_files_of_a_later_version_ask_for_an_upgrade(golden):
    path = golden / "items.model" / "model.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "schema_version": 99}))
    with pytest.raises(ModelError, match="newer version of embed; upgrade"):
        Embedder.open(golden / "items.model")
    content = bytearray((golden / "items.index").read_bytes())
    content[60:64] = (50).to_bytes(4, "big")
    (golden / "items.index").write_bytes(content)
    with pytest.raises(IndexFileError, match=r"found 50.*upgrade"):
        Store.open(golden / "items.index")
