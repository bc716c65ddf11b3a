"""Training: a catalogue to a model folder, with triplet loss on P x K batches."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder import validation
from embedder.backend import keras
from embedder.backgrounds import load_pictures
from embedder.catalogue import Catalogue
from embedder.checkpoints import Progress, Stored, load_checkpoint, save_checkpoint
from embedder.errors import TrainingError
from embedder.export import save_model
from embedder.locking import only_process
from embedder.model_files import MODEL_JSON, ModelInfo
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, cache_key, open_cache
from embedder.training_options import EpochReport, Listener, TrainingOptions
from embedder.training_step import batches, embedding_function, learning_rate_at, training_step
from embedder.version import __version__

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_MOST_STEPS = 200  # an epoch of a large catalogue is not a whole pass: people want to see it move
_FEWEST_STEPS = 10


@dataclass
class _Run:
    options: TrainingOptions
    settings: str
    cache: PhotoCache
    held: npt.NDArray[np.bool_]
    network: Any  # as it is trained ...
    asked: Any  # ... and as it is used, on photos of another size perhaps
    optimizer: Any
    progress: Progress
    best: list[npt.NDArray[Any]]

    @property
    def steps(self) -> int:
        batch = self.options.items_per_batch * self.options.photos_per_item
        whole = math.ceil(int((~self.held).sum()) / batch)
        return min(max(whole, _FEWEST_STEPS), _MOST_STEPS)


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
    held-out photos.

    Args:
        catalogue: items and photos.
        model: the model folder to write.
        options: how to train.
        listener: hears of progress.
        replace_existing: replace a model that is there, and forget an unfinished training.

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
            if replace_existing:
                shutil.rmtree(folder, ignore_errors=True)
            info = _train(catalogue, model, folder, options, listener)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    return info


def _refuse_existing(model: Path, replace_existing: bool) -> None:
    if not model.name:
        raise TrainingError(f"{model}: expected the name of a model folder to write")
    if model.exists() and not (model / MODEL_JSON).is_file():
        raise TrainingError(f"{model}: expected a model folder or nothing, found something else")
    if model.exists() and not replace_existing:
        raise TrainingError(f"{model}: is there already; name another --model, or use --replace")


def _train(
    catalogue: Catalogue, model: Path, folder: Path, options: TrainingOptions, listener: Listener
) -> ModelInfo:
    # What can be wrong with the request is found out before photos are decoded for hours.
    size, masks = options.architecture.size, options.augmentation.background > 0
    if not 1 <= options.side_trained_at <= size:
        raise TrainingError(
            f"expected to train at 1 to {size} px, the size of the photos, "
            f"found {options.side_trained_at} px"
        )
    photos, given = cache_key(catalogue, size, masks), None
    if options.backgrounds:
        given = load_pictures(Path(options.backgrounds), size)
        photos += hashlib.sha256(given.tobytes()).hexdigest()
    settings = _settings(options, photos)
    stored = load_checkpoint(folder, settings)
    keras.utils.set_random_seed(options.seed)
    trained_at = replace(options.architecture, size=options.side_trained_at)
    network = build_network(trained_at, None if stored else options.weights)
    cache = open_cache(catalogue, size, folder, listener.decoded, masks)
    if given is not None:
        cache = replace(cache, pictures=given)
    if cache.unreadable:
        listener.unreadable(cache.unreadable)
    if len(cache.items) < 2:
        raise TrainingError(
            f"{catalogue.source}: expected at least two items with readable photos, "
            f"found {len(cache.items)}"
        )
    run = _start(options, cache, network, stored, settings)
    if stored:
        listener.resumed(run.progress.epoch)
    _train_epochs(run, folder, listener)
    return _finish(run, model)


def _start(
    options: TrainingOptions, cache: PhotoCache, network: Any, stored: Stored, settings: str
) -> _Run:
    optimizer = keras.optimizers.Adam(options.learning_rate)
    optimizer.build(network.trainable_variables)
    held = validation.hold_out(cache.labels, options.seed)
    weights, asked = network.get_weights(), network
    if options.training_size:
        asked = build_network(options.architecture)
    run = _Run(options, settings, cache, held, network, asked, optimizer, Progress(), weights)
    if stored:
        run.progress, groups = stored
        network.set_weights(groups["network"])
        for variable, value in zip(optimizer.variables, groups["optimizer"], strict=True):
            variable.assign(value)
        run.best = groups["best"]
    return run


def _settings(options: TrainingOptions, photos: str) -> str:
    return json.dumps({"options": asdict(options), "photos": photos}, sort_keys=True)


def _train_epochs(run: _Run, folder: Path, listener: Listener) -> None:
    options, progress = run.options, run.progress
    step = training_step(run.network, run.optimizer, options.margin, options.steepness)
    embed = embedding_function(run.asked)
    while progress.epoch < options.epochs:
        if run.held.any() and progress.epoch - progress.improved_epoch >= options.patience:
            break
        started = time.monotonic()
        losses = []
        drawn = batches(options, run.cache, np.flatnonzero(~run.held), run.steps, progress.epoch)
        for number, batch in enumerate(drawn):
            done = (progress.epoch * run.steps + number) / (options.epochs * run.steps)
            run.optimizer.learning_rate.assign(options.learning_rate * learning_rate_at(done))
            loss = float(step(*batch))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in epoch {progress.epoch + 1}; the checkpoint of "
                    f"epoch {progress.epoch} is kept in {folder}: use a lower learning rate"
                )
            losses.append(loss)
            listener.step(progress.epoch + 1, number + 1, run.steps, loss)
        trained = time.monotonic() - started
        if run.asked is not run.network:
            run.asked.set_weights(run.network.get_weights())
        accuracy = _accuracy(run, embed)
        progress.epoch += 1
        progress.losses.append(float(np.mean(losses)))
        best = _keep_best(run, (*accuracy, -progress.losses[-1]))
        progress.seconds += time.monotonic() - started
        _save(run, folder)
        listener.epoch(_report(run, accuracy, trained, best))


def _keep_best(run: _Run, score: tuple[float, float, float]) -> bool:
    progress = run.progress
    if score[:2] > tuple(progress.best_score[:2]):
        progress.improved_epoch = progress.epoch
    # Without held-out photos there is nothing to choose by: the latest is as good as any.
    if run.held.any() and score <= tuple(progress.best_score):
        return False
    progress.best_epoch, progress.best_score = progress.epoch, score
    run.best = run.network.get_weights()
    return True


def _embed_rows(run: _Run, embed: Any, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    batches = [rows[start : start + 128] for start in range(0, len(rows), 128)]
    return np.concatenate([np.asarray(embed(run.cache.pixels[batch])) for batch in batches])


def _gallery_and_queries(
    run: _Run, embed: Any
) -> tuple[validation.Floats, validation.Indices, validation.Floats, validation.Indices]:
    """The vectors and items of photos to make centroids of, and of those to ask about."""
    labels = run.cache.labels
    gallery, queries = validation.gallery_and_queries(labels, run.held)
    vectors = _embed_rows(run, embed, gallery)
    return vectors, labels[gallery], _embed_rows(run, embed, queries), labels[queries]


def _accuracy(run: _Run, embed: Any) -> tuple[float, float]:
    if not run.held.any():
        return 0.0, 0.0
    gallery, labels, queries, truth = _gallery_and_queries(run, embed)
    centres = validation.centroids(gallery, labels, len(run.cache.items))
    return validation.accuracies(queries, truth, centres)


def _save(run: _Run, folder: Path) -> None:
    groups = {
        "network": run.network.get_weights(),
        "optimizer": [np.asarray(variable) for variable in run.optimizer.variables],
        "best": run.best,
    }
    save_checkpoint(folder, run.settings, run.progress, groups)


def _report(run: _Run, accuracy: tuple[float, float], trained: float, best: bool) -> EpochReport:
    progress, options = run.progress, run.options
    photos = (
        run.steps * min(options.items_per_batch, len(run.cache.items)) * options.photos_per_item
    )
    left = progress.seconds / progress.epoch * (options.epochs - progress.epoch)
    measured = run.held.any()
    return EpochReport(
        progress.epoch,
        options.epochs,
        progress.losses[-1],
        accuracy[0] if measured else None,
        accuracy[1] if measured else None,
        photos / trained,
        left,
        best,
    )


def _finish(run: _Run, model: Path) -> ModelInfo:
    run.asked.set_weights(run.best)
    temperature, whitened_temperature = validation.DEFAULT_TEMPERATURE, None
    accuracy: tuple[float | None, float | None] = (None, None)
    whitened_accuracy = accuracy
    if run.held.any():
        vectors = _gallery_and_queries(run, embedding_function(run.asked))
        plain, whitened = validation.judge_spaces(*vectors, len(run.cache.items), run.options.seed)
        temperature = plain.temperature
        accuracy = (round(run.progress.best_score[0], 4), round(run.progress.best_score[1], 4))
        if whitened is not None:
            whitened_accuracy = (round(whitened.candidate_accuracy, 4), round(whitened.top1, 4))
            if whitened.better_than(plain):
                whitened_temperature = whitened.temperature
    facts = {
        "items": len(run.cache.items),
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
    some = run.cache.pixels[:: max(1, len(run.cache.pixels) // 200)]
    info = ModelInfo(
        run.options.architecture, temperature, facts, whitened_temperature=whitened_temperature
    )
    return save_model(run.asked, info, some, model)


def _file_name(path: str | None) -> str | None:
    return Path(path).name if path else None
