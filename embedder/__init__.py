"""Photos to vectors: reading catalogues, training a network, and running it.

Importing this package costs next to nothing: numpy and Pillow come with the first use of a name
that needs them, and TensorFlow with `embedder.training` only.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from embedder.errors import (
    CandidateError,
    CatalogueError,
    ClusterError,
    EmbedError,
    ExportError,
    IndexBusyError,
    IndexFileError,
    MissingExtraError,
    ModelError,
    PhotoError,
    TrainingError,
)
from embedder.version import __version__

if TYPE_CHECKING:
    from embedder.catalogue import Catalogue, read_catalogue
    from embedder.inference import Embedder
    from embedder.photos import Photo

__all__ = [
    "CandidateError",
    "Catalogue",
    "CatalogueError",
    "ClusterError",
    "EmbedError",
    "Embedder",
    "ExportError",
    "IndexBusyError",
    "IndexFileError",
    "MissingExtraError",
    "ModelError",
    "Photo",
    "PhotoError",
    "TrainingError",
    "__version__",
    "read_catalogue",
]

_MODULE_OF = {
    "Catalogue": "embedder.catalogue",
    "Embedder": "embedder.inference",
    "Photo": "embedder.photos",
    "read_catalogue": "embedder.catalogue",
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
