"""FAISS, imported where it is used: it takes longer than all else."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_WAITING = "OMP_WAIT_POLICY"
_alone = threading.Lock()


def load_faiss() -> Any:
    """The module; its threads sleep while they wait for each other, unless they are told otherwise.

    OpenMP would have them spin. Where other programs keep the cores busy, that makes a search twice
    as slow and more, and where none does it gains nothing (`benchmarks/RESULTS.md`). OpenMP asks
    the environment once, when it is loaded: who imported FAISS before us has what they chose.
    """
    with _alone:
        ours = _WAITING not in os.environ and "faiss" not in sys.modules
        if ours:
            os.environ[_WAITING] = "passive"
        try:
            import faiss
        finally:
            if ours:
                del os.environ[_WAITING]
    return faiss
