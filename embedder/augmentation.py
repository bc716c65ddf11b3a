"""Realistic variation of training photos: where the camera stood and what the light was.

The random numbers are drawn with numpy, so that a seed decides them whatever the backend; the
pixels are then changed for a whole batch at once by one geometric and one colour operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.backend import ops
from embedder.photos import FILL
from embedder.training_options import Augmentation

Floats = npt.NDArray[np.float32]

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma


def draw_geometry(rng: np.random.Generator, count: int, size: int, options: Augmentation) -> Floats:
    """Random affine transforms, float32 (count, 8), as `keras.ops.image.affine_transform` takes.

    Each maps a pixel of the result to the pixel of the photo it is taken from, about the centre.
    """
    angle = np.radians(rng.uniform(-options.rotation, options.rotation, count))
    scale = (1 + options.zoom) ** rng.uniform(-1, 1, count)
    stretch = (1 + options.stretch) ** rng.uniform(-0.5, 0.5, count)
    mirror = np.where(options.flip & (rng.random(count) < 0.5), -1.0, 1.0)
    shift_x, shift_y = rng.uniform(-options.shift, options.shift, (2, count)) * size
    a, b = np.cos(angle) * scale * stretch * mirror, -np.sin(angle) * scale / stretch
    d, e = np.sin(angle) * scale * stretch * mirror, np.cos(angle) * scale / stretch
    centre = (size - 1) / 2
    c = centre - a * centre - b * centre + shift_x
    f = centre - d * centre - e * centre + shift_y
    zero = np.zeros(count)
    return np.stack([a, b, c, d, e, f, zero, zero], axis=1).astype(np.float32)


def draw_colour(rng: np.random.Generator, count: int, options: Augmentation) -> Floats:
    """Random colour changes, float32 (count, 4, 3): a 3x3 matrix and an offset for each photo.

    A photo's new colours are `[red, green, blue, 1] @ change`, in the range 0...255.
    """
    contrast = 1 + rng.uniform(-options.contrast, options.contrast, (count, 1, 1))
    saturation = 1 + rng.uniform(-options.saturation, options.saturation, (count, 1, 1))
    tint = 1 + rng.uniform(-options.tint, options.tint, (count, 1, 3))
    brightness = 255 * rng.uniform(-options.brightness, options.brightness, (count, 1, 1))
    to_grey = np.tile(_GREY[:, None], (1, 3))
    matrix = (saturation * np.eye(3) + (1 - saturation) * to_grey) * contrast * tint
    offset = (127.5 * (1 - contrast) + brightness) * np.ones((1, 1, 3))
    return np.concatenate([matrix, offset], axis=1).astype(np.float32)


def augment(photos: Any, geometry: Any, colour: Any) -> Any:
    """Apply drawn changes: uint8 (batch, size, size, 3) -> float32 of that shape, 0...255.

    What comes into view from outside a photo has the colour of the padding, `FILL`.
    """
    fill = ops.convert_to_tensor(FILL, dtype="float32")
    # Shifted so that zero, which is what affine_transform fills with, is the padding's colour.
    shifted = ops.cast(photos, "float32") - fill
    moved = ops.image.affine_transform(
        shifted, geometry, interpolation="bilinear", fill_mode="constant", fill_value=0.0
    )
    moved = moved + fill
    changed = ops.einsum("bhwi,bij->bhwj", moved, colour[:, :3]) + colour[:, None, 3:4]
    return ops.clip(changed, 0.0, 255.0)
