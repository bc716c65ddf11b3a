"""The epochs of a training: batches, steps, a judgement, a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder import validation
from embedder.backend import keras
from embedder.checkpoints import (
    Arrays,
    Progress,
    Stored,
    refuse_other_arrays,
    save_checkpoint,
)
from embedder.errors import TrainingError
from embedder.learner import Learner
from embedder.mining import follow, nearest_items, worth_mining
from embedder.photo_cache import PhotoCache
from embedder.replicas import Array, Replicas, agreement
from embedder.sampling import Indices
from embedder.score_space import Floats
from embedder.training_options import EpochReport, Listener, TrainingOptions
from embedder.training_step import (
    embedding_function,
    learning_rate_at,
    new_directions,
    training_step,
)

_MOST_STEPS = 200  # an epoch of a large catalogue is not a whole pass: people want to see it move
_FEWEST_STEPS = 10


@dataclass
class Run:
    """A training under way.

    Attributes:
        options: how to train.
        settings: a text that is the same only for a training that may go on from here.
        cache: the photos.
        held: bool (photos,), kept out of training to judge by.
        learner: what learns, and from what.
        optimizer: a Keras optimizer, built for its network.
        progress: how far it is.
        best: the network's weights after the best epoch.
        centroids: float32 (items, dim), followed to find look-alike items.
        directions: variable (items, dim) of the softmax beside the triplets; None without one.
        replicas: that learn together.
    """

    options: TrainingOptions
    settings: str
    cache: PhotoCache
    held: npt.NDArray[np.bool_]
    learner: Learner
    optimizer: Any
    progress: Progress
    best: list[npt.NDArray[Any]]
    centroids: Floats
    directions: Any
    replicas: Replicas

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        batch = self.options.items_per_batch * self.options.photos_per_item
        whole = math.ceil(int((~self.held).sum()) * self.learner.views / batch)
        return min(max(whole, _FEWEST_STEPS), _MOST_STEPS)

    @property
    def mines(self) -> bool:
        """Whether look-alike items are put into the same batches."""
        options, items = self.options, len(self.cache.items)
        return options.mining and worth_mining(items, options.items_per_batch)


def start(
    options: TrainingOptions,
    settings: str,
    cache: PhotoCache,
    learner: Learner,
    stored: Stored,
    replicas: Replicas,
) -> Run:
    """A training from its beginning, or from a checkpoint.

    Raises:
        TrainingError: the learning rate is higher than the checkpoint's, or that is of another
            network.
    """
    with replicas.strategy.scope():
        optimizer = keras.optimizers.Adam(options.learning_rate)
        directions = new_directions(options, len(cache.items))
        optimizer.build([*learner.network.trainable_variables, *_listed(directions)])
    held = validation.hold_out(cache.labels, options.seed)
    weights = learner.network.get_weights()
    centroids = np.zeros((len(cache.items), options.architecture.dim), np.float32)
    progress = Progress()
    run = Run(
        options,
        settings,
        cache,
        held,
        learner,
        optimizer,
        progress,
        weights,
        centroids,
        directions,
        replicas,
    )
    if stored:
        run.progress, groups = stored
        if options.learning_rate > run.progress.learning_rate:
            raise TrainingError(
                f"expected a learning rate of at most {run.progress.learning_rate:g}, as the "
                f"unfinished training has, found {options.learning_rate:g}; --replace starts anew"
            )
        refuse_other_arrays(cache.folder, groups, _kept(run))
        for part, variables in _learned(run).items():
            for variable, value in zip(variables, groups.get(part, []), strict=True):
                variable.assign(value)
        run.best = groups["best"]
        run.centroids = groups["centroids"][0]
    return run


def is_done(options: TrainingOptions, progress: Progress, holds_out: bool) -> bool:
    """Whether all epochs are done, or none was better for a while."""
    waited = progress.epoch - progress.improved_epoch
    return progress.epoch >= options.epochs or (holds_out and waited >= options.patience)


def _listed(directions: Any) -> list[Any]:
    return [] if directions is None else [directions]


def _learned(run: Run) -> dict[str, list[Any]]:
    """All variables that a step changes, by the name they have in a checkpoint."""
    return {
        # Not only its weights: dropout has a state too.
        "network": run.learner.network.variables,
        "optimizer": run.optimizer.variables,
        "directions": _listed(run.directions),
    }


def train_epochs(run: Run, folder: Path, listener: Listener) -> None:
    """Train until all epochs are done, or none was better for a while.

    Raises:
        TrainingError: the loss is not a number, or the checkpoint cannot be written.
    """
    network, asked, progress = run.learner.network, run.learner.asked, run.progress
    step = training_step(network, run.optimizer, run.options, run.directions, run.replicas)
    embed, agreed = embedding_function(asked), agreement(run.replicas)
    while not is_done(run.options, progress, bool(run.held.any())):
        started = time.monotonic()
        losses = _train_epoch(run, step, agreed, folder, listener)
        if not all(np.isfinite(weight).all() for weight in network.get_weights()):
            raise TrainingError(_diverged("weights are not finite", progress.epoch, folder))
        trained = time.monotonic() - started
        if asked is not network:
            asked.set_weights(network.get_weights())
        first, all_of_them = agreed(np.array(_accuracy(run, embed))).tolist()
        accuracy = (first, all_of_them)
        progress.epoch += 1
        progress.losses.append(float(np.mean(losses)))
        best = _keep_best(run, (*accuracy, -progress.losses[-1]))
        progress.seconds += time.monotonic() - started
        _save(run, folder)
        listener.epoch(_report(run, accuracy, trained, best))


def _train_epoch(
    run: Run,
    step: Callable[..., Any],
    agreed: Callable[[Array], Array],
    folder: Path,
    listener: Listener,
) -> list[float]:
    options, epoch, steps = run.options, run.progress.epoch, run.steps
    # As they were when the epoch began: batches are drawn ahead of the step, which moves them.
    look_alikes = partial(_look_alikes, run.centroids.copy(), agreed) if run.mines else None
    usable, losses = np.flatnonzero(~run.held), []
    with closing(run.learner.batches(usable, steps, epoch, look_alikes)) as drawn:
        for number, (photos, labels) in enumerate(drawn):
            done = (epoch * steps + number) / (options.epochs * steps)
            run.optimizer.learning_rate.assign(options.learning_rate * learning_rate_at(done))
            found, vectors = step(photos, labels)
            loss = float(found)
            if not math.isfinite(loss):
                raise TrainingError(_diverged(f"loss became {loss}", epoch, folder))
            if run.mines:
                follow(run.centroids, labels, np.asarray(vectors))
            losses.append(loss)
            listener.step(epoch + 1, number + 1, steps, loss)
    return losses


def _look_alikes(
    centroids: Floats, agreed: Callable[[Array], Array], items: Indices
) -> list[Indices]:
    """`nearest_items`; ties are broken for all workers by the first one."""
    found = nearest_items(centroids, items)
    table = np.full((len(found), max(map(len, found))), -1)
    for row, some in zip(table, found, strict=True):
        row[: len(some)] = some
    return [row[row >= 0] for row in agreed(table)]


def _diverged(what: str, epoch: int, folder: Path) -> str:
    if not epoch:
        return f"the {what} in epoch 1: use a lower --learning-rate"
    return (
        f"the {what} in epoch {epoch + 1}; the checkpoint of epoch {epoch} is kept in {folder}: "
        "give the same command with a lower --learning-rate to go on from it"
    )


def _keep_best(run: Run, score: tuple[float, float, float]) -> bool:
    progress = run.progress
    if score[:2] > tuple(progress.best_score[:2]):
        progress.improved_epoch = progress.epoch
    # Without held-out photos there is nothing to choose by: the latest is as good as any.
    if run.held.any() and score <= tuple(progress.best_score):
        return False
    progress.best_epoch, progress.best_score = progress.epoch, score
    run.best = run.learner.network.get_weights()
    return True


def gallery_and_queries(
    run: Run, embed: Callable[[Any], Any]
) -> tuple[list[str], Floats, Indices, Floats, Indices]:
    """The items judged by; the vectors and items of photos to make centroids of, and to ask about.

    Items are numbered anew, without those that are not judged by.
    """
    gallery, queries = validation.gallery_and_queries(run.cache.labels, run.held)
    judged, labels = np.unique(run.cache.labels[gallery], return_inverse=True)
    truth = np.searchsorted(judged, run.cache.labels[queries])
    items = [run.cache.items[item] for item in judged.tolist()]
    known, asked = (_embed_rows(run, embed, rows) for rows in (gallery, queries))
    return items, known, labels, asked, truth


def _embed_rows(run: Run, embed: Callable[[Any], Any], rows: Indices) -> Floats:
    parts = [rows[first : first + 128] for first in range(0, len(rows), 128)]
    return np.concatenate([np.asarray(embed(run.learner.plain(part))) for part in parts])


def _accuracy(run: Run, embed: Callable[[Any], Any]) -> tuple[float, float]:
    if not run.held.any():
        return 0.0, 0.0
    items, gallery, labels, queries, truth = gallery_and_queries(run, embed)
    centres = validation.centroids(gallery, labels, len(items))
    return validation.accuracies(queries, truth, centres)


def _kept(run: Run) -> dict[str, Arrays]:
    """All arrays of a checkpoint, by group."""
    learned = {
        part: [np.asarray(variable) for variable in variables]
        for part, variables in _learned(run).items()
    }
    return {**learned, "best": run.best, "centroids": [run.centroids]}


def _save(run: Run, folder: Path) -> None:
    run.progress.learning_rate = run.options.learning_rate
    if run.replicas.writes:
        save_checkpoint(folder, run.settings, run.progress, _kept(run))


def _report(run: Run, accuracy: tuple[float, float], trained: float, best: bool) -> EpochReport:
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
        float(np.asarray(run.optimizer.learning_rate)),
        photos / trained,
        left,
        best,
    )
