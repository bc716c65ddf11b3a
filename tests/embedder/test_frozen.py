"""Training the head alone, on features of a frozen backbone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedder import Catalogue, Embedder, TrainingError, read_catalogue
from embedder.augmentation import change_photos
from embedder.backend import keras
from embedder.frozen import (
    VIEWS,
    feature_batches,
    learner_of_features,
    open_features,
    split,
)
from embedder.model_files import Architecture, read_model_info
from embedder.networks import build_network
from embedder.photo_cache import open_cache
from embedder.photos import prepare
from embedder.replicas import one_replica
from embedder.training import train, unfinished_folder
from embedder.training_batches import draw_variation
from embedder.training_options import Listener, TrainingOptions
from embedder.training_run import gallery_and_queries, start, train_epochs
from embedder.training_step import embedding_function
from embedder.validation import accuracies, centroids, hold_out

# Keras saves .h5 files in a way that NumPy 2 warns of, and itself when it loads them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning"),
]


class Recorder(Listener):
    """Remembers what it hears; stops after so many epochs, or photos looked at."""

    def __init__(self, stop_after: int | None = None, stop_at: int | None = None):
        self.stop_after, self.stop_at = stop_after, stop_at
        self.losses, self.looked_at, self.resumed_after = [], [], None

    def features(self, done: int, total: int) -> None:
        self.looked_at.append(done)
        if self.stop_at is not None and done >= self.stop_at:
            raise KeyboardInterrupt

    def resumed(self, epoch: int) -> None:
        self.resumed_after = epoch

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self.losses.append(loss)

    def epoch(self, report: object) -> None:
        if report.epoch == self.stop_after:
            raise KeyboardInterrupt


def backbone_of(network):
    (found,) = (layer for layer in network.layers if hasattr(layer, "layers"))
    return found


def save_backbone(path: Path, seed: int) -> None:
    """Some weights of a MobileNet; its batch normalisation has followed some noise."""
    keras.utils.set_random_seed(seed)
    backbone = keras.applications.MobileNet((32, 32, 3), 0.25, include_top=False, weights=None)
    photos = np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)).astype(np.float32)
    for layer in backbone.layers:
        layer.momentum = 0.5  # of batch normalisation
    for _ in range(10):
        backbone(photos, training=True)
    backbone.save_weights(path)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    """A frozen MobileNet with weights from a file."""
    path = tmp_path_factory.mktemp("weights") / "some.weights.h5"
    save_backbone(path, 3)
    return TrainingOptions(
        Architecture("MobileNet", 0.25, 32),
        weights=str(path),
        frozen=True,
        epochs=3,
        items_per_batch=6,
        photos_per_item=4,
        seed=5,
    )


def learned(model: Path) -> dict[str, np.ndarray]:
    return load_file(unfinished_folder(model) / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def unbroken(catalogue, options, tmp_path_factory):
    """A model, what its training heard, and the last checkpoint."""
    model = tmp_path_factory.mktemp("frozen") / "items.model"
    recorder = Recorder(stop_after=options.epochs)
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, options, recorder)
    checkpoint = learned(model)
    train(catalogue, model, options)
    return model, recorder, checkpoint


def test_the_backbone_stays_and_the_head_learns(unbroken, options):
    model, recorder, _ = unbroken
    kept = list(load_file(model / "weights.safetensors").values())
    keras.utils.set_random_seed(options.seed)
    before = build_network(options.architecture, options.weights)
    count = len(backbone_of(before).weights)
    for now, then in zip(kept[:count], backbone_of(before).get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)
    for now, then in zip(kept[count:], before.get_weights()[count:], strict=True):
        assert np.abs(now - then).max() > 1e-3
    assert np.mean(recorder.losses[-10:]) < np.mean(recorder.losses[:10])


def test_the_model_says_that_it_was_frozen(unbroken):
    model, *_ = unbroken
    info = read_model_info(model)
    assert info.training["options"]["frozen"] is True
    assert info.training["options"]["weights"] == "some.weights.h5"
    assert Embedder.open(model).info.training["litert_cosine"] >= 0.9999


def test_an_epoch_passes_over_all_views(unbroken, options):
    _, recorder, _ = unbroken
    batch = options.items_per_batch * options.photos_per_item
    assert len(recorder.losses) == options.epochs * -(-(144 - 12) * VIEWS // batch)


@pytest.mark.parametrize("stop", [{"stop_after": 2}, {"stop_at": 50}], ids=["epoch", "features"])
def test_a_training_that_goes_on_equals_one_that_did_not_stop(
    unbroken, catalogue, options, tmp_path, stop
):
    model = tmp_path / "items.model"
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, options, Recorder(**stop))
    rest = Recorder(stop_after=options.epochs)
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, options, rest)
    if "stop_after" in stop:
        assert (rest.resumed_after, rest.looked_at) == (2, [])
    else:  # what was looked at when it was stopped is there
        assert (rest.resumed_after, rest.looked_at[0]) == (None, 64)
    _, recorder, checkpoint = unbroken
    np.testing.assert_allclose(rest.losses, recorder.losses[-len(rest.losses) :], rtol=1e-4)
    for name, found in learned(model).items():
        np.testing.assert_allclose(found, checkpoint[name], atol=1e-4)


def test_kept_features_are_those_of_the_photos(catalogue: Catalogue, options, tmp_path):
    varied = replace(options, augmentation=options.augmentation.varied({"jpeg": 40}))
    cache = open_cache(catalogue, 32, tmp_path)
    network = build_network(options.architecture, options.weights)
    backbone, head = split(network)
    usable = np.arange(len(cache.labels))
    features = open_features(varied, "same", cache, backbone, usable)
    paths = list(catalogue.paths())
    plain = np.stack([prepare(path, 32) for path in paths]).astype(np.float32)

    def pooled(photos: np.ndarray) -> np.ndarray:
        return np.asarray(backbone_of(network)(photos / 127.5 - 1)).mean(axis=(1, 2))

    wanted = pooled(plain)
    np.testing.assert_allclose(features.views[:, 0], wanted, rtol=1e-3, atol=1e-4)
    # The second block of photos, by hand.
    rows = np.arange(8, 16)
    rng, generator = (np.random.default_rng([5, 8, 0, of]) for of in (7, 8))
    for view in range(1, VIEWS):
        draw = draw_variation(varied, cache, rows, rng, generator)
        photos = change_photos(cache.pixels[rows], draw.changes, [None] * 8).astype(np.float32)
        wanted = pooled(photos)
        np.testing.assert_allclose(features.views[rows, view], wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        np.asarray(head(features.views[:, 0])), np.asarray(network(plain)), atol=1e-4
    )


def test_features_are_computed_once(catalogue: Catalogue, options, tmp_path):
    cache = open_cache(catalogue, 32, tmp_path)
    backbone, _ = split(build_network(options.architecture, options.weights))
    usable = np.arange(len(cache.labels))

    def looked_at(settings: str) -> list[int]:
        recorder = Recorder()
        open_features(options, settings, cache, backbone, usable, recorder.features)
        return recorder.looked_at

    file = tmp_path / "features.f32"
    assert looked_at("same")[-1] == 144
    first = file.read_bytes()
    assert looked_at("same") == []
    with file.open("r+b") as stopped:
        stopped.truncate(len(first) // 2 + 1)
    assert looked_at("same")[0] == 80
    assert file.read_bytes() == first
    with file.open("ab") as longer:
        longer.write(b"more")
    assert looked_at("same") == [] and file.read_bytes() == first
    assert looked_at("other")[0] == 8
    (tmp_path / "features.json").write_text("{")
    assert looked_at("other")[0] == 8


def test_batches_are_of_all_views_of_their_labels(catalogue: Catalogue, options, tmp_path):
    cache = open_cache(catalogue, 32, tmp_path)
    backbone, _ = split(build_network(options.architecture, options.weights))
    usable = np.flatnonzero(np.arange(len(cache.labels)) % 3)
    features = open_features(options, "same", cache, backbone, usable)
    flat = features.views.reshape(-1, features.channels)
    of_view = {row.tobytes(): divmod(at, VIEWS) for at, row in enumerate(flat)}
    seen, views = set(), set()
    for given, labels in feature_batches(options, cache, features, usable, 30, 0):
        for row, label in zip(given, labels, strict=True):
            photo, view = of_view[row.tobytes()]
            assert cache.labels[photo] == label
            seen.add(photo)
            views.add(view)
    assert seen == set(usable.tolist()) and views == set(range(VIEWS))


def test_other_weights_do_not_go_on_with_an_unfinished_training(catalogue, options, tmp_path):
    path = tmp_path / "own.weights.h5"
    path.write_bytes(Path(options.weights).read_bytes())
    own = replace(options, weights=str(path))
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, tmp_path / "items.model", own, Recorder(stop_after=1))
    save_backbone(path, 4)
    with pytest.raises(TrainingError, match="other options or other photos"):
        train(catalogue, tmp_path / "items.model", own)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": Architecture(size=32)}, "compact backbone .* cannot be frozen"),
        ({"weights": None}, "expected the weights that MobileNet is frozen with, found none"),
        ({"training_size": 16}, "expected to train at 32 px.*found 16 px"),
        ({"weights": "gone.h5"}, "gone.h5: expected a Keras .h5 weights file, found nothing"),
    ],
)
def test_what_cannot_be_frozen_is_refused(catalogue, options, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        train(catalogue, tmp_path / "items.model", replace(options, **changes))
    assert not unfinished_folder(tmp_path / "items.model").exists()


def test_a_full_disk_is_one_line(catalogue, options, tmp_path, little_room):
    cache = open_cache(catalogue, 32, tmp_path)
    backbone, _ = split(build_network(options.architecture, options.weights))
    with little_room(1 << 16), pytest.raises(TrainingError, match="cannot keep features: "):
        open_features(options, "same", cache, backbone, np.arange(len(cache.labels)))


@pytest.mark.real_data
def test_a_trained_head_finds_more_than_an_untrained_one(real_data: Path, tmp_path):
    found = read_catalogue(real_data / "grocery" / "train")
    few = dict(list(found.items.items())[::2])
    some = Catalogue(found.source, {item: photos[::2][:6] for item, photos in few.items()})
    weights = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    options = TrainingOptions(
        Architecture("MobileNet", 0.25, 96),
        weights=str(weights),
        frozen=True,
        epochs=8,
        loss="semi-hard",
        learning_rate=3e-3,
    )
    cache = open_cache(some, 96, tmp_path)
    network = build_network(options.architecture, options.weights)
    held = hold_out(cache.labels, 0)
    learner = learner_of_features(options, "", cache, network, np.flatnonzero(~held))
    run = start(options, "", cache, learner, None, one_replica())

    def found_of_ten() -> float:
        embed = embedding_function(learner.asked)
        items, known, labels, asked, truth = gallery_and_queries(run, embed)
        return accuracies(asked, truth, centroids(known, labels, len(items)))[0]

    untrained = found_of_ten()
    train_epochs(run, tmp_path, Listener())
    learner.asked.set_weights(run.best)
    assert found_of_ten() > untrained + 0.03
    # What is kept in the end is around what was trained.
    whole = embedding_function(learner.whole)(cache.pixels[:8])
    head = embedding_function(learner.asked)(learner.plain(np.arange(8)))
    np.testing.assert_allclose(whole, head, atol=1e-4)
