import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from embedder import Embedder, TrainingError, read_catalogue, training, training_run
from embedder.backend import keras
from embedder.mining import nearest_items
from embedder.model_files import Architecture, read_model_info
from embedder.networks import build_network
from embedder.sample import write_sample
from embedder.training import train, unfinished_folder
from embedder.training_options import Listener, TrainingOptions
from embedder.training_step import learning_rate_at
from embedder.validation import DEFAULT_TEMPERATURE, gallery_and_queries, hold_out

OPTIONS = TrainingOptions(
    Architecture(size=32), epochs=3, items_per_batch=6, photos_per_item=4, seed=5
)


class Recorder(Listener):
    """Remembers what it hears; stops after an epoch if asked to."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.losses = []
        self.reports = []
        self.resumed_after = None
        self.bad = ()
        self.photos_decoded = 0

    def decoded(self, done, total):
        self.photos_decoded += 1

    def unreadable(self, photos):
        self.bad = photos

    def resumed(self, epoch):
        self.resumed_after = epoch

    def step(self, epoch, step, steps, loss):
        self.losses.append(loss)

    def epoch(self, report):
        self.reports.append(report)
        if report.epoch == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def unbroken(catalogue, tmp_path_factory):
    model = tmp_path_factory.mktemp("unbroken") / "items.model"
    recorder = Recorder()
    train(catalogue, model, OPTIONS, recorder)
    return model, recorder


@pytest.fixture(scope="module")
def stopped_once(catalogue, tmp_path_factory):
    """A training that was stopped after its first epoch, and what it heard."""
    model = tmp_path_factory.mktemp("stopped") / "items.model"
    recorder = Recorder(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, OPTIONS, recorder)
    assert not model.exists()
    return model, recorder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The model that this training would have made, in a folder of the test's own."""
    model = tmp_path / "items.model"
    shutil.copytree(unfinished_folder(stopped_once[0]), unfinished_folder(model))
    return model


def train_but_for_the_file(catalogue, model, options, recorder):
    """All epochs, but without the model folder, which takes longer than they do."""
    recorder.stop_after = options.epochs
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, options, recorder)


def test_loss_falls_and_held_out_photos_are_found(unbroken):
    model, recorder = unbroken
    first, last = recorder.losses[:10], recorder.losses[-10:]
    assert np.mean(last) < np.mean(first)
    facts = read_model_info(model).training
    assert facts["photos"] + facts["held_out_photos"] == 144
    assert facts["held_out_photos"] == 12
    assert facts["candidate_accuracy"] > 0.3  # one in ten by chance
    assert facts["whitened_candidate_accuracy"] is None  # too few photos for 100 numbers
    assert read_model_info(model).whitened_temperature is None


def test_model_opens_and_the_unfinished_folder_is_gone(unbroken):
    model, _ = unbroken
    assert Embedder.open(model).info.training["litert_cosine"] >= 0.9999
    left = sorted(path.name for path in model.parent.iterdir())
    assert left == [f".{model.name}.lock", model.name]


def test_reports_name_epochs_speed_and_the_best_one(unbroken):
    _, recorder = unbroken
    assert [report.epoch for report in recorder.reports] == [1, 2, 3]
    assert recorder.reports[0].best
    assert recorder.reports[-1].seconds_left == 0
    assert all(report.photos_per_second > 0 for report in recorder.reports)
    scores = [(report.candidate_accuracy, report.top1) for report in recorder.reports]
    marked = [score for score, report in zip(scores, recorder.reports, strict=True) if report.best]
    assert marked[-1] == max(scores)


def test_the_same_seed_gives_the_same_losses(unbroken, stopped_once):
    (_, recorder), (_, again) = unbroken, stopped_once
    assert len(again.reports) == 1
    np.testing.assert_allclose(again.losses, recorder.losses[: len(again.losses)], rtol=1e-3)


def test_an_interrupted_training_goes_on_as_if_it_had_not_stopped(unbroken, stopped, catalogue):
    rest = Recorder()
    train(catalogue, stopped, OPTIONS, rest)
    assert stopped.exists()
    assert rest.resumed_after == 1
    assert rest.photos_decoded == 0
    _, whole = unbroken
    np.testing.assert_allclose(rest.losses, whole.losses[-len(rest.losses) :], rtol=5e-3)


