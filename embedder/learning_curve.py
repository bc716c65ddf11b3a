"""More photos, or more epochs? Trainings with fewer photos and other numbers of epochs, compared.

Imports TensorFlow only once a training has to be run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.catalogue import Catalogue, photo_states
from embedder.errors import CatalogueError, ModelError, PhotoError, TrainingError
from embedder.inference import Embedder
from embedder.model_files import MODEL_JSON, Architecture, ModelInfo
from embedder.score_space import fit_score_space, within_scatter
from embedder.training_options import Augmentation, EpochReport, Listener, TrainingOptions
from embedder.validation import candidate_accuracies, centroids, rivals

PHOTOS = (5, 10, 20, 50, 100)  # an item
_STEP = 1.25  # a smaller one shows nothing
_EPOCHS = (0.5, 1.0, 2.0)  # of those asked for
_TEST_SHARE, _MOST_TESTED = 0.2, 10  # photos of an item
_FEWEST = 7  # photos an item has to have: five to learn from, and one or two to ask about


@dataclass(frozen=True)
class CurvePoint:
    """One training.

    Attributes:
        photos: an item, at most.
        epochs: at most.
        right: float64 (tested,), the chance of each tested photo to be right among 10 candidates
            drawn at random, by itself.
    """

    photos: int
    epochs: int
    right: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Trainings that were tested with the same photos, which none of them saw.

    Attributes:
        item: int64 (tested,), the item of each tested photo, 0, 1 ...
        points: in the order of photos, then epochs.
    """

    item: npt.NDArray[np.int64]
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Split:
    learn: dict[str, tuple[str, ...]]
    test: dict[str, tuple[str, ...]]


def options_of(info: ModelInfo, weights: str | None) -> TrainingOptions:
    """How a model was trained.

    Args:
        info: of the model.
        weights: the file that its backbone started from, of which the model knows the name alone.

    Raises:
        TrainingError: the file is not given, or the model was trained by another version.
    """
    given = dict(info.training.get("options", {}))
    started = given.get("weights")
    if started not in (None, "imagenet") and weights is None:
        raise TrainingError(
            f"expected the weights that the model was trained from: name {started} with --weights"
        )
    try:
        parts = {
            "architecture": Architecture(**given.pop("architecture")),
            "augmentation": Augmentation(**given.pop("augmentation")),
        }
        return TrainingOptions(**{**given, **parts, "weights": weights or started})
    except (KeyError, TypeError) as error:
        raise TrainingError(
            f"the model does not say how it was trained ({error}): train it again with this version"
        ) from error


