"""Tests that try to break things at random: short with `make test`, long with `make soak`."""

import os
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from embedder import Embedder, read_catalogue
from embedder.model_files import Architecture, ModelInfo
from embedder.score_space import unit
from index import add_item, build_index, calibrate_index, verify_index
from index.calibration import read_background, read_calibration
from index.changes import ADDED_BY_HAND
from index.rows import Item
from index.store import Store
from index.store_writing import WritableStore
from index.whitening import read_score_space

FEW = 6  # numbers in a vector: every part of an index is small then


@pytest.fixture(scope="session")
def rounds() -> Callable[[int, int], int]:
    """How often to try: the first number, or with `make soak` the second."""
    return lambda short, long: long if os.environ.get("EMBED_SOAK") else short


@pytest.fixture(scope="session")
def few_numbers(save_random_model):
    info = ModelInfo(Architecture(size=32, dim=FEW), 0.1, whitened_temperature=0.05)
    return Embedder.open(save_random_model(info, 4))


@pytest.fixture(scope="session")
def folder(sample, tmp_path_factory):
    """A catalogue of 12 items with three photos each, and one that cannot be read."""
    root = tmp_path_factory.mktemp("rot") / "catalogue"
    for item in sorted((sample / "catalogue").iterdir()):
        (root / item.name).mkdir(parents=True)
        for photo in sorted(item.iterdir())[:3]:
            shutil.copy2(photo, root / item.name)
    (root / item.name / "bad.jpg").write_bytes(b"<html>")
    return root


@pytest.fixture(scope="session")
def whole(sample, folder, few_numbers, tmp_path_factory):
    """An index that has everything an index can have."""
    path = tmp_path_factory.mktemp("whole") / "items.index"
    build_index(read_catalogue(folder), few_numbers, path)
    add_item(path, few_numbers, "by hand", sorted(folder.rglob("0002.jpg")))
    rows = unit(np.random.default_rng(1).normal(size=(10, FEW))).astype(np.float32)
    with WritableStore.open(path) as store:
        for at, row in enumerate(rows):
            store.put(Item(f"{at}/{at:0>20}", row, 1, 0.0, "photo.jpg", ADDED_BY_HAND))
        store.commit()
    calibrate_index(path, few_numbers, read_catalogue(sample / "catalogue"))
    with Store.open(path) as store:
        assert read_score_space(store) and read_calibration(store) and store.unreadable()
        assert read_background(store).items == tuple(store.ids())
    assert verify_index(path).problems == ()
    return path