def test_other_options_do_not_go_on_with_an_unfinished_training(stopped, catalogue):
    other = replace(OPTIONS, epochs=1, learning_rate=1e-4)
    with pytest.raises(TrainingError, match="--replace"):
        train(catalogue, stopped, other)
    recorder = Recorder()
    train(catalogue, stopped, other, recorder, replace_existing=True)
    assert recorder.resumed_after is None
    assert stopped.exists()


def test_other_backgrounds_do_not_go_on_with_an_unfinished_training(catalogue, tmp_path):
    model, folder = tmp_path / "items.model", tmp_path / "behind"
    variation = replace(OPTIONS.augmentation, background=1.0)
    options = replace(OPTIONS, epochs=2, augmentation=variation, backgrounds=str(folder))
    with pytest.raises(TrainingError, match="expected a folder of photos for backgrounds"):
        train(catalogue, model, options)
    folder.mkdir()
    Image.new("RGB", (40, 40), (1, 2, 3)).save(folder / "a.png")
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, model, options, Recorder(stop_after=1))
    Image.new("RGB", (40, 40), (3, 2, 1)).save(folder / "b.png")
    with pytest.raises(TrainingError, match="--replace"):
        train(catalogue, model, options)
    (folder / "b.png").unlink()
    recorder = Recorder()
    train(catalogue, model, options, recorder)
    assert recorder.resumed_after == 1
    assert read_model_info(model).training["options"]["backgrounds"] == "behind"


def test_a_second_training_is_refused_and_the_first_goes_on(catalogue, tmp_path):
    model = tmp_path / "items.model"
    refused = []

    class Second(Recorder):
        def step(self, epoch, step, steps, loss):
            if not refused:
                with pytest.raises(TrainingError, match="another training is using it"):
                    train(catalogue, model, OPTIONS, replace_existing=True)
                refused.append(True)

    train(catalogue, model, replace(OPTIONS, epochs=1), Second())
    assert refused
    assert model.exists()


def test_a_model_that_is_there_is_not_replaced_unasked(unbroken, catalogue):
    model, _ = unbroken
    before = (model / "model.json").read_bytes()
    with pytest.raises(TrainingError, match=r"is there already.*--replace"):
        train(catalogue, model, OPTIONS)
    assert (model / "model.json").read_bytes() == before


def test_early_stop(catalogue, tmp_path):
    recorder = Recorder()
    options = replace(OPTIONS, epochs=30, patience=1, learning_rate=0.0)
    train(catalogue, tmp_path / "items.model", options, recorder)
    assert len(recorder.reports) < 30
    accuracies = [(report.candidate_accuracy, report.top1) for report in recorder.reports]
    assert accuracies[-1] <= max(accuracies[:-1])


def test_loss_that_is_not_a_number_is_an_error_and_nothing_is_written(catalogue, tmp_path):
    model = tmp_path / "items.model"
    with pytest.raises(TrainingError, match=r"the loss became nan in epoch 1: use a lower"):
        train(catalogue, model, replace(OPTIONS, learning_rate=float("nan")))
    assert not model.exists()


@pytest.mark.parametrize(("last", "what"), [(False, "loss became nan"), (True, "weights are not")])
def test_a_training_that_diverges_keeps_the_last_good_checkpoint(
    stopped_once, stopped, catalogue, monkeypatch, last, what
):
    """A step blows the weights up: the loss tells at the next one, if there is one."""
    steps = len(stopped_once[1].losses)
    bad = (steps + (steps - 1 if last else 0)) / (OPTIONS.epochs * steps)
    with monkeypatch.context() as broken:
        broken.setattr(
            training_run,
            "learning_rate_at",
            lambda done: float("nan") if done == pytest.approx(bad) else learning_rate_at(done),
        )
        with pytest.raises(TrainingError, match=f"the {what}.* in epoch 2; .* of epoch 1 is kept"):
            train(catalogue, stopped, OPTIONS)
    recorder = Recorder()
    slower = replace(OPTIONS, learning_rate=5e-4)
    train_but_for_the_file(catalogue, stopped, slower, recorder)
    assert recorder.resumed_after == 1
    assert np.isfinite(recorder.losses).all()


