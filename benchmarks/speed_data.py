"""What `benchmarks/speed.py` measures on: models that are not trained, and indexes of noise.

What a photo looks like, and where a centroid lies, changes no time here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.model_files import Architecture, ModelInfo
from embedder.score_space import unit
from index.calibrating import background
from index.calibration import Calibration, write_calibration
from index.rows import Item
from index.schema import IndexInfo
from index.store_writing import WritableStore

DIM = 100
_IMAGENET = "mobilenet_2_5_224_tf_no_top.h5"
MODELS = {  # and the file of their weights, random ones without
    "compact, 96 px (the default)": (Architecture(), None),
    "MobileNet 0.25, 160 px": (Architecture("MobileNet", 0.25, 160), _IMAGENET),
    "MobileNet 0.25, 96 px": (Architecture("MobileNet", 0.25, 96), _IMAGENET),
}
FITTED = Calibration((2, 50), (0.07, 0.07), (2.0, 2.0), (0.0, 0.0), (2.0, 2.0), (1.0, 1.0))
_BLOCK = 100_000


def write_models(folder: Path, data: Path, name: str) -> str:
    """A model of `MODELS` as `items.model` and as `items.keras`; returns its fingerprint."""
    from embedder.backend import keras
    from embedder.networks import build_network
    from embedder.saving import save_model

    keras.utils.set_random_seed(0)
    architecture, weights = MODELS[name]
    network = build_network(architecture, weights and str(data / "weights" / weights))
    side = architecture.size
    photos = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    info = save_model(network, ModelInfo(architecture, 0.1), photos, folder / "items.model")
    plain = keras.models.clone_model(network, clone_function=_plain_layer, recursive=True)
    plain.set_weights(network.get_weights())
    plain.save(folder / "items.keras")
    return info.fingerprint


def _plain_layer(layer: Any) -> Any:
    """A layer of Keras' own, which its `load_model` knows."""
    from embedder.backend import layers
    from embedder.batch_norm import FusedBatchNormalization

    if isinstance(layer, FusedBatchNormalization):
        return layers.BatchNormalization.from_config(layer.get_config())
    return layer


def item_id(number: int) -> str:
    """The id of an item."""
    return f"sku-{number:08d}"


def centroids(items: int) -> Iterator[npt.NDArray[np.float32]]:
    """Unit vectors in blocks, the same for the same number of items."""
    rng = np.random.default_rng(0)
    for start in range(0, items, _BLOCK):
        yield unit(rng.normal(size=(min(_BLOCK, items - start), DIM)).astype(np.float32))


def write_index(path: Path, items: int, fingerprint: str) -> None:
    """An index as `embed build-index` writes it, of so many items with 100 photos each."""
    path.unlink(missing_ok=True)
    with WritableStore.create(path, IndexInfo(fingerprint, DIM, 0.1, "")) as store:
        number = 0
        for block in centroids(items):
            for row in block:
                name = item_id(number)
                store.put(Item(name, row, 100, 0.1, f"{name}/IMG_0001.jpg", bytes(16)))
                number += 1
            store.commit()
        write_calibration(store, FITTED, background(store))
        store.commit()
