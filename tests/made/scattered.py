"""Vectors of photos of items, at random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedder.score_space import unit


def photos_of(
    seed: int, items: int, photos: int, dim: int = 6
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """One photo of each item and so many more: vectors of unit norm, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(items), rng.integers(0, items, photos)])
    centres = rng.normal(size=(items, dim))
    vectors = unit(centres[labels] + rng.normal(size=(len(labels), dim)))
    return vectors.astype(np.float32), labels
