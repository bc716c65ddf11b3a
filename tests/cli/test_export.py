"""`embed export`: the file, what is said of it, and what is refused."""

import hashlib
import json
import os

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter


def one_line_error(done, status=1):
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    return last


def test_float16_is_what_is_written_unless_another_is_asked_for(embed, place):
    done = embed("export", "items.tflite")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    content = (place / "items.tflite").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    lines = done.stderr.splitlines()
    assert lines[:2] == [f"items.tflite: {len(content):,} bytes, float16", f"SHA-256 {digest}"]
    assert lines[2].startswith("Cosine to the model on 8 pictures of noise (name photos with")
    assert len(lines) == 3
    assert len(content) < 0.6 * (place / "items.model" / "model.tflite").stat().st_size


def test_int8_is_calibrated_and_compared_on_photos(embed, place):
    options = ("--precision", "int8", "--photos", "catalogue", "--json")
    (place / "catalogue" / "sku-000001" / "bad.jpg").write_bytes(b"<html>")
    done = embed("export", "ITEMS.TFLITE", *options)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    content = (place / "ITEMS.TFLITE").read_bytes()
    assert said["file"] == "ITEMS.TFLITE"
    assert said["size"] == len(content)
    assert said["sha256"] == hashlib.sha256(content).hexdigest()
    assert (said["calibrated"], said["compared"], said["from_photos"]) == (72, 72, True)
    assert [error["reason"] for error in said["unreadable"]] == ["not an image that can be read"]
    assert 0.9 < said["lowest_cosine"] <= said["mean_cosine"] <= 1
    assert "content" not in said
    assert "1 photo(s) could not be read and are left out:" in done.stderr
    assert "on 72 other photos: mean" in done.stderr
    interpreter = Interpreter(model_content=content)
    photo = np.zeros((1, 32, 32, 3), np.uint8)
    vector = interpreter.get_signature_runner()(photos=photo)["output_0"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_onnx_is_written_without_a_word_from_tensorflow(embed, place):
    done = embed("export", "items.onnx")
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert done.stderr.startswith("items.onnx: ")
    assert "float32" in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["items.bin"],
            "items.bin: expected a name that ends in .tflite, .onnx, .npz,",
        ),
        (
            ["items"],
            ".faiss, found no ending",
        ),
        (["a.tflite", "--precision", "int8"], "--precision int8 needs photos to calibrate with"),
        (["a.onnx", "--precision", "float16"], "a.onnx: expected float32 for ONNX, found"),
        (["a.tflite", "--model", "none"], "none: expected a model folder, found none"),
        (["a.tflite", "--photos", "none"], "none: expected a folder with one folder of photos"),
        (["a.tflite", "--photos", "few"], "few: expected at least 20 photos that can be read"),
        (["none/a.tflite"], "none/a.tflite: expected an export in a folder that is there"),
        (["mine.tflite"], "mine.tflite: expected a new file or an earlier export, found another"),
        (["catalogue.onnx"], "catalogue.onnx: expected the name of an export, found no file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(embed, place, arguments, says):
    (place / "few" / "item").mkdir(parents=True)
    (place / "few" / "item" / "bad.jpg").write_bytes(b"<html>")
    (place / "mine.tflite").write_bytes((place / "items.model" / "model.tflite").read_bytes())
    (place / "catalogue.onnx").mkdir()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert says in one_line_error(embed("export", *arguments))
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_an_earlier_export_and_an_empty_file_are_replaced(embed, place):
    (place / "items.tflite").touch()
    for precision in ("float16", "float32"):
        done = embed("export", "items.tflite", "--precision", precision)
        assert done.returncode == 0, done.stderr
        assert f"{(place / 'items.tflite').stat().st_size:,} bytes, {precision}" in done.stderr
    assert not list(place.glob(".export*"))


def test_a_full_disk_leaves_the_earlier_one(embed, place, little_room):
    assert embed("export", "items.tflite").returncode == 0
    before = (place / "items.tflite").read_bytes()
    with little_room(len(before) // 2):
        done = embed("export", "items.tflite", "--precision", "float32")
    assert "too large" in one_line_error(done)
    assert (place / "items.tflite").read_bytes() == before
    assert not list(place.glob(".export*"))


@pytest.mark.parametrize(
    ("missing", "file"),
    [("ai_edge_quantizer", "a.tflite"), ("onnxruntime", "a.onnx")],
)
def test_what_is_not_installed_is_named(embed, place, tmp_path, missing, file):
    # A stand-in that cannot be imported, in front of the real one.
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    (stand_in / f"{missing}.py").write_text(f"raise ModuleNotFoundError('no {missing}')")
    path = os.pathsep.join(filter(None, [str(stand_in), os.environ.get("PYTHONPATH")]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
    done = embed("export", file, env=environment | {"PYTHONPATH": path})
    assert "needs the extra [export]: pip install 'embed-match[export]'" in one_line_error(done)
    assert not (place / file).exists()


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".faiss"])
def test_vectors_of_an_index_are_written_and_build_the_same_index(embed, place, suffix):
    assert embed("build-index", "catalogue").returncode == 0
    done = embed("export", f"items{suffix}", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"file": f"items{suffix}", "items": said["items"]}
    assert f"items{suffix}: {said['items']} items" in done.stderr
    assert embed("export", f"items{suffix}").returncode == 0  # over an earlier one
    again = embed("build-index", "--vectors", f"items{suffix}", "--index", "again.index")
    assert again.returncode == 0, again.stderr
    assert f"again.index: {said['items']} items" in again.stderr


def test_what_an_export_of_an_index_cannot_be(embed, place):
    (place / "notes.npz").write_text("keep me")
    options = ("--index", "no.index")
    assert "found another file" in one_line_error(embed("export", "notes.npz", *options))
    assert (place / "notes.npz").read_text() == "keep me"
    assert "no.index: expected an index file" in one_line_error(embed("export", "a.npz", *options))
    done = embed("export", "a.npz", "--precision", "int8")
    assert "expected neither --precision nor --photos" in one_line_error(done, 2)
    assert ".parquet" in one_line_error(embed("export", "a.csv"))