def learning_curve(
    catalogue: Catalogue,
    options: TrainingOptions,
    folder: Path,
    *,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Curve:
    """Train with 5, 10, 20, 50 and 100 photos an item, for half, all and twice the epochs.

    A fifth of the photos of each item, ten at most, is kept to test with. Each training holds out
    photos of its own to choose the best epoch by, as `training.train` does.

    Args:
        catalogue: items and photos.
        options: of the training to compare with others.
        folder: keeps the models, so that what was trained is not trained again.
        jobs: threads to embed with; all cores unless given.
        on_progress: called with (epochs done, epochs in all).

    Raises:
        CatalogueError: an item has fewer than 7 photos, there are fewer than two items, or none of
            the photos to test with can be read.
        TrainingError: as `training.train`.
    """
    split = _split(catalogue, options.seed)
    epochs = sorted({max(1, round(share * options.epochs)) for share in _EPOCHS})
    grid = [(photos, count) for photos in _amounts(split) for count in epochs]
    points, done, total = [], 0, sum(count for _, count in grid)
    for photos, count in grid:
        on_progress(done, total)
        known = {item: paths[:photos] for item, paths in split.learn.items()}
        trained = _trained(
            Catalogue(catalogue.source, known),
            replace(options, epochs=count),
            folder,
            lambda epoch, before=done: on_progress(before + epoch, total),  # type: ignore[misc]
        )
        points.append(CurvePoint(photos, count, _tested(trained, known, split.test, jobs)))
        done += count
    on_progress(total, total)
    item = np.repeat(np.arange(len(split.test)), [len(paths) for paths in split.test.values()])
    seen = ~np.isnan(points[0].right)  # all trainings are tested with the same photos
    if not seen.any():
        raise CatalogueError(f"{catalogue.source}: expected photos that can be read, found none")
    read = (replace(point, right=point.right[seen]) for point in points)
    return Curve(item[seen].astype(np.int64), tuple(read))


def _split(catalogue: Catalogue, seed: int) -> _Split:
    few = [item for item, photos in catalogue.items.items() if len(photos) < _FEWEST]
    if few or len(catalogue.items) < 2:
        found = f"{len(few):,} items with fewer, such as '{few[0]}'" if few else "one item"
        raise CatalogueError(
            f"{catalogue.source}: expected two items or more with {_FEWEST} photos or more each, "
            f"found {found}"
        )
    rng = np.random.default_rng([seed, 2])
    learn, test = {}, {}
    for item, photos in catalogue.items.items():
        order = [photos[at] for at in rng.permutation(len(photos))]
        count = min(_MOST_TESTED, max(1, int(_TEST_SHARE * len(photos))))
        test[item], learn[item] = tuple(order[:count]), tuple(order[count:])
    return _Split(learn, test)


def _amounts(split: _Split) -> list[int]:
    """How many photos an item to learn from: steps that most items have, up to what they have."""
    typical = int(np.median([len(paths) for paths in split.learn.values()]))
    if typical >= PHOTOS[-1]:
        return list(PHOTOS)
    return [*(photos for photos in PHOTOS if _STEP * photos <= typical), typical]


def _trained(
    catalogue: Catalogue, options: TrainingOptions, folder: Path, on_epoch: Callable[[int], None]
) -> Embedder:
    """The model of a training: that of an earlier run, or a new one."""
    states = photo_states([path for paths in catalogue.items.values() for path in paths])
    key = repr((asdict(options), catalogue.items, states))
    model = folder / sha256(key.encode(errors="surrogateescape")).hexdigest()[:16] / "items.model"
    if not (model / MODEL_JSON).exists():
        _train(catalogue, model, options, on_epoch)
    try:
        return Embedder.open(model)
    except ModelError as error:
        raise ModelError(f"{error}; or delete {folder}, to train anew") from error


def _train(
    catalogue: Catalogue, model: Path, options: TrainingOptions, on_epoch: Callable[[int], None]
) -> None:
    from embedder.backend import keras
    from embedder.training import train

    class Counting(Listener):
        def epoch(self, report: EpochReport) -> None:
            on_epoch(report.epoch)

    # TensorFlow warns of functions that are traced often: each network is another one.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.utils.clear_session()  # or those of all trainings would stay in memory
    train(catalogue, model, options, Counting())


def _tested(
    embedder: Embedder,
    known: dict[str, tuple[str, ...]],
    test: dict[str, tuple[str, ...]],
    jobs: int | None,
) -> npt.NDArray[np.float64]:
    gallery, labels = _embedded(embedder, known, jobs)
    readable = gallery.any(axis=1)
    gallery, labels = gallery[readable], labels[readable]
    queries, truth = _embedded(embedder, test, jobs)
    seen = queries.any(axis=1)
    centres = centroids(gallery, labels, len(known))
    space = None
    if embedder.info.whitened_temperature is not None:
        space = fit_score_space(*within_scatter(gallery, labels), centres)
    if space is not None:
        queries, centres = space.project(queries), space.project(centres)
    right = candidate_accuracies(rivals(queries, truth, centres), len(known))
    return np.where(seen, right, np.nan)


def _embedded(
    embedder: Embedder, photos: dict[str, tuple[str, ...]], jobs: int | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Vectors and items; a photo that cannot be read is like nothing: a vector of zeros."""
    nothing = np.zeros(embedder.info.architecture.dim, np.float32)
    found = embedder.embed((path for paths in photos.values() for path in paths), jobs)
    vectors = [nothing if isinstance(one, PhotoError) else one for one in found]
    labels = np.repeat(np.arange(len(photos)), [len(paths) for paths in photos.values()])
    return np.array(vectors, np.float32), labels.astype(np.int64)
