"""`embed train` with TF_CONFIG: real processes on this machine, one of which may be lost."""

import json
import os
import re
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from addresses import free_address

from embedder import Embedder

EMBED = Path(sysconfig.get_path("scripts")) / "embed"
# Without what other tests' imports add: JAX has TensorFlow say more.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("EMBED_", "TF_"))}


class Worker:
    """A process of `embed train`, in the folder of all."""

    def __init__(self, folder, number, addresses, *arguments):
        task = {"type": "worker", "index": number}
        variables = {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        self.log = folder / f"{number}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [EMBED, "train", *map(str, arguments)],
                cwd=folder,
                env={**ENVIRONMENT, **variables},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ignored where the tests themselves run in the background of a shell.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def said(self):
        return self.log.read_text()

    def until(self, text):
        end = time.monotonic() + 180
        while text not in self.said:
            assert self.process.poll() is None and time.monotonic() < end, self.said
            time.sleep(0.05)

    def end(self):
        printed, _ = self.process.communicate(timeout=180)
        assert "Traceback" not in self.said
        return self.process.returncode, printed


@pytest.fixture
def start(tmp_path):
    """Start workers; those that are left in the end are killed."""
    addresses, begun = [free_address(), free_address()], []

    def starter(number, *arguments):
        begun.append(Worker(tmp_path, number, addresses, *arguments))
        return begun[-1]

    yield starter
    for worker in begun:
        worker.process.kill()
        worker.process.communicate()


def command(sample, epochs):
    return (sample / "catalogue", "--size", "32", "--epochs", epochs)


@pytest.fixture(scope="module")
def of_one(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    done = subprocess.run(
        [EMBED, "train", *map(str, command(sample, 4))],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def test_two_workers_learn_what_one_does_and_a_lost_one_stops_both(sample, tmp_path, start, of_one):
    first, other = (start(number, *command(sample, 4)) for number in (0, 1))
    first.until("epoch  1/4")
    other.process.kill()
    assert first.end()[0] == 1
    lines = first.said.splitlines()
    assert lines[0].startswith("Waiting for worker 1 (127.0.0.1:")
    assert lines[-1].startswith("Error: lost worker 1 (127.0.0.1:")
    assert "start all workers again with the same command, and they go on" in lines[-1]

    first, other = (
        start(number, *command(sample, 4), "--json", "--tensorboard", "curves") for number in (0, 1)
    )
    (code, printed), (other_code, other_printed) = first.end(), other.end()
    assert code == other_code == 0
    assert "Going on after epoch" in first.said
    assert "Going on after epoch" in other.said
    assert epochs(first) == epochs(other)
    assert len(epochs(first)) in (1, 2, 3)
    assert other.said.splitlines()[-1].startswith("Done; worker 0 (127.0.0.1:")
    assert json.loads(other_printed) == {"worker": 1, "model": None}
    assert json.loads(printed)["epochs"] == 4
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "curves",
        "items.model",
    ]
    assert len(list((tmp_path / "curves").iterdir())) == 1
    assert_alike(tmp_path, of_one[0], sample)


def epochs(worker):
    """What was said of each epoch, but for the time that is left."""
    return re.findall(r"^epoch .* of all +[0-9.]+%", worker.said, re.MULTILINE)


def assert_alike(folder, other, sample):
    """Two models embed photos nearly alike: training magnifies rounding, but not by much."""
    photos = sorted((sample / "photos").glob("*.jpg"))
    one, two = (
        np.stack(list(Embedder.open(each / "items.model").embed(photos)))
        for each in (folder, other)
    )
    assert (one * two).sum(axis=1).min() > 0.9


def test_waiting_alone_can_be_stopped(sample, start):
    alone = start(1, *command(sample, 4))
    alone.until("Waiting for worker 0")
    alone.process.send_signal(signal.SIGINT)
    assert alone.end()[0] not in (0, None)


def test_a_variable_that_makes_no_sense(sample, tmp_path):
    done = subprocess.run(
        [EMBED, "train", sample / "catalogue"],
        cwd=tmp_path,
        env={**os.environ, "TF_CONFIG": "worker-0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: TF_CONFIG: expected {")
    assert done.stderr.count("\n") == 1
