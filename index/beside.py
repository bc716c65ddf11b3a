"""Making a file beside an index: by one process at a time, and where the disk has room for it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedder.errors import IndexFileError
from embedder.locking import only_process


class CannotMakeError(IndexFileError):
    """The index is whole, but a file beside it cannot be made now."""


@contextmanager
def only_maker(path: Path) -> Iterator[None]:
    """While in it, no other process makes this file.

    Raises:
        CannotMakeError: another one does.
        OSError: the lock cannot be made.
    """
    with only_process(path.with_name(f".{path.name}.lock")) as alone:
        if not alone:
            raise CannotMakeError(f"{path}: another process is making it: try again later")
        yield


def see_that_there_is_room(path: Path, size: int) -> None:
    """Refuse to begin with a file that the disk has no room for.

    Raises:
        OSError: it has not.
    """
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
