"""What `embed train` makes of its options."""

import json

import pytest


def test_options_reach_the_training(embed, catalogue, tmp_path):
    options = ["--size", "48", "--training-size", "32", "--learning-rate", "0.002", "--flip"]
    options += ["--vary", "rotation=180", "--vary", "jpeg=40", "--tensorboard", "log"]
    done = embed("train", catalogue.source, "--epochs", "1", *options)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "items.model" / "model.json").read_text())
    assert facts["architecture"]["size"] == 48
    used = facts["training"]["options"]
    assert (used["training_size"], used["learning_rate"]) == (32, 0.002)
    varied = used["augmentation"]
    assert (varied["rotation"], varied["jpeg"], varied["flip"]) == (180.0, 40, True)
    assert varied["zoom"] == 0.25
    assert "right of 10" in done.stderr and "of 12 items" in done.stderr
    (log,) = (tmp_path / "log").iterdir()
    assert log.name.startswith("events.out.tfevents")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vary", "turn=2"], "expected a variation"),
        (["--vary", "zoom"], "expected NAME=AMOUNT, found 'zoom'"),
        (["--vary", "jpeg=200"], "expected jpeg a whole number from 0 to 95, found 200"),
        (["--training-size", "128"], "expected to train at 1 to 96 px"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--tensorboard", "file/log"], "file/log"),
        (["--frozen"], "the compact backbone starts from random weights and cannot be frozen"),
        (["--frozen", "--backbone", "ResNet50"], "expected the weights that ResNet50 is frozen"),
    ],
)
def test_options_that_make_no_sense_are_one_line(embed_here, catalogue, tmp_path, options, message):
    (tmp_path / "file").write_text("")
    done = embed_here("train", catalogue.source, *options)
    assert done.returncode in (1, 2)
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("Error: ") and message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "items.model").exists()
