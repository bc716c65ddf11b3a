"""What workers on several hosts must have in common, and what worker 0 gives the others."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from addresses import free_address

from embedder import TrainingError, training
from embedder.checkpoints import Progress, save_checkpoint
from embedder.model_files import Architecture
from embedder.photo_cache import open_cache
from embedder.resuming import meet_others, unfinished_folder
from embedder.training import train_with_others
from embedder.training_options import TrainingOptions
from embedder.workers import Workers

OPTIONS = TrainingOptions(Architecture(size=32), epochs=3)


@pytest.fixture
def caches(catalogue, tmp_path):
    """The same photos, decoded on two hosts."""
    return [open_cache(catalogue, 32, tmp_path / f"{number}") for number in (0, 1)]


@pytest.fixture
def come_together():
    def meeting(options, caches, stored=None):
        addresses, found = (free_address(), free_address()), [None, None]

        def come(number):
            workers = Workers(addresses, number)
            given = None if number else stored
            try:
                found[number] = meet_others(
                    workers, options[number], caches[number], given, lambda missing: None
                )
            except TrainingError as error:
                found[number] = str(error)

        threads = [threading.Thread(target=come, args=(at,), daemon=True) for at in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        return found

    return meeting


def test_the_same_photos_elsewhere_are_the_same(caches, come_together):
    here = replace(OPTIONS, backgrounds="/data/shop")
    there = replace(OPTIONS, backgrounds="/mnt/shop")
    assert come_together([here, there], caches) == [None, None]


def test_the_same_weights_elsewhere_are_the_same(caches, come_together, tmp_path):
    options = []
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).write_bytes(b"weights")
        options.append(replace(OPTIONS, weights=str(tmp_path / name)))
    assert come_together(options, caches) == [None, None]
    (tmp_path / "b.h5").write_bytes(b"others")
    assert all(" has other options than " in found for found in come_together(options, caches))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epochs": 4}, {"learning_rate": 1e-4}])
def test_other_options(caches, come_together, changed):
    for found in come_together([OPTIONS, replace(OPTIONS, **changed)], caches):
        assert found.startswith("worker 1 (127.0.0.1:")
        assert " has other options than worker 0 (" in found


def test_other_photos(caches, come_together):
    other = replace(caches[1], items=(*caches[1].items[:-1], "another"))
    for found in come_together([OPTIONS, OPTIONS], [caches[0], other]):
        assert " has other photos than worker 0 (" in found
    with (caches[1].folder / "photos.u8").open("r+b") as pixels:
        pixels.write(b"\0" * 4000)
    for found in come_together([OPTIONS, OPTIONS], caches):
        assert " has other photos than worker 0 (" in found


def test_all_go_on_from_the_checkpoint_of_the_first(caches, come_together):
    groups = {"best": [np.arange(6, dtype=np.float32)], "network": [np.ones((2, 2))]}
    progress = Progress(epoch=2, losses=[0.5, 0.25], learning_rate=1e-3)
    # What the other has left of an earlier training is not looked at.
    save_checkpoint(caches[1].folder, "other settings", Progress(epoch=1), {"best": [np.zeros(1)]})
    save_checkpoint(caches[0].folder, "settings", progress, groups)
    first, other = come_together([OPTIONS, OPTIONS], caches, (progress, groups))
    assert first == (progress, groups)
    assert other[0] == progress
    assert other[1].keys() == groups.keys()
    for name, arrays in groups.items():
        np.testing.assert_array_equal(other[1][name], arrays)


def test_a_new_training_begins_anew_everywhere(caches, come_together):
    save_checkpoint(caches[1].folder, "settings", Progress(epoch=1), {"best": [np.zeros(1)]})
    assert come_together([OPTIONS, OPTIONS], caches) == [None, None]


def test_each_worker_has_a_folder_of_its_own(tmp_path):
    folders = {unfinished_folder(tmp_path / "items.model", number) for number in (0, 1, 2)}
    assert len(folders) == 3
    assert unfinished_folder(tmp_path / "items.model") in folders


def test_a_head_alone_is_not_trained_on_several_hosts(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "refuse_used_engine", lambda: None)  # these tests have used it
    options = TrainingOptions(
        Architecture("MobileNet", 0.25, 32), weights="imagenet", frozen=True, epochs=1
    )
    with pytest.raises(TrainingError, match="expected --frozen on one host, found 2 workers in TF"):
        train_with_others(catalogue, tmp_path / "m", Workers(("a:1", "b:2"), 0), options)
