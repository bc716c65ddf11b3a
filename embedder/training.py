"""Training: a catalogue to a model folder, with triplet loss on P x K batches."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder import validation
from embedder.augmentation import augment, draw_colour, draw_geometry
from embedder.backend import keras
from embedder.catalogue import Catalogue
from embedder.checkpoints import Progress, load_checkpoint, save_checkpoint
from embedder.errors import TrainingError
from embedder.export import save_model
from embedder.losses import triplet_hard_loss
from embedder.model_files import ModelInfo
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, open_cache
from embedder.sampling import pk_batches
from embedder.training_options import EpochReport, Listener, TrainingOptions
from embedder.version import __version__

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_MOST_STEPS = 200  # an epoch of a large catalogue is not a whole pass: people want to see it move
_FEWEST_STEPS = 10


@dataclass
class _Run:
    options: TrainingOptions
    cache: PhotoCache
    held: npt.NDArray[np.bool_]
    network: Any
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
    folder = unfinished_folder(model)
    if replace_existing:
        shutil.rmtree(folder, ignore_errors=True)
    elif model.exists():
        raise TrainingError(f"{model}: is there already; name another --model, or use --replace")
    cache = open_cache(catalogue, options.architecture.size, folder, listener.decoded)
    if cache.unreadable:
        listener.unreadable(cache.unreadable)
    if len(cache.items) < 2:
        raise TrainingError(
            f"{catalogue.source}: expected at least two items with readable photos, "
            f"found {len(cache.items)}"
        )
    run = _start(options, cache, folder, listener)
    _train_epochs(run, folder, listener)
    info = _finish(run, model)
    del run, cache  # lets go of the mapped file
    shutil.rmtree(folder, ignore_errors=True)
    return info


def _start(options: TrainingOptions, cache: PhotoCache, folder: Path, listener: Listener) -> _Run:
    keras.utils.set_random_seed(options.seed)
    stored = load_checkpoint(folder, _settings(options, cache))
    network = build_network(options.architecture, None if stored else options.weights)
    optimizer = keras.optimizers.Adam(options.learning_rate)
    optimizer.build(network.trainable_variables)
    held = validation.hold_out(cache.labels, options.seed)
    run = _Run(options, cache, held, network, optimizer, Progress(), network.get_weights())
    if stored:
        run.progress, groups = stored
        network.set_weights(groups["network"])
        for variable, value in zip(optimizer.variables, groups["optimizer"], strict=True):
            variable.assign(value)
        run.best = groups["best"]
        listener.resumed(run.progress.epoch)
    return run


def _settings(options: TrainingOptions, cache: PhotoCache) -> str:
    return json.dumps({"options": asdict(options), "photos": cache.key}, sort_keys=True)


def _train_epochs(run: _Run, folder: Path, listener: Listener) -> None:
    options, progress = run.options, run.progress
    step = _training_step(run)
    embed = _embedding_function(run.network)
    while progress.epoch < options.epochs:
        if progress.best_epoch and progress.epoch - progress.best_epoch >= options.patience:
            break
        started = time.monotonic()
        losses = []
        for number, batch in enumerate(_batches(run, progress.epoch)):
            _set_learning_rate(run, progress.epoch * run.steps + number)
            loss = float(step(*batch))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in epoch {progress.epoch + 1}; the checkpoint of "
                    f"epoch {progress.epoch} is kept in {folder}: use a lower learning rate"
                )
            losses.append(loss)
            listener.step(progress.epoch + 1, number + 1, run.steps, loss)
        trained = time.monotonic() - started
        score = _score(run, embed)
        best = score > tuple(progress.best_score)
        progress.epoch += 1
        progress.losses.append(float(np.mean(losses)))
        if best:
            progress.best_epoch, progress.best_score = progress.epoch, score
            run.best = run.network.get_weights()
        progress.seconds += time.monotonic() - started
        _save(run, folder)
        listener.epoch(_report(run, score, trained, best))


def _batches(run: _Run, epoch: int) -> Iterator[tuple[Any, ...]]:
    options, size = run.options, run.options.architecture.size
    usable = np.flatnonzero(~run.held)
    seed = [options.seed, epoch]
    rng = np.random.default_rng([*seed, 1])
    chosen = pk_batches(
        run.cache.labels[usable],
        options.items_per_batch,
        options.photos_per_item,
        run.steps,
        [*seed, 2],
    )
    for positions in chosen:
        rows = usable[positions]
        geometry = draw_geometry(rng, len(rows), size, options.augmentation)
        colour = draw_colour(rng, len(rows), options.augmentation)
        yield run.cache.pixels[rows], run.cache.labels[rows], geometry, colour


def _training_step(run: _Run) -> Any:
    network, optimizer, margin = run.network, run.optimizer, run.options.margin

    def step(photos: Any, labels: Any, geometry: Any, colour: Any) -> Any:
        varied = augment(photos, geometry, colour)
        with tf.GradientTape() as tape:
            vectors = network(varied, training=True)
            loss = triplet_hard_loss(labels, vectors, margin or 0.0, soft=margin is None)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return tf.function(step, reduce_retracing=True)


def _embedding_function(network: Any) -> Any:
    def embed(photos: Any) -> Any:
        return network(tf.cast(photos, tf.float32), training=False)

    return tf.function(embed, reduce_retracing=True)


def _set_learning_rate(run: _Run, step: int) -> None:
    total = run.steps * run.options.epochs
    warm_up = max(1, total // 20)
    rising = min(1.0, (step + 1) / warm_up)
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
    run.optimizer.learning_rate.assign(run.options.learning_rate * rising * max(falling, 0.01))


def _embed_rows(run: _Run, embed: Any, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    batches = [rows[start : start + 128] for start in range(0, len(rows), 128)]
    return np.concatenate([np.asarray(embed(run.cache.pixels[batch])) for batch in batches])


def _validate(
    run: _Run, embed: Any
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    labels = run.cache.labels
    gallery, queries = validation.gallery_and_queries(labels, run.held)
    centres = validation.centroids(
        _embed_rows(run, embed, gallery), labels[gallery], len(run.cache.items)
    )
    return _embed_rows(run, embed, queries), labels[queries], centres


def _score(run: _Run, embed: Any) -> tuple[float, float]:
    vectors, truth, centres = _validate(run, embed)
    counts = validation.rivals(vectors, truth, centres)
    return validation.candidate_accuracy(counts, len(centres)), float((counts == 0).mean())


def _save(run: _Run, folder: Path) -> None:
    groups = {
        "network": run.network.get_weights(),
        "optimizer": [np.asarray(variable) for variable in run.optimizer.variables],
        "best": run.best,
    }
    save_checkpoint(folder, _settings(run.options, run.cache), run.progress, groups)


def _report(run: _Run, score: tuple[float, float], trained: float, best: bool) -> EpochReport:
    progress, options = run.progress, run.options
    photos = (
        run.steps * min(options.items_per_batch, len(run.cache.items)) * options.photos_per_item
    )
    left = progress.seconds / progress.epoch * (options.epochs - progress.epoch)
    return EpochReport(
        progress.epoch, options.epochs, progress.losses[-1], *score, photos / trained, left, best
    )


def _finish(run: _Run, model: Path) -> ModelInfo:
    run.network.set_weights(run.best)
    vectors, truth, centres = _validate(run, _embedding_function(run.network))
    temperature = validation.fit_temperature(vectors, truth, centres, run.options.seed)
    accuracy, top1 = run.progress.best_score
    facts = {
        "items": len(run.cache.items),
        "photos": int((~run.held).sum()),
        "held_out_photos": int(run.held.sum()),
        "unreadable_photos": len(run.cache.unreadable),
        "epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "candidate_accuracy": round(accuracy, 4),
        "top1": round(top1, 4),
        "seconds": round(run.progress.seconds, 1),
        "options": asdict(replace(run.options, weights=_weights_name(run.options.weights))),
        "versions": {
            "embed": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
    some = run.cache.pixels[:: max(1, len(run.cache.pixels) // 200)]
    return save_model(
        run.network, ModelInfo(run.options.architecture, temperature, facts), some, model
    )


def _weights_name(weights: str | None) -> str | None:
    return Path(weights).name if weights else None
