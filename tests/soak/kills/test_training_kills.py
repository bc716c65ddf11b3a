"""Trainings killed at random moments, and at the steps that change files."""

import random
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedder.model_files import WEIGHTS, current_folder, read_checked, read_model_info
from embedder.sample import write_sample

EPOCHS = 3
NEVER = 10_000


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_sample(folder, items=8, photos=8, queries=0, size=32)
    return ("train", folder / "catalogue", "--size", "32", "--epochs", str(EPOCHS), "--replace")


@pytest.fixture(scope="module")
def models(fork_training, command, tmp_path_factory):
    """A folder with a model, and one where another has been trained in its place at once."""
    root = tmp_path_factory.mktemp("models")
    (root / "old").mkdir()
    assert fork_training(root / "old", *command, "--seed", "1", "--epochs", "1").code == 0
    shutil.copytree(root / "old", root / "new")
    ended = fork_training(root / "new", *command, change=NEVER)
    assert ended.code == 0, ended.said
    return root, ended


def weights(folder):
    """Of a model whose files are all whole."""
    model = current_folder(folder / "items.model")
    info = read_model_info(model)
    for name in info.sha256:
        read_checked(model, name, info)
    return load_file(model / WEIGHTS)


def same(one, other):
    # Sums over several threads are not always rounded alike.
    return all(np.allclose(one[name], other[name], rtol=1e-3, atol=1e-4) for name in one)


def epochs(ended):
    return [int(number) for number in re.findall(rf"epoch +(\d+)/{EPOCHS} ", ended.said)]


@pytest.fixture
def work(models, tmp_path):
    return shutil.copytree(models[0] / "old", tmp_path / "work")


def look(ended, work, models):
    """A model is there, the old one or the new one, and once it was said the new one."""
    old, new, found = weights(models[0] / "old"), weights(models[0] / "new"), weights(work)
    assert same(found, new) or (same(found, old) and "LiteRT agrees" not in ended.said)


def finish(fork_training, command, killed, work, models):
    """The same command goes on after the last epoch that is finished."""
    ended = fork_training(work, *command)
    assert ended.code == 0, ended.said
    done = max([0, *(number for one in killed for number in epochs(one))])
    assert epochs(ended) in (list(range(at + 1, EPOCHS + 1)) for at in (done, done + 1))
    assert same(weights(work), weights(models[0] / "new"))
    assert {path.name for path in work.iterdir()} == {"items.model", ".items.model.lock"}


def test_a_killed_training_goes_on_and_the_old_model_stays_until_then(
    fork_training, command, models, work, rounds
):
    chance, kills, runs = random.Random(3), 0, rounds(4, 40)
    for number in range(runs):
        shutil.rmtree(work)
        shutil.copytree(models[0] / "old", work)
        killed = []
        # The first kill is somewhere in this part of the whole time, the second a while later.
        moments = ((number + chance.random()) / runs, chance.uniform(0, 0.4))
        for moment in moments:
            killed.append(fork_training(work, *command, after=moment * models[1].took))
            kills += killed[-1].killed
            look(killed[-1], work, models)
            if not killed[-1].killed:
                break
        else:
            finish(fork_training, command, killed, work, models)
    assert kills > runs


STEPS = {
    "photos decoded": r"open .*photos\.json",
    "first checkpoint": r"os.rename .*checkpoint",
    "model description": r"open .*model\.json",
    "old model": "os.rename items.model",
    "new model": r"os.rename \.items\.model\.new",
    "old model deleted": r"shutil.rmtree \.items\.model\.old",
    "training deleted": r"shutil.rmtree items\.model\.training",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_training_killed_right_before_a_step_goes_on(fork_training, command, models, work, step):
    changes = models[1].changes
    (number, *_) = (n for n, change in enumerate(changes, 1) if re.match(STEPS[step], change))
    ended = fork_training(work, *command, change=number)
    assert ended.killed
    look(ended, work, models)
    finish(fork_training, command, [ended], work, models)


@pytest.mark.parametrize("file", ["photos", "checkpoint"])
def test_a_training_killed_within_a_write_goes_on(fork_training, command, models, work, file):
    size = {"photos": 100_000, "checkpoint": 3_000_000}[file]
    ended = fork_training(work, *command, size=size)
    assert ended.killed and not epochs(ended)
    look(ended, work, models)
    finish(fork_training, command, [ended], work, models)
