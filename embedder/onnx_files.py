"""A LiteRT file as an ONNX file, by the library tf2onnx."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from embedder.errors import MissingExtraError
from embedder.quiet import output_silenced

INPUT, OUTPUT = "photos", "vectors"

# The least that has all that the networks of Keras need, hard swish among them: what runs ONNX on
# phones and in browsers is older than what writes it.
_OPSET = 14

# What has the number of photos in its numbers, which is one.
_BOUND = {"Reshape", "Expand", "Tile", "Slice", "StridedSlice"}


def as_onnx(content: bytes, note: tuple[str, str]) -> bytes:
    """A LiteRT file as ONNX: `photos`, uint8 (photos, size, size, 3), to `vectors`, (photos, dim).

    Where parts of the network fix the number of photos, it stays one.

    Args:
        content: a LiteRT file: uint8 (1, size, size, 3) to float32 (1, dim).
        note: name and text to keep in the file's metadata.
    """
    try:
        import onnxruntime  # noqa: F401  (to compare with; TensorFlow takes longer to import)

        from embedder import backend  # noqa: F401  (TensorFlow reads what it sets)

        with output_silenced():
            from tf2onnx.convert import from_tflite
    except (ImportError, MissingExtraError):
        raise MissingExtraError("exporting to ONNX", "export") from None
    with tempfile.TemporaryDirectory() as folder, output_silenced():
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        model, _ = from_tflite(str(path), opset=_OPSET)
    _rename(model.graph, model.graph.input[0].name, INPUT)
    _rename(model.graph, model.graph.output[0].name, OUTPUT)
    if not _BOUND & {node.op_type for node in model.graph.node}:
        _take_any_number(model.graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = note
    written: bytes = model.SerializeToString()
    return written


def _rename(graph: Any, old: str, new: str) -> None:
    """Give a tensor another name; the converter's are of no use to anybody."""
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new


def _take_any_number(graph: Any) -> None:
    del graph.value_info[:]  # shapes in between, with one photo
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "photos"
