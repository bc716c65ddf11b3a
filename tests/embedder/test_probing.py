"""Tests of trying a model in a process of its own, with the real process."""

import os
import shutil

import pytest

from embedder import ModelError, probing
from embedder.probing import probe

CRASH = "import os; os.abort()"
HANG = "import time; time.sleep(60)"
HUNGRY = "import resource; bytearray(1 << 50)"
LINE = "import sys; sys.exit(7)"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a module in the place of LiteRT's: what it does, the child does."""

    def put(code):
        package = tmp_path / "stand-in" / "ai_edge_litert"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "interpreter.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return put


def refusal(model):
    with pytest.raises(ModelError) as caught:
        probe(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_that_runs_passes(random_model):
    probe(random_model)


@pytest.mark.parametrize(
    ("code", "said"),
    [(CRASH, "crashes (SIGABRT)"), (LINE, "exit code 7"), (HUNGRY, "GB or less, found more")],
)
@pytest.mark.skipif(os.name == "nt", reason="signals have no names there")
def test_a_crash_is_an_error_that_names_the_file(random_model, stand_in, code, said):
    stand_in(code)
    assert said in (message := refusal(random_model))
    assert message.startswith(f"{random_model / 'model.tflite'}: ")
    assert "do not use this model" in message


def test_a_model_that_does_not_end_is_given_up(random_model, stand_in, monkeypatch):
    stand_in(HANG)
    monkeypatch.setattr(probing, "_SECONDS", 1)
    assert "still at work" in refusal(random_model)


def test_errors_are_those_of_opening_it(random_model, tmp_path):
    assert "embed train" in refusal(tmp_path / "none")
    model = shutil.copytree(random_model, tmp_path / "items.model")
    (model / "model.tflite").write_bytes(b"TFL3")
    assert "expected SHA-256" in refusal(model)


def test_modules_in_the_working_folder_are_not_run(random_model, tmp_path, monkeypatch):
    for name in ("numpy", "embedder", "ai_edge_litert"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    probe(random_model)
