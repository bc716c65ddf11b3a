"""One tiny network, in the forms in which others have theirs: photos of 8 x 8 to 24 numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, DIM = 8, 24
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3, DIM)).astype(np.float32)


def embedded(pixels: Any, mean: Any = 0.0, scale: Any = 1.0) -> npt.NDArray[np.float64]:
    """What it gives, by NumPy: uint8 (photos, 8, 8, 3) -> (photos, 24) of unit norm."""
    numbers = (np.asarray(pixels, np.float64) - mean) * scale
    vectors = numbers.reshape(len(numbers), -1) @ WEIGHTS.reshape(-1, DIM).astype(np.float64)
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def save_onnx(
    path: Path,
    *,
    weights: npt.NDArray[np.float32] = WEIGHTS,
    dtype: int = TensorProto.FLOAT,
    shape: tuple[int | str, ...] = ("n", SIZE, SIZE, 3),
    output: tuple[int | str, ...] = ("n", DIM),
    inputs: int = 1,
    **options: Any,
) -> Path:
    """Write it as ONNX; with colours first where the shape says so."""
    if shape[1] == 3:
        weights = weights.transpose(2, 0, 1, 3)
    names = [f"photos {at}" for at in range(inputs)]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", names[:1], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["numbers"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["vectors"]),
        ],
        "tiny",
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(weights.reshape(-1, weights.shape[-1]), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path), **options)
    return path


def save_litert(path: Path, dtype: str = "float32", mean: float = 0.0, scale: float = 1.0) -> Path:
    """Write it as LiteRT, quantised if it takes anything but float32."""
    import tensorflow as tf

    from embedder.backend import keras

    photos = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(DIM, use_bias=False)
    model = keras.Model(photos, dense(keras.layers.Flatten()(photos)))
    dense.set_weights([WEIGHTS.reshape(-1, DIM)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if dtype != "float32":
        pixels = np.random.default_rng(1).integers(0, 256, (100, 1, SIZE, SIZE, 3))
        numbers = ((pixels - mean) * scale).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one] for one in numbers)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of statistics that it takes itself
        path.write_bytes(converter.convert())
    return path
