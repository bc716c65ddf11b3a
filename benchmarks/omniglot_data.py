"""Handwritten characters as catalogues to train on, and as one-shot tests.

A drawing is a float32 array (105, 105), 1 where there is ink. Drawings are rendered with black ink
on paper of the colour that the engine pads photos with, so that nothing new comes into view where a
photo is moved or turned.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from embedder.photos import FILL, Pixels

Floats = npt.NDArray[np.float32]
Alphabet = npt.NDArray[np.float32]
"""Drawings (characters, drawers, 105, 105)."""

TURNS = 8  # by quarters, plain and mirrored: of a character, each is another character


def read_drawing(path: Path) -> Floats:
    """The ink of one 1-bit file."""
    with Image.open(path) as image:
        return 1 - np.asarray(image, dtype=np.float32)


def read_alphabet(folder: Path) -> Alphabet:
    """All drawings of an alphabet; the number in a file's name is its drawer's."""
    return np.stack(
        [
            np.stack([read_drawing(path) for path in sorted(character.glob("*.png"))])
            for character in sorted(folder.iterdir())
        ]
    )


def framed(drawing: Floats, side: float, most: float) -> Floats:
    """A drawing moved to the middle and scaled.

    Args:
        drawing: its ink.
        side: the longer side of what is drawn afterwards, as a share of the whole.
        most: the largest change of scale, up or down.
    """
    rows, columns = np.nonzero(drawing > 0.5)
    low = np.array([rows.min(), columns.min()])
    high = np.array([rows.max(), columns.max()])
    scale = np.clip((high - low + 1).max() / (side * len(drawing)), 1 / most, most)
    offset = (low + high) / 2 - scale * (len(drawing) - 1) / 2
    moved: Floats = affine_transform(drawing, [scale, scale], offset, order=1)
    return moved


def turned(drawing: Floats, turn: int) -> Floats:
    """One of the `TURNS` of a drawing."""
    quarters: Floats = np.rot90(drawing, turn % 4)
    return quarters.T if turn >= 4 else quarters


class Renderer:
    """Drawings to photos of `size`, as they are or bent."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Places of the pixels' centres, -1 to 1.
        self._line = (np.arange(size) + 0.5) / size * 2 - 1
        self.places = np.stack(np.meshgrid(self._line, self._line, indexing="ij"))

    def soft(self, drawing: Floats) -> Floats:
        """A drawing blurred as far as the smaller size needs it."""
        blurred: Floats = gaussian_filter(drawing, 0.4 * len(drawing) / self.size)
        return blurred

    def photo(
        self, soft: Floats, matrix: Floats | None = None, bend: Floats | None = None
    ) -> Pixels:
        """A uint8 photo (size, size, 3).

        Args:
            soft: a drawing of `soft`.
            matrix: (2, 3), where in the drawing each place of the photo is taken from.
            bend: (2, size, size), added to these places.
        """
        places = self.places
        if matrix is not None:
            places = np.tensordot(matrix[:, :2], places, 1) + matrix[:, 2, None, None]
        if bend is not None:
            places = places + bend
        side = len(soft)
        ink = map_coordinates(soft, (places + 1) * side / 2 - 0.5, order=1)
        photo: Pixels = np.rint((1 - ink[..., None]) * FILL).astype(np.uint8)
        return photo

    def bend(self, rng: np.random.Generator, strength: float, waves: int) -> Floats:
        """A smooth random displacement (2, size, size), of standard deviation `strength`.

        Sums of cosines with up to `waves` half waves across the photo.
        """
        basis = np.cos(np.pi * np.arange(waves + 1)[:, None] * (self._line + 1) / 2)
        weights = rng.normal(size=(2, waves + 1, waves + 1))
        weights[:, 0, 0] = 0  # a mere shift
        field = np.einsum("ai,cab,bj->cij", basis, weights, basis)
        scaled: Floats = (strength / np.sqrt((field**2).mean()) * field).astype(np.float32)
        return scaled


def random_matrix(
    rng: np.random.Generator, rotation: float, zoom: float, shear: float, shift: float
) -> Floats:
    """An affine map (2, 3); rotation in degrees, zoom and shear and shift as shares."""
    angle = np.radians(rng.uniform(-rotation, rotation))
    cos, sin = np.cos(angle), np.sin(angle)
    scale = (1 + zoom) ** rng.uniform(-1, 1, 2)
    lean = np.array([[1, 0], [rng.uniform(-shear, shear), 1]])
    linear = np.array([[cos, -sin], [sin, cos]]) @ lean @ np.diag(scale)
    return np.column_stack([linear, rng.uniform(-shift, shift, 2) * 2]).astype(np.float32)


def write_copies(
    alphabets: dict[str, Alphabet],
    folder: Path,
    size: int,
    shapes: int,
    class_bend: float,
    own_bend: float,
    seed: int,
) -> None:
    """Write a catalogue of characters to train on, a folder for each.

    Each character becomes `TURNS * shapes` items: turned, and bent in the same way in all of its
    drawings; each drawing is also bent a little in a way of its own.

    Args:
        alphabets: what to learn from.
        folder: where to write.
        size: of the photos.
        shapes: how many bent forms of a turned character; the first one is not bent.
        class_bend: how much, as a standard deviation; 2 is the side of the photo.
        own_bend: likewise, of each drawing.
        seed: decides everything random.
    """
    rng, renderer = np.random.default_rng(seed), Renderer(size)
    for name, alphabet in alphabets.items():
        for character, drawings in enumerate(alphabet):
            softened = [renderer.soft(drawing) for drawing in drawings]
            for turn in range(TURNS):
                for shape in range(shapes):
                    out = folder / f"{name}-{character:02d}-{turn}{shape}"
                    out.mkdir(parents=True)
                    common = renderer.bend(rng, class_bend if shape else 0.0, 3)
                    for drawer, drawing in enumerate(softened):
                        bend = common + renderer.bend(rng, own_bend, 4)
                        photo = renderer.photo(turned(drawing, turn), None, bend)
                        Image.fromarray(photo).save(out / f"{drawer:02d}.png", compress_level=1)