def test_an_unfinished_training_does_not_go_on_with_a_higher_learning_rate(stopped, catalogue):
    with pytest.raises(TrainingError, match=r"rate of at most 0\.001.*found 0\.002.*--replace"):
        train(catalogue, stopped, replace(OPTIONS, learning_rate=2e-3))


def test_a_training_with_dropout_and_a_softmax_goes_on_exactly(tmp_path, catalogue, monkeypatch):
    def with_dropout(architecture, weights=None):
        network = build_network(architecture, weights)
        inner = keras.layers.Dropout(0.5)(network.get_layer("pool").output)
        return keras.Model(network.input, keras.layers.UnitNormalization()(inner))

    options = replace(OPTIONS, architecture=Architecture(size=32, dim=152), softmax=0.5)
    monkeypatch.setattr(training, "build_network", with_dropout)
    whole, rest = Recorder(stop_after=2), Recorder(stop_after=2)
    for name, recorders in (("a", [whole]), ("b", [Recorder(stop_after=1), rest])):
        for recorder in recorders:
            with pytest.raises(KeyboardInterrupt):
                train(catalogue, tmp_path / name, options, recorder)
    assert rest.resumed_after == 1
    np.testing.assert_allclose(rest.losses, whole.losses[len(rest.losses) :], rtol=5e-3)


def test_photos_that_are_all_alike_are_refused(catalogue, tmp_path):
    photo = next(catalogue.paths())
    for item in "ab":
        (tmp_path / "catalogue" / item).mkdir(parents=True)
        for number in range(5):
            shutil.copy(photo, tmp_path / "catalogue" / item / f"{number}.jpg")
    with pytest.raises(TrainingError, match="expected photos that differ, found all alike"):
        train(read_catalogue(tmp_path / "catalogue"), tmp_path / "items.model", OPTIONS)
    assert not (tmp_path / "items.model").exists()


def test_look_alikes_are_found_by_centroids_that_a_resumed_training_keeps(tmp_path, monkeypatch):
    write_sample(tmp_path, items=30, photos=6, queries=0, size=32)
    known = []

    def watched(centroids, items):
        known.append(centroids)
        return nearest_items(centroids, items)

    monkeypatch.setattr(training_run, "nearest_items", watched)
    catalogue = read_catalogue(tmp_path / "catalogue")
    recorder, rest = Recorder(), Recorder()
    train_but_for_the_file(catalogue, tmp_path / "items.model", OPTIONS, recorder)
    assert len(known) == 15  # every other one of 10 batches in 3 epochs
    assert not known[0].any()
    assert np.linalg.norm(known[5], axis=1) == pytest.approx(np.ones(30), abs=1e-4)
    assert (known[5] * known[10]).sum(axis=1).mean() < 0.999  # they are followed
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, tmp_path / "broken.model", OPTIONS, Recorder(stop_after=2))
    train_but_for_the_file(catalogue, tmp_path / "broken.model", OPTIONS, rest)
    assert rest.resumed_after == 2
    assert (known[-1] * known[10]).sum(axis=1).min() > 0.99
    known.clear()
    options = replace(OPTIONS, mining=False, epochs=1)
    train_but_for_the_file(catalogue, tmp_path / "plain.model", options, Recorder())
    assert not known


def test_unreadable_photos_are_left_out_and_told(catalogue, tmp_path):
    folder = tmp_path / "catalogue"
    for item in list(catalogue.items)[:3]:
        shutil.copytree(catalogue.source / item, folder / item)
    bad = folder / item / "0000.jpg"
    bad.write_bytes(b"no photo")
    recorder = Recorder()
    info = train(read_catalogue(folder), tmp_path / "m", replace(OPTIONS, epochs=1), recorder)
    assert [error.photo for error in recorder.bad] == [str(bad)]
    assert info.training["unreadable_photos"] == 1
    assert info.training["photos"] + info.training["held_out_photos"] == 36


