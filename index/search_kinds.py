"""The kinds of FAISS index in search files: which to take, how to make an empty one and ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

KINDS = ("flat", "hnsw", "sq", "pq")
MOST_FLAT = 1_200_000  # "about a million"

_IN_LISTS = ("sq", "pq")
_LINKS, _CARE = 32, 100  # of the graph: links a row has, and rows looked at to choose them
_MEMORY_UNTOLD = 4 << 30


def chosen_kind(items: int, dim: int, memory: int) -> str:
    """By size and by the bytes of memory that are free: one of "flat", "sq" and "pq".

    A graph (HNSW) is searched faster still, but takes many times as long to make and more memory
    (`benchmarks/RESULTS.md`): it is made where it is asked for.
    """
    usable = memory // 2
    if items <= MOST_FLAT and bytes_taken("flat", items, dim) <= usable:
        return "flat"
    return "sq" if bytes_taken("sq", items, dim) <= usable else "pq"


def bytes_taken(kind: str, items: int, dim: int) -> int:
    """About what a search file takes."""
    numbers = {"flat": 4 * dim, "hnsw": 4 * dim + 9 * _LINKS, "sq": _wide(dim), "pq": _pieces(dim)}
    return items * (numbers[kind] + 8)


def free_memory() -> int:
    """Bytes of memory that programs can have without swapping; a guess where it is not told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(told.split()[1]) * 1024
    except (OSError, ValueError, StopIteration):
        return _MEMORY_UNTOLD


def empty_rows(kind: str, dim: int, lists: int) -> Any:
    """A FAISS index without vectors; one that has lists is to be trained first."""
    import faiss

    factory = {
        "flat": "IDMap,Flat",
        "hnsw": f"IDMap,HNSW{_LINKS}",
        "sq": f"Pad{_wide(dim)},IVF{lists},SQ8",
        "pq": f"IVF{lists},PQ{_pieces(dim)}",
    }[kind]
    rows = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if kind == "hnsw":
        faiss.downcast_index(rows.index).hnsw.efConstruction = _CARE
    # FAISS would warn on standard error where an index has few items.
    if kind in _IN_LISTS:
        faiss.extract_index_ivf(rows).cp.min_points_per_centroid = 1
    if kind == "pq":
        rows.pq.cp.min_points_per_centroid = 1
    return rows


def share_lists_out(rows: Any, kind: str) -> None:
    """Have all cores look through the lists of one photo, where it has lists.

    Raises:
        RuntimeError: it is of another kind than that.
    """
    import faiss

    if kind in _IN_LISTS:
        faiss.extract_index_ivf(rows).parallel_mode = 1


def nearest_rows(index: Any, kind: str, effort: int, asked: Vectors, count: int) -> Numbers:
    """Numbers of the rows nearest to each vector by a FAISS index; arguments as in `Notes`."""
    import faiss

    parameters = None
    if kind in _IN_LISTS:
        parameters = faiss.SearchParametersIVF(nprobe=effort)
        if kind == "sq":
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)
    elif kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, count))
    rows: Numbers = index.search(np.ascontiguousarray(asked), count, params=parameters)[1]
    return rows


def _pieces(dim: int) -> int:
    """Into how many parts product quantisation cuts a vector, a byte each: of two numbers."""
    return dim // 2 if dim % 2 == 0 else dim


def _wide(dim: int) -> int:
    """The next multiple of 16: others FAISS compares number by number, ten times as slowly."""
    return dim + -dim % 16
