"""Training: a catalogue to a model folder, with triplet loss on P x K batches."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedder import validation
from embedder.advice import with_advice
from embedder.backend import keras
from embedder.backgrounds import load_pictures
from embedder.catalogue import Catalogue
from embedder.checkpoints import Stored, load_checkpoint
from embedder.errors import TrainingError
from embedder.frozen import learner_of_features, refuse_unfreezable, weights_key
from embedder.labelled_vectors import LabelledVectors
from embedder.learner import Learner, learner_of_photos
from embedder.locking import only_process
from embedder.model_files import MODEL_JSON, NETWORK_SUFFIXES, ModelInfo
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, cache_key, open_cache
from embedder.sampling import evenly
from embedder.saving import put_back, save_model
from embedder.training_options import Listener, TrainingOptions
from embedder.training_run import Run, gallery_and_queries, start, train_epochs
from embedder.training_step import embedding_function
from embedder.version import __version__

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_REPLACING = "replacing"  # a file beside the checkpoint of a training that may replace a model
_COMPARED = 200  # photos, with each other and in LiteRT with the network


def unfinished_folder(model: Path) -> Path:
    """Where the decoded photos and checkpoints of an unfinished training lie."""
    return model.with_name(model.name + ".training")


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
    held-out photos. A model that is replaced stays until the new one is there.

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
    options, listener = options or TrainingOptions(), listener or Listener()
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"training needs the Keras backend tensorflow, found {keras.backend.backend()}: "
            "unset KERAS_BACKEND"
        )
    _refuse_existing(model, replace_existing)
    folder = unfinished_folder(model)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_process(model.with_name(f".{model.name}.lock")) as alone:
            if not alone:
                raise TrainingError(f"{folder}: another training is using it: wait for its end")
            put_back(model)
            _refuse_existing(model, replace_existing)
            info = _train(catalogue, model, folder, options, listener, replace_existing)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        where = error.filename or folder
        raise TrainingError(f"{where}: cannot be written: {with_advice(error)}") from error
    return info


def _refuse_existing(model: Path, replace_existing: bool) -> None:
    if not model.name:
        raise TrainingError(f"{model}: expected the name of a model folder to write")
    if model.suffix.lower() in NETWORK_SUFFIXES and not model.is_dir():
        raise TrainingError(
            f"{model}: expected the name of a model folder, which is what training writes, found "
            "that of a file: name another with --model or EMBED_MODEL"
        )
    if model.exists() and not (model / MODEL_JSON).is_file():
        raise TrainingError(
            f"{model}: expected a model folder or nothing, found something else: name another with "
            "--model"
        )
    if model.exists() and not replace_existing:
        raise TrainingError(f"{model}: is there already; name another --model, or use --replace")


def _train(
    catalogue: Catalogue,
    model: Path,
    folder: Path,
    options: TrainingOptions,
    listener: Listener,
    replace_existing: bool,
) -> ModelInfo:
    # What can be wrong with the request is found out before photos are decoded for hours.
    size, masks = options.architecture.size, options.augmentation.background > 0
    if not 1 <= options.side_trained_at <= size:
        raise TrainingError(
            f"expected to train at 1 to {size} px, the size of the photos, "
            f"found {options.side_trained_at} px"
        )
    photos, given = cache_key(catalogue, size, masks), None
    if options.frozen:
        refuse_unfreezable(options)
        photos += weights_key(str(options.weights))
    if options.backgrounds:
        given = load_pictures(Path(options.backgrounds), size)
        photos += hashlib.sha256(given.tobytes()).hexdigest()
    settings = _settings(options, photos)
    if replace_existing:
        stored = _replacing(folder, settings, options.learning_rate)
    else:
        stored = load_checkpoint(folder, settings)
    keras.utils.set_random_seed(options.seed)
    trained_at = replace(options.architecture, size=options.side_trained_at)
    # A checkpoint has the weights of what learns, which a frozen backbone does not.
    started = None if stored and not options.frozen else options.weights
    network = build_network(trained_at, started)
    cache = open_cache(catalogue, size, folder, listener.decoded, masks)
    if given is not None:
        cache = replace(cache, pictures=given)
    if cache.unreadable:
        listener.unreadable(cache.unreadable)
    _refuse_useless(cache, catalogue.source)
    learner = _learner(options, settings, cache, network, listener)
    try:
        run = start(options, settings, cache, learner, stored)
    except TrainingError:
        (folder / _REPLACING).unlink(missing_ok=True)  # --replace is then to start anew
        raise
    if stored:
        listener.resumed(run.progress.epoch)
    train_epochs(run, folder, listener)
    return _finish(run, model)


def _learner(
    options: TrainingOptions, settings: str, cache: PhotoCache, network: Any, listener: Listener
) -> Learner:
    if not options.frozen:
        return learner_of_photos(options, cache, network)
    usable = np.flatnonzero(~validation.hold_out(cache.labels, options.seed))
    return learner_of_features(options, settings, cache, network, usable, listener.features)


def _replacing(folder: Path, settings: str, learning_rate: float) -> Stored:
    """What a training that replaces a model goes on from.

    Only from one that was begun to replace a model too, by the same command: anything else is
    forgotten. Without that, such a training could not be gone on with at all.
    """
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


def _settings(options: TrainingOptions, photos: str) -> str:
    # A training that diverged may go on with a lower learning rate: `start` looks at that.
    same = {name: value for name, value in asdict(options).items() if name != "learning_rate"}
    return json.dumps({"options": same, "photos": photos}, sort_keys=True)


def _finish(run: Run, model: Path) -> ModelInfo:
    learner = run.learner
    learner.asked.set_weights(run.best)
    temperature, whitened_temperature = validation.DEFAULT_TEMPERATURE, None
    accuracy: tuple[float | None, float | None] = (None, None)
    whitened_accuracy, judged, held_out = accuracy, 0, None
    if run.held.any():
        items, known, labels, asked, truth = gallery_and_queries(
            run, embedding_function(learner.asked)
        )
        judged = len(items)
        held_out = LabelledVectors(asked, tuple(items[item] for item in truth.tolist()))
        plain, whitened = validation.judge_spaces(
            known, labels, asked, truth, judged, run.options.seed
        )
        temperature = plain.temperature
        accuracy = (round(run.progress.best_score[0], 4), round(run.progress.best_score[1], 4))
        if whitened is not None:
            whitened_accuracy = (round(whitened.candidate_accuracy, 4), round(whitened.top1, 4))
            if whitened.better_than(plain):
                whitened_temperature = whitened.temperature
    facts = {
        "items": len(run.cache.items),
        "judged_items": judged,
        "photos": int((~run.held).sum()),
        "held_out_photos": int(run.held.sum()),
        "unreadable_photos": len(run.cache.unreadable),
        "epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "candidate_accuracy": accuracy[0],
        "top1": accuracy[1],
        "whitened_candidate_accuracy": whitened_accuracy[0],
        "whitened_top1": whitened_accuracy[1],
        "seconds": round(run.progress.seconds, 1),
        "options": asdict(
            replace(
                run.options,
                weights=_file_name(run.options.weights),
                backgrounds=_file_name(run.options.backgrounds),
            )
        ),
        "versions": {
            "embed": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
    some = run.cache.pixels[evenly(len(run.cache.labels), _COMPARED)]
    info = ModelInfo(
        run.options.architecture, temperature, facts, whitened_temperature=whitened_temperature
    )
    return save_model(learner.whole, info, some, model, held_out)


def _file_name(path: str | None) -> str | None:
    return Path(path).name if path else None
