"""Silence for libraries that log to standard output or error and cannot be told not to."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


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


@contextmanager
def output_silenced() -> Iterator[None]:
    """`native_output_silenced`, for what is written and warned of in Python too.

    In a notebook Python's output goes elsewhere than that of native libraries.
    """
    with (
        native_output_silenced(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
