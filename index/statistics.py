"""What is kept of an item's photos, computed one vector at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class RunningItem:
    """Count, mean direction and dispersion of a stream of vectors, in float64.

    Attributes:
        count: vectors so far.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._sum = np.zeros(dim)
        self._squares = 0.0

    def add(self, vector: npt.NDArray[np.float32]) -> None:
        """Take in one vector (dim,)."""
        exact = vector.astype(np.float64)
        self.count += 1
        self._sum += exact
        self._squares += float(exact @ exact)

    def centroid(self) -> npt.NDArray[np.float32]:
        """The direction of the mean, float32 (dim,) of unit norm; zeros if the mean is zero."""
        norm = float(np.linalg.norm(self._sum))
        return (self._sum / norm if norm > 0 else self._sum).astype(np.float32)

    def dispersion(self) -> float:
        """Mean squared distance of the vectors to their mean: E|v|^2 - |E v|^2."""
        mean = self._sum / self.count
        return max(0.0, self._squares / self.count - float(mean @ mean))
