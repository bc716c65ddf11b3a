"""The space in which photos and centroids are compared: whitened by how photos of one item differ.

Photos of one item differ more along some directions (light, distance, background) than along
others. Scaled so that they differ equally along all, what tells items apart weighs more. This is
within-class covariance normalisation (Hatch, Kajarekar and Stolcke 2006, "Within-class covariance
normalization for SVM-based speaker recognition") before a cosine (Dehak et al. 2011, "Front-end
factor analysis for speaker verification"), about the mean of the centroids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

# Within 0.2 points of the best of .05 to .5, one to one, on frozen and trained features of the hard
# split of the grocery photos (benchmarks/whitening.py).
SHRINKAGE = 0.2

_FEWEST_DEVIATIONS = 2  # for each number of a vector: fewer say nothing about most directions
_ALIKE = 1e-9  # a variance below it is rounding of float32: the photos are copies
_CHUNK = 4096
_ALONE, _MOST_PARTS = 2**18, 32  # multiplications up to which OpenBLAS takes one thread


@dataclass(frozen=True)
class ScoreSpace:
    """A linear map of vectors before their cosine.

    Attributes:
        centre: float32 (dim,), the mean of the centroids.
        matrix: float32 (dim, dim), symmetric; takes the within-item covariance to the identity.
    """

    centre: Floats
    matrix: Floats

    def project(self, vectors: Floats) -> Floats:
        """Centred, whitened, of unit norm: (photos, dim) -> (photos, dim); the centre to zero."""
        return unit((vectors - self.centre) @ self.matrix)


def projected(vectors: Floats, space: ScoreSpace | None) -> Floats:
    """Vectors (..., dim) in the space that they are compared in; as they are without one."""
    return vectors if space is None else space.project(vectors)


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Vectors (..., dim) of unit norm, in their own precision; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: npt.NDArray[Any] = vectors / np.maximum(norms, 1e-12)
    return scaled


def cosines(asked: npt.NDArray[Any], known: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Products of all pairs of two sets of vectors: (a, dim) and (b, dim) -> (a, b).

    Small ones in parts that BLAS computes on the caller's thread: waking others takes it longer
    than the work does, and a hundred times as long where the other cores are busy.
    """
    alone = _ALONE // max(1, asked.size)  # so many of the known
    step = alone if alone < len(known) < alone * _MOST_PARTS else max(1, len(known))
    parts = [asked @ known[at : at + step].T for at in range(0, max(1, len(known)), step)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def within_scatter(vectors: Floats, labels: npt.NDArray[np.int64]) -> tuple[Exact, int]:
    """How photos differ from the mean of their item, summed.

    Args:
        vectors: (photos, dim).
        labels: (photos,), the item of each photo.

    Returns:
        float64 (dim, dim), the sum of the outer products of the deviations, and how many of the
        deviations are free: photos less items.
    """
    items, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.zeros((len(items), vectors.shape[1]))
    np.add.at(means, rows, vectors)
    means /= counts[:, None]
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _CHUNK):
        deviations = vectors[start : start + _CHUNK] - means[rows[start : start + _CHUNK]]
        scatter += deviations.T @ deviations
    return scatter, len(vectors) - len(items)


def fit_score_space(
    scatter: Exact, freedom: int, centroids: Floats, shrinkage: float = SHRINKAGE
) -> ScoreSpace | None:
    """The whitening of the pooled within-item covariance, shrunk towards a multiple of one.

    The covariance S becomes (1 - s) S + s m I with m its mean eigenvalue, the form of Ledoit and
    Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", with a
    fixed s: photos of one item come in bursts, so they are fewer than their number says.

    Args:
        scatter: (dim, dim), from `within_scatter`, or sums of such.
        freedom: free deviations in it.
        centroids: (items, dim), unit norm.
        shrinkage: s, from 0 to 1.

    Returns:
        None where there is too little to go by: fewer than two items, fewer than twice `dim` free
        deviations, or only photos that are all alike.
    """
    dim = len(scatter)
    if len(centroids) < 2 or freedom < _FEWEST_DEVIATIONS * dim:
        return None
    covariance = scatter / freedom
    mean = float(np.trace(covariance)) / dim
    if mean < _ALIKE:
        return None
    shrunk = (1 - shrinkage) * covariance + shrinkage * mean * np.eye(dim)
    variances, axes = np.linalg.eigh(shrunk)
    matrix = (axes / np.sqrt(variances)) @ axes.T
    centre = centroids.astype(np.float64).mean(axis=0)
    return ScoreSpace(centre.astype(np.float32), matrix.astype(np.float32))