def test_items_with_one_photo_each_can_be_learned(catalogue, tmp_path):
    for item, paths in list(catalogue.items.items())[:4]:
        (tmp_path / "catalogue" / item).mkdir(parents=True)
        shutil.copy(paths[0], tmp_path / "catalogue" / item)
    options = replace(OPTIONS, epochs=2, patience=1)
    info = train(read_catalogue(tmp_path / "catalogue"), tmp_path / "items.model", options)
    facts = info.training
    assert (facts["photos"], facts["held_out_photos"]) == (4, 0)
    assert (facts["candidate_accuracy"], facts["best_epoch"]) == (None, 2)
    assert info.temperature == DEFAULT_TEMPERATURE


def test_whitening_is_chosen_on_held_out_photos(catalogue, tmp_path):
    # 12 items with 8 photos to make centroids of: enough for 20 numbers, too few for 100.
    options = replace(OPTIONS, architecture=Architecture(size=32, dim=20), epochs=2)
    info = train(catalogue, tmp_path / "items.model", options)
    facts = info.training
    photos = [path for paths in catalogue.items.values() for path in paths]
    vectors = np.stack(list(Embedder.open(tmp_path / "items.model").embed(photos)))
    labels = np.repeat(np.arange(12), 12)
    gallery, asked = gallery_and_queries(labels, hold_out(labels, options.seed))
    means = np.stack([vectors[gallery][labels[gallery] == item].mean(axis=0) for item in range(12)])
    covariance = np.cov((vectors[gallery] - means[labels[gallery]]).T)
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 20 * np.eye(20)
    centres = means / np.linalg.norm(means, axis=1, keepdims=True)
    middle, inverse = centres.mean(axis=0), np.linalg.inv(shrunk)
    scores = (vectors[asked] - middle) @ inverse @ (centres - middle).T
    scores /= np.sqrt(np.einsum("id,de,ie->i", centres - middle, inverse, centres - middle))
    right = (scores.argmax(axis=1) == labels[asked]).mean()
    assert facts["whitened_top1"] == pytest.approx(right, abs=1 / 12 + 1e-4)  # LiteRT may round
    plain = (facts["candidate_accuracy"], facts["top1"])
    whitened = (facts["whitened_candidate_accuracy"], facts["whitened_top1"])
    if whitened != plain:
        assert (info.whitened_temperature is not None) == (whitened > plain)
    assert read_model_info(tmp_path / "items.model") == info


def test_a_model_trained_on_smaller_photos_is_for_the_larger_ones(catalogue, tmp_path):
    options = replace(OPTIONS, architecture=Architecture(size=48), training_size=32)
    unbroken, broken = tmp_path / "unbroken.model", tmp_path / "broken.model"
    recorder, rest = Recorder(), Recorder()
    info = train(catalogue, unbroken, options, recorder)
    assert info.architecture.size == 48
    assert np.mean(recorder.losses[-10:]) < np.mean(recorder.losses[:10])
    photos = [path for paths in catalogue.items.values() for path in paths]
    vectors = np.stack(list(Embedder.open(unbroken).embed(photos)))
    labels = np.repeat(np.arange(12), 12)
    gallery, asked = gallery_and_queries(labels, hold_out(labels, options.seed))
    means = np.stack([vectors[gallery][labels[gallery] == item].mean(axis=0) for item in range(12)])
    scores = vectors[asked] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    right = (scores.argmax(axis=1) == labels[asked]).mean()
    assert info.training["top1"] == pytest.approx(right, abs=1 / 12 + 1e-4)  # LiteRT may round
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, broken, options, Recorder(stop_after=2))
    train_but_for_the_file(catalogue, broken, options, rest)
    np.testing.assert_allclose(rest.losses, recorder.losses[-len(rest.losses) :], atol=1e-4)


@pytest.mark.parametrize("side", [-1, 33])
def test_photos_are_not_made_larger_for_training(catalogue, tmp_path, side):
    with pytest.raises(TrainingError, match="at 1 to 32 px"):
        train(catalogue, tmp_path / "items.model", replace(OPTIONS, training_size=side))


def test_one_item_is_too_few(catalogue, tmp_path):
    item = next(iter(catalogue.items))
    shutil.copytree(catalogue.source / item, tmp_path / "catalogue" / item)
    with pytest.raises(TrainingError, match="expected at least two items"):
        train(read_catalogue(tmp_path / "catalogue"), tmp_path / "items.model", OPTIONS)
