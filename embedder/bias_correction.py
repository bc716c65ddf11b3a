"""Taking out what rounding the weights of a network adds to each channel on average.

Rounded to 8 bits, a kernel answers a little differently to the same photo. Much of the difference
is the same at all places of all photos, above all where large weights of a depthwise kernel nearly
cancel, and over the layers it adds up. It goes into the bias: Nagel, van Baalen, Blankevoort and
Welling 2019, "Data-free quantization through weight equalization and bias correction", section 4.2;
here measured on photos, layer after layer, so that what earlier layers do is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedder.litert_graph import (
    Convolution,
    Values,
    convolutions,
    graph_bytes,
    read_graph,
    runs,
    set_values,
    values,
)
from embedder.photos import Pixels


def correct_biases(content: bytes, original: bytes, photos: Sequence[Pixels]) -> bytes:
    """A quantised LiteRT file whose convolutions give, on average, what those of the original do.

    Args:
        content: the quantised file; its convolutions are those of the original, in its order.
        original: the float32 file that it was made of.
        photos: uint8 (size, size, 3) each, to measure averages on.

    Returns:
        The file with other biases.

    Raises:
        ValueError: the two have not the same convolutions.
    """
    exact, rounded = read_graph(original), read_graph(content)
    pairs = list(zip(convolutions(exact), convolutions(rounded), strict=True))
    wanted = _averages(original, [of.photo for of, _ in pairs], photos)
    for (of, like), before in zip(pairs, wanted, strict=True):
        (now,) = _averages(content, [like.photo], photos)
        answer = _answer(of, values(exact, of.kernel), before)
        given = _answer(like, values(rounded, like.kernel), now)
        set_values(rounded, like.bias, values(exact, of.bias) + answer - given)
        content = graph_bytes(rounded)
    return content


def _answer(of: Convolution, kernel: Values, average: Values) -> Values:
    """What a convolution without its bias gives where each channel is at its average."""
    if of.depthwise:
        answer: Values = kernel.sum(axis=(0, 1, 2)) * average
    else:
        answer = kernel.sum(axis=(1, 2)) @ average
    return answer


def _averages(content: bytes, tensors: Sequence[int], photos: Sequence[Pixels]) -> list[Values]:
    """Averages (channels,) over places and photos of tensors (1, height, width, channels)."""
    scales: dict[int, tuple[float, int]] = {}
    sums: list[Values] = [np.zeros(())] * len(tensors)
    for interpreter in runs(content, photos):
        scales = scales or {
            of["index"]: of["quantization"] for of in interpreter.get_tensor_details()
        }
        for at, tensor in enumerate(tensors):
            mean = interpreter.get_tensor(tensor).mean(axis=(0, 1, 2), dtype=np.float64)
            scale, zero = scales[tensor]
            sums[at] = sums[at] + ((mean - zero) * scale if scale else mean)
    return [total / len(photos) for total in sums]
