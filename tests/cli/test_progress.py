"""Bars on a terminal: rate, time left, one line of 80 columns; elsewhere nothing."""

import os
import re
import sys

import pytest
from screen import run_in_terminal, screen

COLOUR = re.compile(r"\x1b\[[\d;]*m")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}

COMMANDS = {
    "Drawing": ("sample", "new", "--items", "4", "--queries", "1", "--size", "32"),
    "Embedding": ("build-index", "catalogue", "--index", "new.index"),
    "Verifying": ("verify",),
}


@pytest.fixture
def terminal(embed_path, tmp_path):
    """What a command or a script writes to a terminal of some kind."""

    def run(*arguments, script=None, **environment):
        command = [sys.executable, "-c", script] if script else [embed_path, *arguments]
        extra = {"TERM": "xterm-256color"} | environment
        status, written = run_in_terminal(command, tmp_path, ENVIRONMENT | extra)
        assert status == 0, written
        return written

    return run


@pytest.mark.parametrize("what", COMMANDS)
def test_a_terminal_sees_rate_and_time(terminal, place, what):
    written = terminal(*COMMANDS[what])
    assert COLOUR.search(written)
    bars = [line for line in screen(written).split("\n") if "━" in line]
    (bar,) = bars
    assert re.fullmatch(rf"{what} ━+ (\d+)/\1 [\d,.]+ (photos|items)/s \d:\d\d:\d\d", bar)


@pytest.mark.parametrize("what", COMMANDS)
def test_no_colour_is_honoured(terminal, place, what):
    assert not COLOUR.search(terminal(*COMMANDS[what], NO_COLOR="1").replace("\x1b[0m", ""))


@pytest.mark.parametrize("what", COMMANDS)
def test_a_terminal_that_cannot_go_back_gets_lines(terminal, place, what):
    written = terminal(*COMMANDS[what], TERM="dumb")
    assert "\x1b" not in written
    assert what not in written
    assert all(line.endswith("\r") for line in written.split("\n")[:-1])


@pytest.mark.parametrize("what", COMMANDS)
def test_what_is_no_terminal_gets_no_bar_whatever_forces_colours(embed, place, what):
    done = embed(*COMMANDS[what], env=ENVIRONMENT | {"FORCE_COLOR": "1"})
    assert done.returncode == 0
    assert what not in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


MILLIONS = """
import time
from cli.progress import photo_progress
with photo_progress("Embedding") as show:
    show(123_456, 10_000_000)
    time.sleep(0.2)
    show(1_234_567, 10_000_000)
    time.sleep(0.3)
"""


def test_a_bar_of_millions_is_one_line_with_the_time_left(terminal):
    (line,) = screen(terminal(script=MILLIONS)).split("\n")
    assert re.search(r" 1234567/10000000 [\d,]+ photos/s \d:\d\d:\d\d$", line)


PATIENT = """
import time
from cli.progress import photo_progress
with photo_progress("Embedding", patience={}) as show:
    time.sleep(0.1)
    show(1, 2)
    show(2, 2)
"""


@pytest.mark.parametrize(("patience", "seen"), [(0.05, "2/2"), (60, "")])
def test_what_is_mostly_soon_done_shows_a_bar_only_if_it_is_not(terminal, patience, seen):
    written = screen(terminal(script=PATIENT.format(patience)))
    assert seen in written
    assert bool(written) == bool(seen)


def test_where_nothing_was_to_be_done_no_bar_is_left(terminal, place):
    assert screen(terminal("build-index", "catalogue")).startswith("items.index: 12 items")


TRAINING = """
import time
from cli.training_progress import training_progress
from embedder.errors import PhotoError
from embedder.training_options import EpochReport, Listener

class Log(Listener):
    steps = epochs = 0
    def step(self, epoch, step, steps, loss):
        self.steps += 1
    def epoch(self, report):
        self.epochs += 1

log = Log()
with training_progress(log) as listener:
    for done in range(100):
        listener.decoded(done + 1, 100)
    listener.unreadable((PhotoError("a[red].jpg" + "\\x1b[2J", "not an image"),))
    listener.features(100, 100)
    time.sleep(0.3)
    for epoch in range(40):
        for step in range(3):
            listener.step(epoch + 1, step + 1, 3, 0.8123)
            time.sleep(0.01)
        listener.epoch(EpochReport(epoch + 1, 40, 0.8, 1.0, 1.0, 0.001, 12345.6, 35999, True))
print(log.steps, log.epochs)
"""


def test_a_training_is_a_line_an_epoch_with_a_bar_below_that_goes(terminal):
    written = terminal(script=TRAINING)
    plain = COLOUR.sub("", written)
    assert re.search(r"Epoch \d+ ━+ 3/3 loss 0\.812  [\d,.]+ steps/s \d:\d\d:\d\d", plain)
    assert re.search(r"Features ━+ 100/100", plain)
    lines = screen(written).split("\n")
    assert lines[:2] == [
        "1 photo(s) could not be read and are left out:",
        "  a[red].jpg\\x1b[2J: not an image",
    ]
    assert lines[2:-1] == [
        f"epoch {epoch:>2}/40  loss 0.800  right of 10 100.0%  of all 100.0%  599:59 left  best"
        for epoch in range(1, 41)
    ]
    assert lines[-1] == "120 40"
