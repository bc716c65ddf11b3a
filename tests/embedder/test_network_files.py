"""Networks of others in one file, against the same network by NumPy."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from networks import DIM, SIZE, WEIGHTS, embedded, save_litert, save_onnx
from onnx import TensorProto

from embedder import Embedder, ModelError, PhotoError
from embedder.network_files import read_network
from embedder.photos import prepare
from embedder.verifying import fingerprint_of, model_problems


@pytest.fixture(scope="module")
def photos(catalogue):
    return list(catalogue.paths())[:20]


@pytest.fixture(scope="module")
def pixels(photos):
    return np.stack([prepare(photo, SIZE) for photo in photos])


@pytest.fixture(scope="module")
def litert(tmp_path_factory):
    return save_litert(tmp_path_factory.mktemp("litert") / "tiny.tflite")


@pytest.fixture
def onnx(tmp_path):
    return save_onnx(tmp_path / "tiny.onnx")


def prepared(path, document):
    path.with_name(f"{path.name}.json").write_text(json.dumps(document))
    return path


def vectors_of(path, photos):
    return np.stack(list(Embedder.open(path).embed(photos)))


def refusal(path):
    with pytest.raises(ModelError) as caught:
        Embedder.open(path).embed_pixels(np.full((SIZE, SIZE, 3), 90, np.uint8))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("kind", ["floats", "bytes", "colours first", "one photo", "LiteRT"])
def test_vectors_are_those_of_the_network_at_unit_norm(kind, photos, pixels, tmp_path, litert):
    options = {
        "floats": {},
        "bytes": {"dtype": TensorProto.UINT8},
        "colours first": {"shape": ("n", 3, SIZE, SIZE)},
        "one photo": {"shape": (1, SIZE, SIZE, 3), "output": (1, DIM)},
    }
    path = litert if kind == "LiteRT" else save_onnx(tmp_path / "a.onnx", **options[kind])
    found = vectors_of(path, photos)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, embedded(pixels), atol=1e-5)
    info = Embedder.open(path).info
    assert (info.architecture.size, info.architecture.dim) == (SIZE, DIM)


@pytest.mark.parametrize(
    "document",
    [
        {"mean": 127.5, "scale": 1 / 127.5},
        {"mean": [123.675, 116.28, 103.53], "scale": [0.0171, 0.0175, 0.0174]},
        {"scale": 0.003921568},
        {},
    ],
)
def test_pixels_are_prepared_as_the_file_beside_it_says(document, photos, pixels, litert, tmp_path):
    expected = embedded(pixels, **document)
    for path in (save_onnx(tmp_path / "a.onnx"), shutil.copy(litert, tmp_path / "a.tflite")):
        np.testing.assert_allclose(
            vectors_of(prepared(path, document), photos), expected, atol=1e-5
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantised_networks_take_and_give_what_their_numbers_stand_for(
    dtype, photos, pixels, tmp_path
):
    plain = save_litert(tmp_path / "plain.tflite", dtype)
    cosines = (vectors_of(plain, photos) * embedded(pixels)).sum(axis=1)
    assert cosines.min() > 0.99
    half = save_litert(tmp_path / "half.tflite", dtype, 127.5, 1 / 127.5)
    assert "as it is quantised, found 0 to 255" in refusal(half)
    prepared(half, {"mean": 127.5, "scale": 1 / 127.5})
    expected = embedded(pixels, 127.5, 1 / 127.5)
    assert (vectors_of(half, photos) * expected).sum(axis=1).min() > 0.99


def test_threads_change_nothing(photos, litert, onnx):
    for path in (litert, onnx):
        embedder = Embedder.open(path)
        one, many = (np.stack(list(embedder.embed(photos * 3, jobs=jobs))) for jobs in (1, 4))
        np.testing.assert_array_equal(one, many)


def test_another_process_needs_no_file(photos, litert, onnx, tmp_path):
    for path in (litert, onnx):
        moved = tmp_path / f"moved-{path.name}"
        shutil.copy(path, moved)
        here = Embedder.open(moved)
        expected = np.stack(list(here.embed(photos)))  # it has loaded the network
        there = pickle.loads(pickle.dumps(here))
        moved.unlink()
        np.testing.assert_array_equal(np.stack(list(there.embed(photos, jobs=2))), expected)
        assert there.info.fingerprint == here.info.fingerprint


def test_the_fingerprint_is_of_the_file_and_the_preparation(onnx, tmp_path, litert):
    plain = fingerprint_of(onnx)
    assert len(plain) == 64
    assert Embedder.open(onnx).info.fingerprint == plain
    moved = shutil.copy(onnx, tmp_path / "other.onnx")
    assert fingerprint_of(moved) == plain
    assert fingerprint_of(prepared(moved, {"mean": 0, "scale": [1, 1, 1]})) == plain
    others = {fingerprint_of(prepared(moved, {"mean": mean})) for mean in (1, [1, 0, 0])}
    others.add(fingerprint_of(save_onnx(tmp_path / "a.onnx", weights=WEIGHTS + 1)))
    others.add(fingerprint_of(litert))
    assert len(others | {plain}) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": 2}, "expected one square photo in"),
        ({"shape": ("n", SIZE, 6, 4)}, "found float32 (?, 8, 6, 4)"),
        ({"shape": ("n", "side", "side", 3)}, "found float32 (?, ?, ?, 3)"),
        ({"shape": (2, SIZE, SIZE, 3), "output": (2, DIM)}, "found float32 (2, 8, 8, 3)"),
        ({"shape": ("n", SIZE * SIZE * 3)}, "found float32 (?, 192)"),
        ({"dtype": TensorProto.FLOAT16}, "found tensor(float16) (?, 8, 8, 3)"),
        ({"dtype": TensorProto.INT8}, "found tensor(int8) (?, 8, 8, 3)"),
        ({"weights": np.zeros((SIZE, SIZE, 3, 5000), np.float32), "output": (1, 5000)}, "one vec"),
        ({"weights": 0 * WEIGHTS}, "gives zeros or no numbers"),
        ({"weights": np.nan * WEIGHTS}, "gives zeros or no numbers"),
    ],
)
def test_other_networks_are_refused(options, said, tmp_path):
    assert said in refusal(save_onnx(tmp_path / "a.onnx", **options))


def test_what_is_no_network_is_refused(tmp_path, onnx, litert):
    for path in (onnx, shutil.copy(litert, tmp_path / "a.tflite")):
        content = path.read_bytes()
        for changed in (b"", b"rubbish", content[:100], content[: len(content) // 2]):
            path.write_bytes(changed)
            assert "cannot be loaded" in refusal(path)
    assert "expected a model folder, or a network as a .tflite or .onnx file, found none" in (
        refusal(tmp_path / "none.onnx")
    )
    (tmp_path / "net.pb").touch()
    assert "found another file" in refusal(tmp_path / "net.pb")


def test_weights_in_another_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for them
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = save_onnx(tmp_path / "a.onnx", **options)
    assert (tmp_path / "weights.bin").is_file()
    assert "cannot be loaded" in refusal(path)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([1], "expected {"),
        ({"std": 1}, "expected {"),
        ({"mean": "127.5"}, "expected 'mean' as a number, or three"),
        ({"mean": [1, 2]}, "expected 'mean' as a number, or three"),
        ({"mean": [1, 2, None]}, "expected 'mean' as a number, or three"),
        ({"mean": float("nan")}, "expected 'mean' as a number, or three"),
        ({"scale": True}, "expected 'scale' as a number, or three"),
        ({"scale": [1, 0, 1]}, "expected a scale other than 0"),
    ],
)
def test_what_is_no_preparation_is_refused(document, said, onnx):
    assert said in refusal(prepared(onnx, document))


def test_a_file_beside_it_that_is_no_json_is_refused(onnx, tmp_path):
    beside = tmp_path / "tiny.onnx.json"
    for content in (b"{", b"\xff", b"[" * 30_000, b" " * 100_000):
        beside.write_bytes(content)
        assert "cannot be read" in refusal(onnx)
    beside.unlink()
    beside.mkdir()
    assert "expected a file, found a folder" in refusal(onnx)


def test_a_network_that_takes_bytes_takes_no_preparation(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", dtype=TensorProto.UINT8)
    assert "takes pixels as they are" in refusal(prepared(path, {"mean": 127.5}))


def test_a_network_is_tried_in_a_process_of_its_own(onnx, litert, tmp_path):
    assert model_problems(onnx) == model_problems(litert) == []
    assert read_network(onnx).preparation.mean == (0, 0, 0)
    broken = save_onnx(tmp_path / "broken.onnx", weights=np.nan * WEIGHTS)
    (said,) = model_problems(broken)
    assert "gives zeros or no numbers" in said
    broken.write_bytes(b"rubbish")
    (said,) = model_problems(broken)
    assert "cannot be loaded" in said


@pytest.mark.skipif(os.name == "nt", reason="signals have no names there")
def test_a_crash_of_onnxruntime_is_an_error_that_names_the_file(onnx, tmp_path, monkeypatch):
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "onnxruntime.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand-in"))
    (said,) = model_problems(onnx)
    assert said.startswith(f"{onnx}: ")
    assert "crashes (SIGABRT)" in said


def test_without_onnxruntime_the_extra_is_named(onnx, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('no onnxruntime')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from embedder import Embedder, MissingExtraError\n"
        "try:\n    Embedder.open(sys.argv[2])\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path, onnx]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "'embed-match[onnx]'" in done.stdout


def test_a_photo_that_gives_zeros_does_not_stop_the_others(onnx):
    photos = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    photos[1, 2:5] = 200
    black, seen = Embedder.open(onnx).embed(list(photos))
    assert isinstance(black, PhotoError) and black.photo == "photo 1"
    assert "gives zeros or no numbers" in black.reason
    np.testing.assert_allclose(seen, embedded(photos[1:])[0], atol=1e-5)
