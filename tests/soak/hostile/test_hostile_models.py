"""Model files that were changed at random: an error that names the file, or a model that works."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="this system bounds no memory")
PROGRAM = Path(__file__).with_name("try_models.py")


@pytest.mark.parametrize(
    ("name", "short", "long"),
    [
        ("model.json", 800, 15_000),
        ("held_out.vectors", 500, 10_000),
        ("weights.safetensors", 100, 1_000),
        ("checkpoint.safetensors", 800, 15_000),
        ("model.tflite", 800, 10_000),
    ],
)
def test_a_changed_file_is_named_or_works(random_model, tmp_path, rounds, name, short, long):
    """Half of them with a checksum that fits; never a crash, but of LiteRT in a probe's child."""
    times = rounds(short, long)
    done = subprocess.run(
        [sys.executable, PROGRAM, random_model, tmp_path, name, str(times)],
        capture_output=True, text=True, timeout=times, env=os.environ | {"PROBED": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == times
    ends = Counter(one["outcome"].partition(":")[0] for one in found)
    assert ends["refused"] > times // 3
    assert ends["works"]  # otherwise the changes are too rough to find anything
    for one in found:
        crashed = one["outcome"].startswith("crash")
        may_crash = crashed and one["fit"] and name == "model.tflite"
        assert one["outcome"] in ("works", "refused") or may_crash, one
        if "probe" in one:
            assert "model.tflite: " in one["probe"] or one["probe"] == "works"
