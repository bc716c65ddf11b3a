"""`--embedder FILE`: any network in the place of a model folder, from the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest
from networks import WEIGHTS, save_litert, save_onnx


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return save_onnx(folder / "tiny.onnx"), save_litert(folder / "tiny.tflite")


@pytest.fixture
def networks(made, tmp_path):
    return [Path(shutil.copy(path, tmp_path)) for path in made]


def test_both_forms_of_a_network_match_alike(embed, sample, networks, tmp_path):
    answers = []
    for at, network in enumerate(networks):
        options = ("--embedder", network.name, "--index", f"{at}.index")
        done = embed("build-index", sample / "catalogue", *options)
        assert (done.returncode, done.stderr) == (
            0,
            f"{at}.index: 12 items, 144 photos (144 embedded now)\n",
        )
        again = embed("build-index", sample / "catalogue", *options)
        assert again.stderr == f"{at}.index: 12 items, 144 photos (0 embedded now)\n"
        candidates = ("--candidates", sample / "ids.txt", sample / "photos", "--json")
        done = embed("match", *options, *candidates)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout)["matches"])
        assert embed("verify", *options).returncode == 0
    for one, two in zip(*answers, strict=True):
        assert (one["photo"], one["item_id"], one["status"]) == (
            two["photo"],
            two["item_id"],
            two["status"],
        )
        assert one["score"] == pytest.approx(two["score"], abs=1e-3)
    # The other form is another file, and so another network.
    done = embed("match", "--embedder", "tiny.onnx", "--index", "1.index", *candidates)
    assert done.returncode == 1
    assert "1.index was built with another model" in done.stderr


def test_all_commands_take_it_and_a_network_that_was_exchanged_is_refused(
    embed, sample, networks, tmp_path
):
    catalogue = tmp_path / "catalogue"
    for item in sorted((sample / "catalogue").iterdir())[:5]:
        shutil.copytree(item, catalogue / item.name)
    (tmp_path / "ids.txt").write_text(item.name)
    assert embed("build-index", catalogue, "--embedder", "tiny.onnx").returncode == 0
    commands = [
        ("audit", catalogue),
        ("evaluate", catalogue),
        ("calibrate", catalogue),
        ("add", "new", item),
        ("match", "--candidates", "ids.txt", item),
        ("verify",),
    ]
    for command in commands:
        done = embed(*command, "--embedder", "tiny.onnx")
        assert done.returncode == 0, done.stderr
        assert "evaluate" not in command or "60 that training did not see" in done.stderr
    save_onnx(tmp_path / "tiny.onnx", weights=WEIGHTS[..., ::-1])
    for command in commands[3:]:
        done = embed(*command, "--embedder", "tiny.onnx")
        assert done.returncode == 1
        assert "another model" in done.stderr or "not the model" in done.stdout


def test_usage(embed, sample, networks, tmp_path):
    match = ("match", "--candidates", sample / "ids.txt", sample / "photos")
    for order in (1, -1):
        both = [("--model", "a.model"), ("--embedder", "tiny.onnx")][::order]
        done = embed(*match, *both[0], *both[1])
        assert done.returncode == 2
        assert "expected --model or --embedder, found both" in done.stderr
    done = embed("build-index", "--vectors", "a.npz", "--embedder", "tiny.onnx")
    assert "expected --vectors or --embedder, found both" in done.stderr
    done = embed("evaluate", sample / "catalogue", "--learning-curve", "--embedder", "tiny.onnx")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "tiny.onnx: expected a model folder, found a file" in done.stderr
    assert "--embedder" not in embed("train", "--help").stdout
    environment = {**os.environ, "EMBED_MODEL": "tiny.onnx"}
    done = embed("build-index", sample / "catalogue", env=environment)
    assert done.returncode == 0, done.stderr
    environment["EMBED_MODEL"] = "none.model"  # the command line goes before it
    done = embed(*match, "--embedder", "tiny.onnx", env=environment)
    assert done.returncode == 0, done.stderr
    assert "none.model" in embed(*match, env=environment).stderr
    done = embed(*match, "--embedder", "none.onnx")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "none.onnx: expected a model folder, or a network" in done.stderr
