"""Three ways to tell N items apart, built, timed and asked the same questions.

What `will_it_scale.ipynb` runs. All three see generated photos of the same items, with the same
convolutions, the same variations and, where a network is trained on all items, the same number of
photos. All answer through LiteRT, as an application would.
"""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression

from embedder import Catalogue, Embedder, read_catalogue
from embedder.augmentation import change_photos, draw_changes
from embedder.backend import keras
from embedder.model_files import Architecture
from embedder.networks import build_network
from embedder.photo_cache import PhotoCache, open_cache
from embedder.photos import prepare
from embedder.sample import item_id, write_sample
from embedder.saving import litert_model
from embedder.training import train
from embedder.training_batches import batches
from embedder.training_options import Augmentation, TrainingOptions
from embedder.training_step import learning_rate_at
from index import Matcher, add_item, build_index

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

Floats = npt.NDArray[np.floating]

CANDIDATES, DRAWS = 10, 1000
ENGINE, SOFTMAX = "(a) this engine", "(b) one softmax network"
SHARED, FULL = "(c) binary models, shared features", "(c) binary networks"
_OTHERS = 300  # photos of other items that a binary model learns from
_BINARY_BATCH = 64


class Scale(NamedTuple):
    """How large everything is.

    Attributes:
        items: numbers of items to compare.
        photos_seen: by a network that learns all items, for each of those numbers.
        photos: of each item.
        side: of the photos, in pixels.
        other_items: that the shared features were learned from.
        networks: binary networks that are trained; the time of the others is extrapolated.
        binary_steps: batches that each of these learns from.
    """

    items: tuple[int, ...] = (100, 1_000, 10_000)
    photos_seen: tuple[int, ...] = (40_000, 80_000, 160_000)
    photos: int = 12
    side: int = 48
    other_items: int = 200
    networks: int = 10
    binary_steps: int = 60


SHORT = Scale((10, 20), (300, 300), 8, 32, 10, 2, 3)


@dataclass(frozen=True)
class Result:
    """What one design came to.

    Attributes:
        design: which.
        items: how many.
        right: share right of 10 known candidates, each photo by itself.
        right_one_to_one: the same with the assignment of the highest total.
        training: seconds until it can be asked.
        disk: bytes.
        load: seconds to load what one match needs.
        match: seconds for 10 photos of 10 candidates, once loaded.
        adding: seconds until one more item can be found.
        extrapolated: whether training and disk are those of a few, times the number of items.
    """

    design: str
    items: int
    right: float
    right_one_to_one: float
    training: float
    disk: int
    load: float
    match: float
    adding: float
    extrapolated: bool = False

    def row(self) -> dict[str, Any]:
        """For a table."""
        return asdict(self)


class Task(NamedTuple):
    """A catalogue of N items, and a new photo of some of them.

    Attributes:
        catalogue: items and photos.
        cache: the same, decoded.
        asked: paths of new photos.
        truth: int64 (asked,), the item of each, a position among the items.
        seen: photos that a network may learn from, repeats counted.
        options: the recipe of the embedding network, whose batches all networks get.
        folder: to write into.
    """

    catalogue: Catalogue
    cache: PhotoCache
    asked: list[str]
    truth: npt.NDArray[np.int64]
    seen: int
    options: TrainingOptions
    folder: Path


