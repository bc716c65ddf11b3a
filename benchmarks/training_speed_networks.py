"""The networks of `embedder.networks` once more, in Keras 2 and in PyTorch, to time them."""

from __future__ import annotations

from typing import Any

DIM = 100

# As in `embedder.networks`: output channels and stride of each convolution.
COMPACT = ((24, 2), (48, 2), (96, 2), (128, 1), (128, 2), (192, 1))
# Output channels and stride of each pair of a depthwise and a pointwise convolution.
MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)


def keras2_network(backbone: str, alpha: float | None, side: int) -> Any:
    """What `build_network` makes, in Keras 2."""
    from tensorflow import keras

    layers = keras.layers
    given = keras.Input((side, side, 3))
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(given)
    if backbone == "MobileNet":
        features = keras.applications.MobileNet(
            input_shape=(side, side, 3), alpha=alpha, include_top=False, weights=None
        )(features)
    else:
        for channels, stride in COMPACT:
            features = layers.Conv2D(channels, 3, stride, "same", use_bias=False)(features)
            features = layers.BatchNormalization(momentum=0.9)(features)
            features = layers.ReLU()(features)
    features = layers.Dense(DIM, use_bias=False)(layers.GlobalAveragePooling2D()(features))
    features = layers.BatchNormalization(momentum=0.9, scale=False)(features)
    return keras.Model(given, layers.UnitNormalization()(features))


def torch_network(backbone: str, alpha: float | None, side: int) -> Any:
    """What `build_network` makes, in PyTorch, from uint8 (batch, 3, side, side)."""
    from torch import nn

    class Prepare(nn.Module):  # type: ignore[misc]
        def forward(self, given: Any) -> Any:
            return given.float() / 127.5 - 1.0

    class Head(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.embedding = nn.Linear(channels, DIM, bias=False)
            self.centre = nn.BatchNorm1d(DIM, eps=1e-3, affine=False)
            self.offset = nn.Parameter(self.embedding.weight.new_zeros(DIM))

        def forward(self, features: Any) -> Any:
            vectors = self.centre(self.embedding(features.mean((2, 3)))) + self.offset
            return nn.functional.normalize(vectors)

    def block(before: int, after: int, kernel: int, stride: int, groups: int = 1) -> list[Any]:
        padding = kernel // 2
        convolution = nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False)
        activation = nn.ReLU6(inplace=True) if alpha else nn.ReLU(inplace=True)
        normalised = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01 if alpha else 0.1)
        return [convolution, normalised, activation]

    parts, channels = [Prepare()], 3
    if alpha:
        parts, channels = [*parts, *block(3, int(32 * alpha), 3, 2)], int(32 * alpha)
    for wide, stride in MOBILENET if alpha else COMPACT:
        after = int(wide * alpha) if alpha else wide
        if alpha:
            parts += block(channels, channels, 3, stride, channels)
        parts += block(channels, after, *((1, 1) if alpha else (3, stride)))
        channels = after
    return nn.Sequential(*parts, Head(channels))
