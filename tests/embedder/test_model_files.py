"""Tests of the model folder: what is written is read again, and damage is named in one line."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from embedder import ModelError
from embedder.model_files import (
    LITERT,
    MODEL_JSON,
    PREPROCESSING,
    SCHEMA_VERSION,
    WEIGHTS,
    Architecture,
    ModelInfo,
    read_checked,
    read_model_info,
    write_model_info,
)

CONTENT = b"a network"
INFO = ModelInfo(
    Architecture("MobileNet", 0.25, 64, 10),
    0.07,
    {"items": 3, "versions": {"embed": "0"}, "source": "Süß"},
    {LITERT: hashlib.sha256(CONTENT).hexdigest(), WEIGHTS: "0" * 64},
    0.03,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model_info(tmp_path, INFO)
    (tmp_path / LITERT).write_bytes(CONTENT)
    return tmp_path


def refusal(read: Callable[[], object], path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("architecture", [INFO.architecture, Architecture()])
def test_what_is_written_is_read_again(tmp_path: Path, architecture: Architecture):
    info = replace(INFO, architecture=architecture)
    write_model_info(tmp_path, info)
    assert read_model_info(tmp_path) == info


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe{}", "JSON"),
        (b"[]", "schema version"),
        (b"null", "schema version"),
        (b"{}", "schema version"),
        (b'{"schema_version": "1"}', "schema version"),
        (b'{"schema_version": 0}', "schema version"),
        (b'{"schema_version": 1}', "preprocessing"),
        (b'{"schema_version": 1, "preprocessing": {"version": 0}}', "train again"),
        (b"[" * 200_000, "JSON"),
        (b'{"schema_version": true}', "schema version"),
        (b'{"schema_version": 1, "preprocessing": "a\\nb"}', "train again"),
        (b'{"schema_version": "' + b"x" * 5000 + b'"}', "schema version"),
        (b" " * (1 << 20) + b"{}", "at most 1,048,576 bytes"),
    ],
)
def test_other_content_is_refused(model: Path, content: bytes, said: str):
    (model / MODEL_JSON).write_bytes(content)
    assert said in refusal(lambda: read_model_info(model), model / MODEL_JSON)


def test_a_newer_version_asks_for_an_upgrade(model: Path):
    document = {"schema_version": SCHEMA_VERSION + 1, "architecture": "something new"}
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert "upgrade" in refusal(lambda: read_model_info(model), model / MODEL_JSON)


@pytest.mark.parametrize("key", ["architecture", "temperature", "training", "sha256"])
@pytest.mark.parametrize("value", ["missing", None, "text", 7, [1, 2]])
def test_a_missing_or_wrong_part_is_refused(model: Path, key: str, value: object):
    if key == "temperature" and value == 7:
        value = "7"
    document = json.loads((model / MODEL_JSON).read_text())
    document[key] = value
    if value == "missing":
        del document[key]
    (model / MODEL_JSON).write_text(json.dumps(document))
    refusal(lambda: read_model_info(model), model / MODEL_JSON)


@pytest.mark.parametrize("key", ["temperature", "whitened_temperature"])
@pytest.mark.parametrize(
    "temperature", [0, -0.1, float("nan"), float("inf"), 10**400, True, "0.1", []]
)
def test_a_temperature_that_cannot_divide_is_refused(model: Path, key: str, temperature: object):
    document = json.loads((model / MODEL_JSON).read_text())
    document[key] = temperature
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert key in refusal(lambda: read_model_info(model), model / MODEL_JSON)


def test_a_model_from_before_whitening_is_not_whitened(model: Path):
    document = json.loads((model / MODEL_JSON).read_text())
    del document["whitened_temperature"]
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert read_model_info(model) == replace(INFO, whitened_temperature=None)


def test_a_model_from_before_there_were_poolings_is_the_same_model(model: Path):
    document = json.loads((model / MODEL_JSON).read_text())
    del document["architecture"]["pooling"]
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert read_model_info(model) == INFO
    # As it was computed before architectures had a pooling: indexes of that time stay valid.
    old = {name: value for name, value in asdict(INFO.architecture).items() if name != "pooling"}
    parts = {"architecture": old, "preprocessing": PREPROCESSING, "litert": INFO.sha256[LITERT]}
    text = json.dumps(parts, sort_keys=True)
    assert INFO.fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone", 3),
        ("alpha", "wide"),
        ("alpha", True),
        ("alpha", float("nan")),
        ("alpha", -0.25),
        ("size", 0),
        ("size", 96.0),
        ("size", True),
        ("size", 10**9),
        ("dim", -1),
        ("dim", None),
        ("pooling", "max"),
        ("extra", 1),
    ],
)
def test_a_wrong_architecture_is_refused(model: Path, key: str, value: object):
    document = json.loads((model / MODEL_JSON).read_text())
    document["architecture"][key] = value
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert key in refusal(lambda: read_model_info(model), model / MODEL_JSON)


@pytest.mark.parametrize("name", [LITERT, WEIGHTS])
@pytest.mark.parametrize("value", ["abc", None, 5, "g" * 64, "A" * 64, "٣" * 64])
def test_a_wrong_checksum_is_refused(model: Path, name: str, value: object):
    document = json.loads((model / MODEL_JSON).read_text())
    document["sha256"][name] = value
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert name in refusal(lambda: read_model_info(model), model / MODEL_JSON)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "other.bin"])
def test_a_checksum_of_any_other_file_is_refused(model: Path, name: str):
    document = json.loads((model / MODEL_JSON).read_text())
    document["sha256"][name] = "0" * 64
    (model / MODEL_JSON).write_text(json.dumps(document))
    assert "files of sha256" in refusal(lambda: read_model_info(model), model / MODEL_JSON)


@pytest.mark.parametrize("name", ["gone", "."])
def test_no_model_says_how_to_get_one(tmp_path: Path, name: str):
    folder = tmp_path / name
    assert "embed train" in refusal(lambda: read_model_info(folder), folder)


def test_a_file_in_place_of_the_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    assert "found a file" in refusal(lambda: read_model_info(tmp_path / "file"), tmp_path / "file")


def test_an_unchanged_file_is_read(model: Path):
    assert read_checked(model, LITERT, INFO) == CONTENT


@pytest.mark.parametrize("content", [b"A network", CONTENT[:-1], CONTENT + b"\0", b""])
def test_a_changed_file_is_refused(model: Path, content: bytes):
    (model / LITERT).write_bytes(content)
    assert "damaged" in refusal(lambda: read_checked(model, LITERT, INFO), model / LITERT)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", [MODEL_JSON, LITERT])
def test_a_pipe_or_a_device_is_refused_instead_of_read(model: Path, name: str):
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        if (path := model / name).is_dir():
            path.rmdir()
        else:
            path.unlink()
        make(path)
        read = partial(read_checked, model, name, INFO)
        said = refusal(partial(read_model_info, model) if name == MODEL_JSON else read, path)
        assert "expected a file" in said


def test_a_file_too_large_to_be_held_is_refused_instead_of_read(model: Path):
    with (model / LITERT).open("wb") as file:
        file.truncate(1 << 40)  # it has no content and takes no room
    assert "at most" in refusal(lambda: read_checked(model, LITERT, INFO), model / LITERT)


def test_a_missing_file_is_named(model: Path):
    refusal(lambda: read_checked(model, WEIGHTS, INFO), model / WEIGHTS)


def test_fingerprint_changes_only_with_what_changes_embeddings():
    same = replace(
        INFO,
        temperature=1.0,
        whitened_temperature=None,
        training={},
        sha256={**INFO.sha256, WEIGHTS: "1" * 64},
    )
    assert same.fingerprint == INFO.fingerprint
    others = [
        replace(INFO, sha256={**INFO.sha256, LITERT: "1" * 64}),
        *(
            replace(INFO, architecture=replace(INFO.architecture, **change))
            for change in (
                {"backbone": "compact"},
                {"alpha": None},
                {"size": 65},
                {"dim": 11},
                {"pooling": "gem"},
            )
        ),
    ]
    prints = {info.fingerprint for info in (INFO, *others)}
    assert len(prints) == len(others) + 1
    assert all(len(each) == 64 and int(each, 16) >= 0 for each in prints)


def test_described_preprocessing_is_what_photos_go_through():
    from embedder.photos import FILL

    assert tuple(PREPROCESSING["fill"]) == FILL
