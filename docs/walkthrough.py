"""Fill the pages that show a terminal with what the commands on them print.

    python docs/walkthrough.py

Runs all lines of these pages that begin with `$ `, in the blocks marked `console`, one after the
other, as a user would: typed into a shell in tmux, in a terminal of 80 columns, in an empty folder.
What is then on the screen takes the place of what the pages had. To show another command, write a
line with it into a page and run this.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COLUMNS = 80
DOCS = Path(__file__).parent
PAGES = (DOCS / "tutorial.md", DOCS / "walkthrough.md")  # in this order, in one folder

Run = Callable[[str], list[str]]

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROWS = 2000  # nothing scrolls out of sight

# What differs from run to run and from machine to machine, and what stands for it.
_VARYING = (
    (r"^photos/[^\n]*(?:\nphotos/[^\n]*)+", lambda rows: "\n".join(sorted(rows[0].split("\n")))),
    (r"[\d,.]+ (photos|items|steps|pictures|sizes|pairs)/s", r"N \1/s"),
    (r"^SHA-256 [0-9a-f]{64}$", "SHA-256"),
    (r"[\d,]+ bytes", "N bytes"),
    (r"\d+/\d+ N pairs/s", "M/M N pairs/s"),  # which photos are compared hangs on the training
    (r"\b\d+:\d\d(:\d\d)?\b", "TIME"),
    (r"version \d[\w.]*", "version V"),
    (r"[-+]?\d+\.\d+", "NUMBER"),
    (r"\b\d+ \(\d+-\d+\)", "SHARE (LOW-HIGH)"),
    (r"(?<=left)  best$", ""),  # which epochs are depends on the last digits of floats
    (r"epoch \d+ of", "epoch N of"),
    (r"(?<=NUMBER  )sku-\d+$", "RUNNER-UP"),
    # Shown where there is much to wait for, such as on a machine that is busy.
    (r"^(\$ embed (?:match|add) [^\n]*)\nEmbedding ━[^\n]*", r"\1"),
    (r"/tmp/embed-\w{8}", "FOLDER"),
    (r" +", " "),
)


def commands_of(page: str) -> list[str]:
    """The commands that a page shows, in order."""
    blocks = (found[1] for found in _BLOCK.finditer(page))
    lines = [line for block in blocks for line in block.split("\n") if line[:2] == "$ "]
    for line in lines:
        if len(line) >= COLUMNS:  # on the screen it would be two, and be read as a shorter one
            raise ValueError(f"expected a command in one line of {COLUMNS} columns, found: {line}")
    return [line[2:] for line in lines]


def filled(page: str, run: Run) -> str:
    """A page with what its commands print.

    Args:
        page: Markdown.
        run: runs a command; gives the lines on the screen, from the one with the command on.
    """

    def screens(block: re.Match[str]) -> str:
        lines = [line for command in commands_of(block[0]) for line in run(command)]
        return "\n".join(["```console", *lines, "```"])

    return _BLOCK.sub(screens, page)


def normalised(text: str) -> str:
    """A page or a screen without what may differ when all is well."""
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def environment() -> dict[str, str]:
    """As of a user who has set nothing, with the `embed` of this Python."""
    kept = {key: os.environ[key] for key in ("HOME", "PATH", "PYTHONPATH") if key in os.environ}
    kept["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), kept.get("PATH", os.defpath)])
    return kept | {"LC_ALL": "C.UTF-8"}


@contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder whose path is always as long: where it is on the screen, lines wrap alike."""
    with tempfile.TemporaryDirectory(prefix="embed-", dir="/tmp") as folder:
        yield Path(folder)


@contextmanager
def in_tmux(folder: Path) -> Iterator[Run]:
    """A shell in a terminal of tmux, which starts in a folder."""
    tmux = ["tmux", "-L", f"walkthrough-{os.getpid()}", "-f", os.devnull, "-u"]

    def tell(*arguments: str) -> str:
        told = [*tmux, *arguments]
        return subprocess.run(told, check=True, stdout=-1, text=True, env=env, timeout=600).stdout

    # Each prompt is a sign that the command before it has ended.
    env = environment() | {"PROMPT_COMMAND": f"{shlex.join([*tmux, 'wait-for'])} -S prompt"}
    size = ("-x", str(COLUMNS), "-y", str(_ROWS))
    tell("new-session", "-d", *size, "-c", str(folder), "env PS1='$ ' bash --norc --noprofile")
    try:
        tell("wait-for", "prompt")

        def run(command: str) -> list[str]:
            before = len(tell("capture-pane", "-p").rstrip().split("\n")) - 1
            tell("send-keys", "-l", command)
            tell("send-keys", "Enter")
            tell("wait-for", "prompt")
            lines = tell("capture-pane", "-p").rstrip().split("\n")
            while lines[-1] != "$":  # the sign comes just before the prompt
                lines = tell("capture-pane", "-p").rstrip().split("\n")
            return [line.rstrip() for line in lines[before:-1]]

        yield run
    finally:
        tell("kill-server")


def main() -> None:
    """Fill all pages."""
    if shutil.which("tmux") is None:
        sys.exit("expected tmux, found none: install it, for instance with 'apt install tmux'")
    with new_folder() as folder, in_tmux(folder) as run:
        for page in PAGES:
            page.write_text(filled(page.read_text(encoding="utf-8"), run), encoding="utf-8")


if __name__ == "__main__":
    main()
