"""The Tab key, in bash itself; how to switch it on: docs/howto/completion.md."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "completion.md"


@pytest.fixture
def completed(embed_path, tmp_path):
    """What bash offers for the last of some words, after the line that the page says."""
    if shutil.which("bash") is None:
        pytest.skip("this system has no bash")
    (line,) = [line.strip() for line in PAGE.read_text().split("\n") if "bash_source" in line]

    def run(*words):
        script = (
            f"{line}\n"
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
            # Only a shell that reads keys has it; it asks for paths here.
            'compopt() { echo "compopt $*"; }\n'
            "_embed_completion embed\n"
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        path = f"{embed_path.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        return done.stdout.split(), done.stderr

    return run


def test_commands_options_and_values_are_completed(completed):
    assert completed("embed", "ver") == (["verify"], "")
    assert completed("embed", "match", "--repo") == (["--report"], "")
    assert completed("embed", "match", "--format", "j") == (["json", "jsonl"], "")


@pytest.mark.parametrize(
    "words", [("match", "--candidates"), ("match", "--model"), ("build-index",), ("calibrate",)]
)
def test_paths_are_left_to_the_shell(completed, words):
    assert completed("embed", *words, "it") == (["compopt", "-o", "default"], "")
