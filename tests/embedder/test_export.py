"""Exports of a model: what they take and give, how far they agree, and what cannot be exported."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from embedder import Catalogue, Embedder, ExportError, ModelError, read_catalogue
from embedder.export import NOTE, drawn_evenly, export_model
from embedder.photos import prepare

KINDS = [("tflite", "float32"), ("tflite", "float16"), ("tflite", "int8"), ("onnx", "float32")]
SIZE, DIM = 64, 100


@pytest.fixture(scope="module")
def exported(trained_model, catalogue):
    return {kind: export_model(trained_model, *kind, catalogue) for kind in KINDS}


@pytest.fixture(scope="module")
def photos(sample):
    """Prepared photos that neither training nor calibration saw."""
    return [prepare(path, SIZE) for path in sorted((sample / "photos").iterdir())]


def vectors_of(content, kind, photos):
    """What a file gives, run as somebody without this package would."""
    if kind == "onnx":
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return np.stack([session.run(None, {"photos": pixels[None]})[0][0] for pixels in photos])
    interpreter = Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    return np.stack([run(photos=pixels[None])["output_0"][0] for pixels in photos])


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_file_gives_what_the_model_gives(exported, trained_model, photos, kind):
    expected = np.stack(list(Embedder.open(trained_model).embed(photos)))
    found = vectors_of(exported[kind].content, kind[0], photos)
    assert found.shape == (len(photos), DIM)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    cosines = (found * expected).sum(axis=1)
    assert cosines.min() > {"float32": 0.99999, "float16": 0.9999, "int8": 0.99}[kind[1]]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_what_is_said_of_a_file_is_so(exported, kind, catalogue):
    found = exported[kind]
    assert (found.format, found.precision) == kind
    assert found.size == len(found.content)
    assert found.calibrated == (72 if kind[1] == "int8" else 0)
    assert found.calibrated + found.compared == catalogue.photo_count
    assert found.from_photos
    assert found.unreadable == ()
    assert 0.99 < found.lowest_cosine <= found.mean_cosine < 1.000001


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_litert_takes_one_photo_of_bytes(exported, precision):
    interpreter = Interpreter(model_content=exported["tflite", precision].content)
    (taken,), (given) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["dtype"] == np.uint8
    assert taken["shape"].tolist() == [1, SIZE, SIZE, 3]
    assert [of["dtype"] for of in given] == [np.float32]
    assert given[0]["shape"].tolist() == [1, DIM]


def test_onnx_takes_any_number_of_photos(exported, photos):
    content = exported["onnx", "float32"].content
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("photos", "tensor(uint8)", [64, 64, 3])
    assert (given.name, given.type, given.shape[1:]) == ("vectors", "tensor(float)", [DIM])
    (together,) = session.run(None, {"photos": np.stack(photos)})
    np.testing.assert_allclose(together, vectors_of(content, "onnx", photos), atol=1e-5)


def kernels(content):
    """The weights of convolutions and of the layer that gives the embedding."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph, wanted = model.subgraphs[0], schema.BuiltinOperator
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    for operator in graph.operators:
        code = codes[operator.opcodeIndex]
        if code in (wanted.CONV_2D, wanted.DEPTHWISE_CONV_2D, wanted.FULLY_CONNECTED):
            yield graph.tensors[operator.inputs[0]], graph.tensors[operator.inputs[1]]


def test_int8_has_weights_of_8_bits_by_channel(exported):
    found = list(kernels(exported["tflite", "int8"].content))
    assert len(found) == 7
    for _, kernel in found:
        assert kernel.type == schema.TensorType.INT8
        assert len(kernel.quantization.scale) == kernel.shape[0] > 1
        assert kernel.quantization.quantizedDimension == 0
        assert not np.any(kernel.quantization.zeroPoint)
    *convolutions, (last, _) = found
    assert {photo.type for photo, _ in convolutions} == {schema.TensorType.INT8}
    assert last.type == schema.TensorType.FLOAT32


