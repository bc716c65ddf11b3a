"""Photos to vectors: reading catalogues, training a network, and running it.

Importing this package imports no TensorFlow: only `embedder.training` does.
"""

from embedder.catalogue import Catalogue, read_catalogue
from embedder.errors import (
    CandidateError,
    CatalogueError,
    EmbedError,
    IndexFileError,
    MissingExtraError,
    ModelError,
    PhotoError,
    TrainingError,
)
from embedder.inference import Embedder
from embedder.photos import Photo
from embedder.version import __version__

__all__ = [
    "CandidateError",
    "Catalogue",
    "CatalogueError",
    "EmbedError",
    "Embedder",
    "IndexFileError",
    "MissingExtraError",
    "ModelError",
    "Photo",
    "PhotoError",
    "TrainingError",
    "__version__",
    "read_catalogue",
]
