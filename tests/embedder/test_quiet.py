"""Tests of silencing, each in a process of its own: it changes the descriptors 1 and 2."""

import subprocess
import sys

import pytest

BODY = """
import os, sys
from embedder.quiet import native_output_silenced
def speak(word):
    print("printed", word)
    print("printed", word, file=sys.stderr)
    os.write(1, f"written {word}\\n".encode())
    os.write(2, f"written {word}\\n".encode())
speak("before")
sys.stdout.flush()
"""


def outputs(body: str) -> tuple[list[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", BODY + body], capture_output=True, text=True, check=True, timeout=60
    )
    return sorted(done.stdout.splitlines()), sorted(done.stderr.splitlines())


def words(*said: str) -> list[str]:
    return sorted(f"{how} {word}" for how in ("printed", "written") for word in said)


@pytest.mark.parametrize(
    "body",
    [
        "with native_output_silenced():\n    speak('inside')\nspeak('after')",
        "try:\n    with native_output_silenced():\n        speak('inside')\n"
        "        raise KeyError\nexcept KeyError:\n    speak('after')",
    ],
    ids=["plain", "exception"],
)
def test_only_what_is_said_inside_is_lost(body: str):
    out, err = outputs(body)
    assert out == words("before", "after")
    assert err == words("before", "after")


def test_may_be_nested():
    body = (
        "with native_output_silenced():\n    with native_output_silenced():\n"
        "        speak('inner')\n    speak('outer')\nspeak('after')"
    )
    out, err = outputs(body)
    assert out == err == words("before", "after")


def test_no_descriptor_is_left_open():
    body = (
        "def is_open(number):\n"
        "    try:\n        return bool(os.fstat(number))\n"
        "    except OSError:\n        return False\n"
        "before = [n for n in range(64) if is_open(n)]\n"
        "with native_output_silenced():\n    pass\n"
        "print(before == [n for n in range(64) if is_open(n)])"
    )
    assert outputs(body)[0] == sorted([*words("before"), "True"])


def test_a_failing_descendant_is_silenced_too():
    body = (
        "import subprocess\nwith native_output_silenced():\n"
        "    subprocess.run([sys.executable, '-c', 'print(1); raise SystemExit(\"no\")'])"
    )
    out, err = outputs(body)
    assert out == err == words("before")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_are_no_obstacle(closed: str):
    code = "from embedder.quiet import native_output_silenced as q\nwith q(): pass"
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code]
    assert subprocess.run(command, timeout=60, capture_output=True).returncode == 0
