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
        "try:\n    with native_output_silenced():\n        speak('inside')\n        raise KeyError\n"
        "except KeyError:\n    speak('after')",
        "for _ in range(2000):\n    with native_output_silenced():\n        pass\nspeak('after')",
    ],
    ids=["plain", "exception", "no-descriptor-leaks"],
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


def test_a_failing_descendant_is_silenced_too():
    body = (
        "import subprocess\nwith native_output_silenced():\n"
        "    subprocess.run([sys.executable, '-c', 'print(1); raise SystemExit(\"no\")'])"
    )
    out, err = outputs(body)
    assert out == err == words("before")
