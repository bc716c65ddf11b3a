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
            ValueError: it is not that, or not of vectors of `dim` numbers.
        """
        line, _, numbers = content.partition(b"\n")
        items = json.loads(line)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError("expected a list of ids")
        if len(numbers) != 4 * dim * len(items):
            raise ValueError(
                f"expected {len(items)} vectors of {dim} numbers, found {len(numbers)} bytes"
            )
        vectors = np.frombuffer(numbers, dtype="<f4").reshape(-1, dim)
        return cls(vectors.astype(np.float32), tuple(items))
