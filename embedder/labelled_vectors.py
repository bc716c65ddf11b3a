"""Vectors with the ids they belong to, and how they lie in a file."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LabelledVectors:
    """Vectors and item ids.

    Attributes:
        vectors: float32 (rows, dim), unit norm.
        items: the item of each row.
    """

    vectors: npt.NDArray[np.float32]
    items: tuple[str, ...]

    def without(self, items: Container[str]) -> npt.NDArray[np.float32]:
        """The vectors (rows, dim) of all other items."""
        return self.vectors[[at for at, item in enumerate(self.items) if item not in items]]

    def to_bytes(self) -> bytes:
        """A line of JSON with the ids, then the numbers, little-endian."""
        ids = json.dumps(self.items, ensure_ascii=True).encode()
        return ids + b"\n" + self.vectors.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, dim: int) -> LabelledVectors:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: it is not that, or not of vectors of `dim` finite numbers.
        """
        line, _, numbers = content.partition(b"\n")
        try:
            items = json.loads(line)
        except RecursionError as error:
            raise ValueError("expected a list of ids, found lists in lists") from error
        if not isinstance(items, list) or not all(map(_is_text, items)):
            raise ValueError("expected a list of ids")
        if len(numbers) != 4 * dim * len(items):
            raise ValueError(
                f"expected {len(items)} vectors of {dim} numbers, found {len(numbers)} bytes"
            )
        vectors = np.frombuffer(numbers, dtype="<f4").reshape(-1, dim)
        if not np.isfinite(vectors).all():
            raise ValueError("expected finite numbers, found others")
        return cls(vectors.astype(np.float32), tuple(items))


def _is_text(item: object) -> bool:
    """Whether it is a text that can be written: JSON can hold halves of characters."""
    return isinstance(item, str) and not any("\ud800" <= char <= "\udfff" for char in item)
