"""`embed build-index --dask`: what it refuses, and a build on workers of this machine."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c", "--embeddings", "d"], "expected --embeddings with --dask, found it alone"),
        (["c", "--dask", "tcp://h:1", "--jobs", "2"], "expected --jobs or --dask ADDRESS"),
        (["--vectors", "v.npz", "--dask", "local"], "expected --vectors or --dask, found both"),
        (["--vectors", "v.npz", "--embeddings", "d"], "expected --vectors or --embeddings"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    done = CliRunner().invoke(main, ["build-index", *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_without_dask_the_extra_is_named(tmp_path, sample, random_model):
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('no distributed')")
    done = run(
        *("build-index", sample / "catalogue", "--model", random_model, "--dask", "local"),
        folder=tmp_path,
        first=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: building an index with Dask needs the extra [dask]: "
        "pip install 'embed-match[dask]'\n"
    )


def test_on_workers_of_this_machine(tmp_path, sample, random_model):
    options = ("--model", random_model, "--dask", "local", "--jobs", "1", "--json")
    done = run("build-index", sample / "catalogue", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["items"], report["photos"], report["embedded"]) == (12, 144, 144)
    assert "items.index: 12 items, 144 photos (144 embedded now)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "items.index.building").exists()


def run(*arguments, folder, first=""):
    path = os.pathsep.join(filter(None, [str(first), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "run_embed", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(autouse=True)
def run_embed(tmp_path):
    """Workers are started anew from the main module: a file of its own, as the command is."""
    code = "from cli.main import main\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / "run_embed.py").write_text(code)
