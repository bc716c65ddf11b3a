"""Training: a catalogue to a model folder, with triplet loss on P x K batches."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from embedder import validation
from embedder.advice import with_advice
from embedder.backend import keras
from embedder.backgrounds import load_pictures
from embedder.catalogue import Catalogue
from embedder.checkpoints import Stored
from embedder.distribution import refuse_data_parallel
from embedder.errors import TrainingError
from embedder.frozen import learner_of_features, refuse_unfreezable, weights_key
from embedder.learner import Learner, learner_of_photos
from embedder.locking import only_process
from embedder.model_files import MODEL_JSON, NETWORK_SUFFIXES, ModelInfo
from embedder.networks import build_network, refuse_missing
from embedder.photo_cache import PhotoCache, cache_key, open_cache
from embedder.photos import Pixels
from embedder.replicas import (
    Replicas,
    errors_of_others,
    one_replica,
    refuse_used_engine,
    replicas_of,
)
from embedder.resuming import (
    meet_others,
    replace_anew,
    settings_of,
    stored_in,
    unfinished_folder,
)
from embedder.sampling import evenly
from embedder.saving import put_back
from embedder.training_end import write_trained
from embedder.training_options import Listener, TrainingOptions
from embedder.training_run import Run, is_done, start, train_epochs
from embedder.workers import VARIABLE, Workers

_COMPARED = 200  # photos, with each other


def train(
    catalogue: Catalogue,
    model: Path,
    options: TrainingOptions | None = None,
    listener: Listener | None = None,
    replace_existing: bool = False,
) -> ModelInfo:
    """Train a network on a catalogue and write it as a model folder.

    A training that was interrupted goes on where its last epoch ended if it is started again with
    the same photos and options. Keeps the weights of the epoch with the best candidate accuracy on
    held-out photos. A model that is replaced stays until the new one is there. Where TensorFlow
    sees several GPUs, all of them train.

    Args:
        catalogue: items and photos.
        model: the model folder to write.
        options: how to train.
        listener: hears of progress.
        replace_existing: replace a model that is there, and forget an unfinished training, unless
            that was begun with the same options to replace a model.

    Raises:
        TrainingError: fewer than two items with readable photos; a model is there already; the
            loss is not a number; the disk is full; the LiteRT model disagrees with the network.
    """
    info = _trained(catalogue, model, options, listener, replace_existing, None)
    return cast(ModelInfo, info)  # there is no other process that would have it


def train_with_others(
    catalogue: Catalogue,
    model: Path,
    workers: Workers,
    options: TrainingOptions | None = None,
    listener: Listener | None = None,
    replace_existing: bool = False,
) -> ModelInfo | None:
    """`train` on several hosts, each of which calls this with the same photos and options.

    Batches are those of one host; each worker embeds a share of them (`embedder.replicas`). Worker
    0 has the checkpoints and writes the model; the others return None.

    Args:
        catalogue: items and photos, the same on each host.
        model: the model folder that worker 0 writes; others keep decoded photos beside it.
        workers: the hosts.
        options: see `train`, as all that follows.
        listener: see there.
        replace_existing: see there.

    Raises:
        TrainingError: as `train`; or another worker has other options, photos or versions, or is
            lost: started again, all go on from the last epoch.
    """
    refuse_used_engine()
    return _trained(catalogue, model, options, listener, replace_existing, workers)


def _trained(
    catalogue: Catalogue,
    model: Path,
    options: TrainingOptions | None,
    listener: Listener | None,
    replace_existing: bool,
    workers: Workers | None,
) -> ModelInfo | None:
    writes = workers is None or not workers.number
    _refuse_no_folder(model)
    if writes:
        _refuse_existing(model, replace_existing)
    with _alone(model, 0 if workers is None else workers.number) as folder:
        if writes:
            put_back(model)
            _refuse_existing(model, replace_existing)
        run = _train(catalogue, folder, options, listener, replace_existing, workers)
        info = write_trained(run, model) if writes else None
        shutil.rmtree(folder, ignore_errors=True)
    return info


@contextmanager
def _alone(model: Path, worker: int) -> Iterator[Path]:
    """The folder of an unfinished training, which no other process uses meanwhile."""
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"training needs the Keras backend tensorflow, found {keras.backend.backend()}: "
            "unset KERAS_BACKEND"
        )
    refuse_data_parallel()
    folder = unfinished_folder(model, worker)
    lock = f".{model.name}.worker{worker}.lock" if worker else f".{model.name}.lock"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_process(model.with_name(lock)) as alone:
            if not alone:
                raise TrainingError(f"{folder}: another training is using it: wait for its end")
            yield folder
    except OSError as error:
        where = error.filename or folder
        raise TrainingError(f"{where}: cannot be written: {with_advice(error)}") from error


def _refuse_no_folder(model: Path) -> None:
    if not model.name:
        raise TrainingError(f"{model}: expected the name of a model folder to write")
    if model.suffix.lower() in NETWORK_SUFFIXES and not model.is_dir():
        raise TrainingError(
            f"{model}: expected the name of a model folder, which is what training writes, found "
            "that of a file: name another with --model or EMBED_MODEL"
        )


def _refuse_existing(model: Path, replace_existing: bool) -> None:
    if model.exists() and not (model / MODEL_JSON).is_file():
        raise TrainingError(
            f"{model}: expected a model folder or nothing, found something else: name another with "
            "--model"
        )
    if model.exists() and not replace_existing:
        raise TrainingError(f"{model}: is there already; name another --model, or use --replace")


def _train(
    catalogue: Catalogue,
    folder: Path,
    options: TrainingOptions | None,
    listener: Listener | None,
    replace_existing: bool,
    workers: Workers | None = None,
) -> Run:
    options, listener = options or TrainingOptions(), listener or Listener()
    # What can be wrong with the request is found out before photos are decoded for hours.
    _refuse_senseless(options, workers)
    photos, given = _photos_of(catalogue, options)
    settings, stored = settings_of(options, photos), None
    if workers is None or not workers.number:
        stored = stored_in(folder, settings, options.learning_rate, replace_existing)
    most = min(options.items_per_batch, len(catalogue.items)) * options.photos_per_item
    begun = None if workers else _begin(options, stored, None, most)
    cache = _open(catalogue, options, folder, listener, given)
    with errors_of_others(workers):
        if workers is not None and not _is_done(options, cache, stored):
            stored = meet_others(workers, options, cache, stored, listener.waiting)
            begun = _begin(options, stored, workers, most)
        replicas, network = begun or _begin(options, stored, None, most)
        learner = _learner(options, settings, cache, network, replicas, listener)
        try:
            run = start(options, settings, cache, learner, stored, replicas)
        except TrainingError:
            replace_anew(folder)
            raise
        if stored:
            listener.resumed(run.progress.epoch)
        train_epochs(run, folder, listener)
    return run


def _is_done(options: TrainingOptions, cache: PhotoCache, stored: Stored) -> bool:
    """Whether worker 0 only has to write the model, which it does without the others."""
    held = validation.hold_out(cache.labels, options.seed)
    return stored is not None and is_done(options, stored[0], bool(held.any()))


def _open(
    catalogue: Catalogue,
    options: TrainingOptions,
    folder: Path,
    listener: Listener,
    given: Pixels | None,
) -> PhotoCache:
    masks = options.augmentation.background > 0
    cache = open_cache(catalogue, options.architecture.size, folder, listener.decoded, masks)
    if given is not None:
        cache = replace(cache, pictures=given)
    if cache.unreadable:
        listener.unreadable(cache.unreadable)
    _refuse_useless(cache, catalogue.source)
    return cache


def _refuse_senseless(options: TrainingOptions, workers: Workers | None) -> None:
    size = options.architecture.size
    if not 1 <= options.side_trained_at <= size:
        raise TrainingError(
            f"expected to train at 1 to {size} px, the size of the photos, "
            f"found {options.side_trained_at} px"
        )
    if options.frozen:
        refuse_unfreezable(options)
        if workers is not None:
            raise TrainingError(
                f"expected --frozen on one host, found {len(workers.addresses)} workers in "
                f"{VARIABLE}: unset it; a head alone is trained in minutes"
            )
    refuse_missing(options.architecture, options.weights)


def _photos_of(catalogue: Catalogue, options: TrainingOptions) -> tuple[str, Pixels | None]:
    """A text that changes with what is learned from, and the backgrounds that were given."""
    size, given = options.architecture.size, None
    photos = cache_key(catalogue, size, options.augmentation.background > 0)
    if options.frozen:
        photos += weights_key(str(options.weights))
    if options.backgrounds:
        given = load_pictures(Path(options.backgrounds), size)
        photos += hashlib.sha256(given.tobytes()).hexdigest()
    return photos, given


def _begin(
    options: TrainingOptions, stored: Stored, workers: Workers | None, most: int
) -> tuple[Replicas, Any]:
    """The replicas, as many as a batch has photos at most, and the network they learn with."""
    replicas = one_replica() if options.frozen else replicas_of(workers, most=most)
    if replicas.count > most:
        raise TrainingError(
            f"expected at most {most} replicas, as many as a batch has photos, found "
            f"{replicas.count}: name fewer workers in {VARIABLE}"
        )
    keras.utils.set_random_seed(options.seed)
    trained_at = replace(options.architecture, size=options.side_trained_at)
    # A checkpoint has the weights of what learns, which a frozen backbone does not.
    started = None if stored and not options.frozen else options.weights
    with replicas.strategy.scope():
        return replicas, build_network(trained_at, started)


def _learner(
    options: TrainingOptions,
    settings: str,
    cache: PhotoCache,
    network: Any,
    replicas: Replicas,
    listener: Listener,
) -> Learner:
    if not options.frozen:
        return learner_of_photos(options, cache, network, replicas)
    usable = np.flatnonzero(~validation.hold_out(cache.labels, options.seed))
    return learner_of_features(options, settings, cache, network, usable, listener.features)


def _refuse_useless(cache: PhotoCache, source: Path) -> None:
    if len(cache.items) < 2:
        raise TrainingError(
            f"{source}: expected at least two items with readable photos, found "
            f"{len(cache.items)}: add photos of more items"
        )
    some = cache.pixels[evenly(len(cache.labels), _COMPARED)]
    if (some == some[0]).all():
        raise TrainingError(
            f"{source}: expected photos that differ, found all alike: there is nothing to learn"
        )
