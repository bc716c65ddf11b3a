"""What a training goes on from, and what must be the same for it to go on, or on several hosts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from embedder.checkpoints import Stored, checkpoint_bytes, load_checkpoint, put_checkpoint
from embedder.errors import TrainingError
from embedder.frozen import weights_key
from embedder.meeting import meet
from embedder.photo_cache import PhotoCache
from embedder.sampling import evenly
from embedder.training_options import TrainingOptions
from embedder.version import __version__
from embedder.workers import Workers

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_REPLACING = "replacing"  # a file beside the checkpoint of a training that may replace a model
_COMPARED = 200  # photos


def unfinished_folder(model: Path, worker: int = 0) -> Path:
    """Where the decoded photos and checkpoints of an unfinished training lie.

    Args:
        model: the model folder that it is to write.
        worker: which of several; the first one has the checkpoints.
    """
    return model.with_name(f"{model.name}.training{f'-worker{worker}' if worker else ''}")


def settings_of(options: TrainingOptions, photos: str) -> str:
    """A text that is the same only for a training that may go on from a checkpoint.

    Args:
        options: how to train.
        photos: a text that changes with the photos.
    """
    # A training that diverged may go on with a lower learning rate: `start` looks at that.
    same = {name: value for name, value in asdict(options).items() if name != "learning_rate"}
    return json.dumps({"options": same, "photos": photos}, sort_keys=True)


def stored_in(folder: Path, settings: str, learning_rate: float, replace_existing: bool) -> Stored:
    """What a training goes on from; None to begin.

    One that replaces a model goes on only from one that was begun to replace a model too, by the
    same command: anything else is forgotten. Without that, such a training could not be gone on
    with at all.

    Raises:
        TrainingError: the checkpoint is of another training, or damaged.
    """
    if not replace_existing:
        return load_checkpoint(folder, settings)
    mark = folder / _REPLACING
    if mark.exists():
        try:
            stored = load_checkpoint(folder, settings)
            if stored is None or learning_rate <= stored[0].learning_rate:
                return stored
        except TrainingError:
            pass
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    mark.touch()
    return None


def replace_anew(folder: Path) -> None:
    """Let `--replace` forget an unfinished training that cannot go on."""
    (folder / _REPLACING).unlink(missing_ok=True)


def meet_others(
    workers: Workers,
    options: TrainingOptions,
    cache: PhotoCache,
    stored: Stored,
    on_waiting: Callable[[list[str]], None],
) -> Stored:
    """Wait for the other workers; what worker 0 goes on from, all go on from.

    Args:
        workers: all of them.
        options: how to train.
        cache: the photos.
        stored: what worker 0 goes on from; others give None.
        on_waiting: see `meet`.

    Raises:
        TrainingError: a worker has other options, photos or versions; see `meet`.
    """
    parcel = b"" if stored is None else checkpoint_bytes(cache.folder)
    found = meet(workers, _alike(options, cache), parcel, on_waiting)
    if not workers.number or not found:
        return stored
    put_checkpoint(cache.folder, found)
    return load_checkpoint(cache.folder, None)


def _alike(options: TrainingOptions, cache: PhotoCache) -> dict[str, str]:
    """What the workers of a training have in common, wherever their files lie."""
    same = {**asdict(options), "weights": weights_key(str(options.weights)), "backgrounds": ""}
    pixels = cache.pixels[evenly(len(cache.labels), _COMPARED)]
    digest = hashlib.sha256(repr(cache.items).encode())
    for array in (cache.labels, cache.mask_rows, pixels, cache.pictures):
        digest.update(array.tobytes())
    versions = {name: version(name) for name in ("keras", "tensorflow", "numpy", "pillow")}
    return {
        "versions": json.dumps({"embed": __version__, **versions}),
        # TensorFlow expects as many everywhere, and would wait for those that are not there.
        "GPUs": str(len(tf.config.list_physical_devices("GPU"))),
        "options": hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest(),
        "photos": digest.hexdigest(),
    }
