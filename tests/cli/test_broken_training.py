"""Trainings that are killed, or that meet a full disk, and go on."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedder import Embedder

COMMAND = ["train", "--size", "32", "--epochs", "6", "--model"]


def epochs(text):
    """The loss printed for each epoch."""
    return {int(n): float(loss) for n, loss in re.findall(r"epoch +(\d+)/\d+ +loss ([\d.]+)", text)}


def test_a_killed_training_that_goes_on_ends_as_an_unbroken_one(
    embed, embed_path, catalogue, tmp_path
):
    unbroken = embed(*COMMAND, "a.model", catalogue.source)
    assert unbroken.returncode == 0, unbroken.stderr
    command = [*COMMAND, "b.model", catalogue.source]
    process = subprocess.Popen(
        [embed_path, *map(str, command)], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("epoch  2/6"):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "b.model").exists()
    rest = embed(*command)
    assert rest.returncode == 0, rest.stderr
    whole, again = epochs(unbroken.stderr), epochs(rest.stderr)
    assert min(again) in (3, 4) and max(again) == max(whole)
    for epoch, loss in again.items():
        assert loss == pytest.approx(whole[epoch], abs=0.02)
    photos = list(catalogue.paths())[::7]
    vectors = [
        np.stack(list(Embedder.open(tmp_path / name).embed(photos)))
        for name in ("a.model", "b.model")
    ]
    assert (vectors[0] * vectors[1]).sum(axis=1).mean() > 0.95


LITTLE_ROOM = """
import resource, sys
from cli.main import main
for room in (100_000, 3_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, -1))
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        print(ended.code)
"""


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(embed, catalogue, tmp_path):
    command = [*COMMAND, "items.model", str(catalogue.source), "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_ROOM, *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n1\n")
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert ["items.model.training" in line for line in said] == [True, True]
    assert "photos" in said[0] and "checkpoint" in said[1]
    assert done.stderr.rstrip().endswith(said[1])
    assert not (tmp_path / "items.model").exists()
    again = embed(*command)
    assert again.returncode == 0, again.stderr
    assert load_file(tmp_path / "items.model" / "weights.safetensors")
