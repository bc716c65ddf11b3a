"""The graph in a LiteRT file: its convolutions, its tensors' values, and notes about it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from embedder.photos import Pixels

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

Values = npt.NDArray[np.float64]

_CONVOLUTIONS = {
    schema.BuiltinOperator.CONV_2D: "full",
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: "depthwise",
}


@dataclass(frozen=True)
class Convolution:
    """One convolution of a graph; the numbers are of tensors.

    Attributes:
        depthwise: whether each channel has a kernel of its own.
        photo: what goes in.
        kernel: int8 or float32, (outputs, height, width, inputs), or (1, height, width, channels)
            if depthwise.
        bias: int32 or float32, (outputs,).
    """

    depthwise: bool
    photo: int
    kernel: int
    bias: int


def read_graph(content: bytes) -> Any:
    """A LiteRT file as an object of the schema's Python code."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def graph_bytes(graph: Any) -> bytes:
    """The opposite of `read_graph`."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))


def convolutions(graph: Any) -> list[Convolution]:
    """All convolutions that have a bias, in the order in which they run."""
    codes = [
        flatbuffer_utils.get_builtin_code_from_operator_code(code) for code in graph.operatorCodes
    ]
    found = []
    for operator in graph.subgraphs[0].operators:
        kind = _CONVOLUTIONS.get(codes[operator.opcodeIndex])
        if kind is not None and len(operator.inputs) == 3 and operator.inputs[2] >= 0:
            found.append(Convolution(kind == "depthwise", *operator.inputs))
    return found


def values(graph: Any, number: int) -> Values:
    """What a constant tensor stands for: float64, of integers times their scales."""
    tensor = graph.subgraphs[0].tensors[number]
    kind = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }[tensor.type]
    stored = np.frombuffer(bytes(graph.buffers[tensor.buffer].data), kind)
    found: Values = stored.reshape(tensor.shape).astype(np.float64)
    if tensor.type == schema.TensorType.FLOAT32:
        return found
    shape = [1] * found.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    scales: Values = np.asarray(tensor.quantization.scale, dtype=np.float64).reshape(shape)
    return found * scales


def set_values(graph: Any, number: int, wanted: Values) -> None:
    """Make a constant tensor, float32 or int32 with scales, stand for other values."""
    tensor = graph.subgraphs[0].tensors[number]
    if tensor.type == schema.TensorType.FLOAT32:
        stored = wanted.astype(np.float32)
    else:
        limits = np.iinfo(np.int32)
        whole = np.round(wanted / np.asarray(tensor.quantization.scale))
        stored = whole.clip(limits.min, limits.max).astype(np.int32)
    users = sum(other.buffer == tensor.buffer for other in graph.subgraphs[0].tensors)
    if users > 1:  # equal values are stored once
        tensor.buffer = len(graph.buffers)
        graph.buffers.append(schema.BufferT())
    graph.buffers[tensor.buffer].data = np.frombuffer(stored.tobytes(), np.uint8)


def add_note(content: bytes, name: str, text: str) -> bytes:
    """A LiteRT file with one more entry in its metadata."""
    graph = read_graph(content)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry.name, entry.buffer = name, len(graph.buffers)
    graph.buffers.append(buffer)
    graph.metadata = [*(graph.metadata or []), entry]
    return graph_bytes(graph)


def runs(content: bytes, photos: Sequence[Pixels]) -> Iterator[Interpreter]:
    """Run a LiteRT file on photos, uint8 (size, size, 3) each.

    Yields:
        after each photo the same interpreter, for what is in any tensor of the graph.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    for pixels in photos:
        interpreter.set_tensor(given, pixels[None])
        interpreter.invoke()
        yield interpreter
