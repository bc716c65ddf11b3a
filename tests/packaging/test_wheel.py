"""The wheel in an empty environment, as a user without TensorFlow has it."""

import csv
import io
import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email import message_from_string
from pathlib import Path

import pytest

PACKAGES = ("embedder", "index", "cli", "service")
ROOT = Path(__file__).parents[2]


def run(*command, **options):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=900, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    (path,) = out.glob("embed_match-*.whl")
    return path


def locked():
    """The versions of the lock, as constraints."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [line.split(" ")[0] for line in lines if "==" in line and ";" not in line]


def oldest():
    """The oldest versions that setup.cfg allows, as constraints."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    needed = settings["options"]["install_requires"].split()
    return [requirement.replace(">=", "==") + ".*" for requirement in needed]


@pytest.fixture(scope="module", params=[locked, oldest])
def installed(request, tmp_path_factory, wheel):
    """The folder of commands of an environment with the wheel and what it needs, no extra."""
    if request.param is oldest and sys.version_info >= (3, 12):
        pytest.skip("the oldest versions have no wheels for a Python newer than 3.11")
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    (folder / "pins.txt").write_text("\n".join(request.param()))
    run(scripts / "pip", "install", "-q", "-c", folder / "pins.txt", wheel)
    return scripts


def test_wheel_holds_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        described = message_from_string(archive.read(metadata).decode())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {"cli/page.css", "service/page/index.html", "service/page/page.js"} <= set(names)
    needed = [line for line in described.get_all("Requires-Dist") if "extra ==" not in line]
    assert not any("tensorflow" in line or "safetensors" in line for line in needed)
    assert any(
        line.startswith("tensorflow>=2.21") and "train" in line
        for line in described.get_all("Requires-Dist")
    )
    assert "# embed" in described.get_payload()


def test_builds_an_index_and_matches_without_tensorflow(installed, trained_model, sample, tmp_path):
    listed = run(installed / "pip", "list", "--format", "freeze").lower()
    assert "embed-match==" in listed
    assert "tensorflow" not in listed
    assert "keras" not in listed
    options = ("--model", trained_model, "--index", tmp_path / "items.index")
    run(installed / "embed", "build-index", sample / "catalogue", *options, cwd=tmp_path)
    arguments = ("--candidates", sample / "ids.txt", sample / "photos", "--format", "csv")
    output = run(installed / "embed", "match", *arguments, *options, cwd=tmp_path)
    with (sample / "truth.csv").open(newline="") as file:
        truth = {row["photo"]: row["item_id"] for row in csv.DictReader(file)}
    found = list(csv.DictReader(io.StringIO(output)))
    assert len(found) == 8
    right = sum(row["item_id"] == truth[Path(row["photo"]).name] for row in found)
    assert right >= 6  # two of the eight are look-alikes, and the training was short


def test_training_without_the_extra_says_which_one(installed, sample, tmp_path):
    done = subprocess.run(
        [installed / "embed", "train", sample / "catalogue"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Error: training needs the extra [train]: pip install 'embed-match[train]'"
    )
