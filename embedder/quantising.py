"""A LiteRT file with smaller numbers, by the library ai-edge-quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.bias_correction import correct_biases
from embedder.errors import MissingExtraError
from embedder.litert_graph import runs
from embedder.photos import Pixels
from embedder.quiet import output_silenced

if TYPE_CHECKING:
    from ai_edge_quantizer.quantizer import Quantizer

# Averages need fewer photos than extremes do: 100 give no higher cosine. The network runs on them
# once for each of its layers.
_MOST_AVERAGED = 32

_NOT_INSTALLED = "exporting at another precision"


def as_float16(content: bytes) -> bytes:
    """The same network with weights of 16 bits; it computes in float32, or in 16 bits on a GPU."""
    with output_silenced():
        quantizer = _quantizer(content)
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        half = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        kinds = qtyping.TFLOperationName
        for kind in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.FULLY_CONNECTED):
            quantizer.update_quantization_recipe(".*", kind, config, AlgorithmName.FLOAT_CASTING)
        return bytes(quantizer.quantize().quantized_model)


def as_int8(content: bytes, photos: Sequence[Pixels]) -> bytes:
    """The same network with convolutions in 8 bits: weights by channel, what is between by tensor.

    The layer that gives the embedding has weights of 8 bits too, and rounds what goes in anew for
    each photo. Preparing pixels, pooling and the unit norm stay float32.

    Args:
        content: a LiteRT file: uint8 (1, size, size, 3) to float32 (1, dim).
        photos: uint8 (size, size, 3) each, to see how large numbers become on.
    """
    return correct_biases(rounded_to_int8(content, photos), content, photos[:_MOST_AVERAGED])


def rounded_to_int8(content: bytes, photos: Sequence[Pixels]) -> bytes:
    """`as_int8` as the library alone does it, with biases as they were."""
    with output_silenced():
        quantizer = _quantizer(content)
        from ai_edge_quantizer.qtyping import TFLOperationName as Kind

        for kind in (Kind.CONV_2D, Kind.DEPTHWISE_CONV_2D):
            quantizer.add_static_config(".*", kind, activation_num_bits=8, weight_num_bits=8)
        quantizer.add_dynamic_config(".*", Kind.FULLY_CONNECTED, num_bits=8)
        found = _extremes(quantizer, content, photos)
        return bytes(quantizer.quantize(found).quantized_model)


def _extremes(quantizer: Quantizer, content: bytes, photos: Sequence[Pixels]) -> dict[str, Any]:
    """The least and the largest number in each tensor on any photo, as the library takes them.

    By itself it takes an average of each photo's, and photos with larger numbers than most are cut
    off: to a cosine of 0.91 where it is 0.999 with the true extremes.
    """
    from ai_edge_litert.interpreter import Interpreter

    ((signature, names),) = Interpreter(model_content=content).get_signature_list().items()
    one = [{names["inputs"][0]: photos[0][None]}]
    found: dict[str, Any] = quantizer.calibrate({signature: one}, num_threads=1)
    numbers: dict[str, int] = {}
    for interpreter in runs(content, photos):
        numbers = numbers or {of["name"]: of["index"] for of in interpreter.get_tensor_details()}
        for tensor, ends in found.items():
            values = interpreter.get_tensor(numbers[tensor])
            ends["min"] = np.minimum(ends["min"], values.min())
            ends["max"] = np.maximum(ends["max"], values.max())
    return found


def _quantizer(content: bytes) -> Quantizer:
    try:
        from ai_edge_quantizer.quantizer import Quantizer
    except ImportError:
        raise MissingExtraError(_NOT_INSTALLED, "export") from None
    return Quantizer(content)
