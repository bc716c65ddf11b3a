"""A terminal of 80 columns as far as `embed` uses one: a command in it, and what is then on it."""

import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl

COLUMNS = 80
_PARTS = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x00-\x1f\x7f])", re.DOTALL)


def read_terminal(master):
    """All that is written to the other side of a terminal, until that is closed; closes it."""
    seen = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # Linux says so when the other side has closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    return seen


def run_in_terminal(command, folder, environment, text=None):
    """Run a command with a terminal for output and errors.

    Args:
        command: its arguments.
        folder: where.
        environment: its environment variables.
        text: bytes for its input; None for none.

    Returns:
        The exit status, and what was written to the terminal.
    """
    master, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, COLUMNS, 0, 0))
    source = subprocess.DEVNULL if text is None else subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=source, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    if text is not None:
        process.stdin.write(text)
        process.stdin.close()
    seen = read_terminal(master)
    return process.wait(timeout=120), seen.decode()


def screen(written):
    """The lines on a screen after something was written to it; fails at what it does not know."""
    lines, row, column, at = [[]], 0, 0, 0
    while at < len(written):
        found = _PARTS.match(written, at)
        assert found, f"not known: {written[at : at + 20]!r}"
        at = found.end()
        amount, letter, returned, fed, char = found.groups()
        if returned:
            column = 0
        elif fed:
            row += 1
        elif char:
            if column == COLUMNS:  # a terminal waits with a new line until there is more
                row, column = row + 1, 0
            lines += [[] for _ in range(row + 1 - len(lines))]
            lines[row] += " " * (column - len(lines[row]))
            lines[row][column : column + 1] = char
            column += 1
        elif (letter, amount) == ("K", "2"):
            lines[row] = []
        elif letter == "A":
            row -= int(amount or 1)
            assert row >= 0
        else:
            assert letter == "m" or amount == "?25", f"not known: {found[0]!r}"
        lines += [[] for _ in range(row + 1 - len(lines))]
    return "\n".join("".join(line).rstrip() for line in lines).rstrip("\n")
