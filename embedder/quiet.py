"""Silence for native libraries that log to standard output or error and cannot be told not to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_output_silenced() -> Iterator[None]:
    """Throw away what this process writes to its standard output and error meanwhile.

    TensorFlow and LiteRT log from C++ before any setting of theirs is read. Exceptions pass through
    as always. Keep it around single calls: it is process-wide.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    saved = {number: os.dup(number) for number in (1, 2) if _is_open(number)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in saved:
            os.dup2(nowhere, number)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