def test_files_are_as_small_as_their_numbers(exported):
    sizes = {kind[1]: exported[kind].size for kind in KINDS if kind[0] == "tflite"}
    assert sizes["float16"] < 0.52 * sizes["float32"]
    # Of the default network: half a megabyte is what a phone should have to load.
    assert sizes["int8"] <= 500_000


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_file_names_the_model_it_is_of(exported, trained_model, kind):
    content = exported[kind].content
    if kind[0] == "onnx":
        notes = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
        note = notes[NOTE]
    else:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        (entry,) = [entry for entry in model.metadata if entry.name == NOTE.encode()]
        note = bytes(model.buffers[entry.buffer].data)
    said = json.loads(note)
    assert said["model"] == Embedder.open(trained_model).info.fingerprint
    assert (said["size"], said["dim"], said["precision"]) == (SIZE, DIM, kind[1])
    assert said["preprocessing"]["fill"] == [124, 116, 104]


def test_pooling_and_depthwise_kernels_survive_8_bits(save_random_model, catalogue):
    from embedder.model_files import Architecture, ModelInfo

    architecture = Architecture("MobileNet", 0.25, 32, pooling="gem")
    model = save_random_model(ModelInfo(architecture, 0.1), 3)
    found = export_model(model, "tflite", "int8", catalogue)
    assert found.mean_cosine > 0.99
    depthwise = [k for _, k in kernels(found.content) if k.shape[0] == 1]
    assert len(depthwise) == 13
    for kernel in depthwise:
        assert len(kernel.quantization.scale) == kernel.shape[3]
        assert kernel.quantization.quantizedDimension == 3


def test_without_photos_noise_says_whether_it_went_well(random_model):
    found = export_model(random_model, "tflite", "float16")
    assert not found.from_photos
    assert found.compared > 1
    assert found.lowest_cosine > 0.999


def test_a_file_that_does_not_agree_is_refused(random_model, other_model, catalogue, monkeypatch):
    other = (other_model / "model.tflite").read_bytes()
    monkeypatch.setattr("embedder.export.as_float16", lambda _: other)
    with pytest.raises(ExportError, match=r"expected float16 to agree .* found [-0-9.]+: export"):
        export_model(random_model, "tflite", "float16", catalogue)


def test_photos_that_cannot_be_read_are_left_out(random_model, catalogue, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    items = {**catalogue.items, "bad": (str(tmp_path / "bad.jpg"), str(tmp_path / "none.jpg"))}
    found = export_model(random_model, "tflite", "int8", replace(catalogue, items=items))
    reasons = {error.reason for error in found.unreadable}
    assert reasons == {"not an image that can be read", "no such file"}
    assert found.calibrated + found.compared == catalogue.photo_count


def test_what_cannot_be_exported_is_told(random_model, catalogue, tmp_path):
    with pytest.raises(ExportError, match="expected photos to calibrate int8 with, found none"):
        export_model(random_model, "tflite", "int8")
    with pytest.raises(ExportError, match="expected float32 for ONNX, found int8"):
        export_model(random_model, "onnx", "int8", catalogue)
    few = Catalogue(catalogue.source, dict(list(catalogue.items.items())[:1]))
    with pytest.raises(ExportError, match=r"expected at least 20 photos .* found 12"):
        export_model(random_model, "tflite", "int8", few)
    with pytest.raises(ModelError, match="expected a model folder"):
        export_model(tmp_path / "none.model", "tflite", "float16")


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    most=st.integers(1, 40),
)
def test_photos_are_drawn_evenly_over_items(counts, most):
    items = {f"{n}": tuple(f"{n}/{k}" for k in range(count)) for n, count in enumerate(counts)}
    drawn = drawn_evenly(Catalogue(None, items), most)
    assert len(drawn) == len(set(drawn)) == min(most, sum(counts))
    found = Counter(path.split("/")[0] for path in drawn)
    # Of an item with photos left, no fewer are drawn than of any other, but for the last round.
    for item, photos in items.items():
        if found[item] < len(photos):
            assert found[item] >= max(found.values(), default=0) - 1
    assert drawn == drawn_evenly(Catalogue(None, items), most)


def test_the_same_catalogue_gives_the_same_file(random_model, sample):
    photos = read_catalogue(sample / "catalogue")
    first, second = (export_model(random_model, "tflite", "int8", photos) for _ in range(2))
    assert first == second