def prepare_task(folder: Path, items: int, seen: int, scale: Scale, seed: int = 0) -> Task:
    """Draw a catalogue with new photos of up to 1,000 of its items, and decode it."""
    write_sample(
        folder / "sample",
        items=items,
        photos=scale.photos,
        queries=min(items, 1000),
        size=scale.side,
        seed=seed,
    )
    catalogue = read_catalogue(folder / "sample" / "catalogue")
    with (folder / "sample" / "truth.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = {item: at for at, item in enumerate(catalogue.items)}
    options = TrainingOptions(Architecture(size=scale.side), seed=seed)
    return Task(
        catalogue,
        open_cache(catalogue, scale.side, folder / "cache"),
        [str(folder / "sample" / "photos" / row["photo"]) for row in rows],
        np.array([places[row["item_id"]] for row in rows]),
        seen,
        options,
        folder,
    )


def draws(task: Task) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of `asked`: ten photos of ten items, many times; the same ones for every design."""
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        yield rng.choice(len(task.asked), CANDIDATES, replace=False)


def accuracy(task: Task, scores: Floats) -> tuple[float, float]:
    """Shares right among ten candidates, by themselves and one to one.

    Args:
        task: what was asked.
        scores: (asked, asked), of each photo for the item of each photo; the higher the likelier.
    """
    alone = together = 0
    truth = np.arange(CANDIDATES)
    for rows in draws(task):
        some = scores[np.ix_(rows, rows)]
        alone += int((some.argmax(axis=1) == truth).sum())
        together += int((linear_sum_assignment(some, maximize=True)[1] == truth).sum())
    return alone / DRAWS / CANDIDATES, together / DRAWS / CANDIDATES


def timed(work: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """The median of some runs in seconds, and what the last one gave."""
    seconds, result = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), result


def engine(task: Task) -> Result:
    """(a): one embedding network for all items, a centroid an item, candidates alone compared."""
    batch = task.options.items_per_batch * task.options.photos_per_item
    an_epoch = min(max(-(-int(0.9 * len(task.cache.labels)) // batch), 10), 200)
    epochs = max(1, round(task.seen / batch / an_epoch))
    options = TrainingOptions(task.options.architecture, epochs=epochs, patience=epochs)
    started = time.perf_counter()
    train(task.catalogue, task.folder / "items.model", options)
    path, embedder = task.folder / "items.index", Embedder.open(task.folder / "items.model")
    build_index(task.catalogue, embedder, path)
    training = time.perf_counter() - started
    ids = list(task.catalogue.items)
    asked = [ids[at] for at in task.truth]
    first = asked[:CANDIDATES]

    def load() -> Matcher:
        matcher = Matcher.open(path)
        matcher.embedder.warm_up()
        return matcher

    loading, matcher = timed(load)
    with matcher:
        matching, _ = timed(lambda: matcher.match(task.asked[:CANDIDATES], first, unknown=0))
        vectors = np.stack(list(embedder.embed(task.asked)))
        found, scores = matcher.nearest(vectors, asked, len(asked))
    table = np.zeros((len(asked), len(asked)), np.float32)
    columns = {item: at for at, item in enumerate(asked)}
    for row, (names, values) in enumerate(zip(found, scores, strict=True)):
        table[row, [columns[name] for name in names]] = values
    photos = task.catalogue.items[ids[0]]
    adding, _ = timed(lambda: add_item(path, embedder, "one more", photos, replace=True), 3)
    disk = path.stat().st_size + _size(task.folder / "items.model")
    return Result(
        ENGINE, len(ids), *accuracy(task, table), training, disk, loading, matching, adding
    )


def _size(model: Path) -> int:
    """Of what matching needs of a model folder."""
    return sum((model / name).stat().st_size for name in ("model.json", "model.tflite"))


def softmax(task: Task) -> Result:
    """(b): the same convolutions with an output an item; one more item is one more training.

    `adding` is the kinder way: only the last layer is learned again, from features of all photos.
    """
    items = len(task.catalogue.items)
    started = time.perf_counter()
    keras.utils.set_random_seed(0)
    features, network = _with_outputs(task, items)
    _learn(network, task)
    content = litert_model(network, task.options.architecture)
    file = task.folder / "softmax.tflite"
    file.write_bytes(content)
    training = time.perf_counter() - started
    loading, model = timed(lambda: _loaded(file.read_bytes()))
    logits = np.stack([_run(model, _pixels(path, task)) for path in task.asked])
    rows, columns = task.asked[:CANDIDATES], task.truth[:CANDIDATES]
    matching, _ = timed(lambda: [_run(model, _pixels(path, task))[columns] for path in rows])
    adding, _ = timed(partial(_new_last_layer, features, task), 1)
    return Result(
        SOFTMAX,
        items,
        *accuracy(task, logits[:, task.truth]),
        training,
        file.stat().st_size,
        loading,
        matching,
        adding,
    )


def _with_outputs(task: Task, outputs: int) -> tuple[Any, Any]:
    """The convolutions of the embedding network, alone and with a layer of outputs on top."""
    base = build_network(task.options.architecture)
    pooled = base.get_layer("pool").output
    return (
        keras.Model(base.input, pooled),
        keras.Model(base.input, keras.layers.Dense(outputs)(pooled)),
    )


def _learn(network: Any, task: Task) -> None:
    """Cross entropy over all items, on the batches that the embedding network gets."""
    batch = task.options.items_per_batch * task.options.photos_per_item
    steps = max(1, round(task.seen / batch))
    optimizer = keras.optimizers.Adam(task.options.learning_rate)
    optimizer.build(network.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(photos: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            logits = network(tf.cast(photos, tf.float32), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        weights = network.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    every = np.arange(len(task.cache.labels))
    for number, (photos, labels) in enumerate(batches(task.options, task.cache, every, steps, 0)):
        rate = task.options.learning_rate * learning_rate_at(number / steps)
        optimizer.learning_rate.assign(rate)
        step(photos, labels)


def _new_last_layer(features: Any, task: Task) -> None:
    """Learn a last layer with one more output: once over the features of all photos."""
    found = features.predict(task.cache.pixels, batch_size=256, verbose=0)
    layer = keras.Sequential([keras.layers.Dense(len(task.catalogue.items) + 1)])
    layer.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    layer.fit(found, task.cache.labels, batch_size=128, epochs=1, verbose=0)


def shared_features(folder: Path, scale: Scale, seen: int) -> Path:
    """A model folder of a network that learned other items: its features are shared and frozen."""
    task = prepare_task(folder, scale.other_items, seen, scale, seed=1)
    engine(task)
    return folder / "items.model"


def binary_models(task: Task, model: Path) -> Result:
    """(c): a logistic regression an item, on features of a network that learned other items."""
    embedder, items = Embedder.open(model), len(task.catalogue.items)
    started = time.perf_counter()
    known = np.stack([embedder.embed_pixels(pixels) for pixels in task.cache.pixels])
    rng = np.random.default_rng(0)
    learn = partial(_regression, known, task.cache.labels, rng=rng)
    weights = np.array([learn(item) for item in range(items)], np.float32)
    file = task.folder / "binary.npy"
    np.save(file, weights)
    training = time.perf_counter() - started
    columns = task.truth[:CANDIDATES]

    def load() -> tuple[Embedder, Floats]:
        ready = Embedder.open(model)
        ready.warm_up()
        return ready, np.load(file, mmap_mode="r")[columns]

    loading, (ready, rows) = timed(load)

    def ask(paths: list[str], of: Floats) -> Floats:
        vectors = np.stack(list(ready.embed(paths)))
        scores: Floats = vectors @ of[:, :-1].T + of[:, -1]
        return scores

    matching, _ = timed(lambda: ask(task.asked[:CANDIDATES], rows))
    scores = ask(task.asked, weights[task.truth])
    adding, _ = timed(lambda: learn(0))
    disk = file.stat().st_size + _size(model)
    return Result(SHARED, items, *accuracy(task, scores), training, disk, loading, matching, adding)


def _regression(
    vectors: Floats, labels: npt.NDArray[np.int64], item: int, rng: np.random.Generator
) -> Floats:
    """Weights and bias (dim + 1,) of "this item or another", from its photos and some others."""
    own, rest = np.flatnonzero(labels == item), np.flatnonzero(labels != item)
    rows = np.concatenate([own, rng.choice(rest, min(_OTHERS, len(rest)), replace=False)])
    fitted = LogisticRegression(C=10, class_weight="balanced")
    fitted.fit(vectors[rows], labels[rows] == item)
    return np.append(fitted.coef_[0], fitted.intercept_[0])


def binary_networks(task: Task, scale: Scale) -> Result:
    """(c): a whole network an item. A handful is trained; the rest is multiplied.

    They are asked among each other, which is kinder than among all: ten of them are the candidates
    of one match. To be kinder still, all are trained by one compiled function.
    """
    some = task.truth[: scale.networks]
    keras.utils.set_random_seed(0)
    _, network = _with_outputs(task, 1)
    start = network.get_weights()
    learn = _binary_step(network)
    files, seconds = [], []
    for item in some:
        started = time.perf_counter()
        network.set_weights(start)
        _learn_one(learn, task, int(item), scale.binary_steps)
        file = task.folder / f"{item_id(int(item))}.tflite"
        file.write_bytes(litert_model(network, task.options.architecture))
        files.append(file)
        seconds.append(time.perf_counter() - started)
    loading, models = timed(lambda: [_loaded(file.read_bytes()) for file in files])
    photos = task.asked[: scale.networks]

    def ask() -> Floats:
        pixels = [_pixels(path, task) for path in photos]
        return np.array([[_run(model, one)[0] for model in models] for one in pixels])

    matching, scores = timed(ask)
    truth, items = np.arange(len(some)), len(task.catalogue.items)
    each = float(np.median(seconds))
    return Result(
        FULL,
        items,
        float((scores.argmax(axis=1) == truth).mean()),
        float((linear_sum_assignment(scores, maximize=True)[1] == truth).mean()),
        each * items,
        files[0].stat().st_size * items,
        loading,
        matching,
        each,
        extrapolated=True,
    )


def _binary_step(network: Any) -> Any:
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    clean = [np.array(variable) for variable in optimizer.variables]

    @tf.function(reduce_retracing=True)
    def step(photos: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            logits = network(tf.cast(photos, tf.float32), training=True)[:, 0]
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        weights = network.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    def learn(batches_of: Iterator[tuple[Any, Any]]) -> None:
        for variable, value in zip(optimizer.variables, clean, strict=True):
            variable.assign(value)
        for photos, labels in batches_of:
            step(photos, labels)

    return learn


def _learn_one(learn: Any, task: Task, item: int, steps: int) -> None:
    labels, rng = task.cache.labels, np.random.default_rng([item, 5])
    own, rest = np.flatnonzero(labels == item), np.flatnonzero(labels != item)
    half, side = _BINARY_BATCH // 2, task.options.architecture.size

    def drawn() -> Iterator[tuple[Any, Any]]:
        for _ in range(steps):
            rows = np.concatenate([rng.choice(own, half), rng.choice(rest, half)])
            changes = draw_changes(rng, len(rows), side, Augmentation(), side)
            photos = change_photos(task.cache.pixels[rows], changes, [None] * len(rows), side)
            yield photos, np.repeat(np.array([1, 0], np.float32), half)

    learn(drawn())


def _pixels(path: str, task: Task) -> npt.NDArray[np.uint8]:
    return prepare(path, task.options.architecture.size)


def _loaded(content: bytes) -> Interpreter:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(model: Interpreter, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    model.set_tensor(model.get_input_details()[0]["index"], pixels[None])
    model.invoke()
    output: npt.NDArray[np.float32] = model.get_tensor(model.get_output_details()[0]["index"])[0]
    return output


def compare(folder: Path, scale: Scale) -> Iterator[Result]:
    """Everything, one result after another.

    Args:
        folder: to write into; has to be empty.
        scale: how large everything is.
    """
    # TensorFlow warns of functions that are traced often: each network is another one.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    features = shared_features(folder / "others", scale, scale.photos_seen[0])
    for items, seen in zip(scale.items, scale.photos_seen, strict=True):
        task = prepare_task(folder / str(items), items, seen, scale)
        yield engine(task)
        keras.utils.clear_session()
        yield softmax(task)
        keras.utils.clear_session()
        yield binary_models(task, features)
        yield binary_networks(task, scale)
        keras.utils.clear_session()
