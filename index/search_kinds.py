"""The kinds of FAISS index in search files: which to take, how to make an empty one and ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.faiss_loading import load_faiss

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

KINDS = ("flat", "hnsw", "sq", "pq")
IN_LISTS = ("sq", "pq")
MOST_FLAT = 1_200_000  # "about a million"
LEAST_PQ = 256  # items: as many as a byte can tell apart

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
    graph = 4 * dim + 9 * _LINKS
    numbers = {"flat": 4 * dim, "hnsw": graph, "sq": _filled(dim, 16), "pq": _filled(dim, 2) // 2}
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
    faiss = load_faiss()
    # FAISS compares 8-bit vectors of other lengths than multiples of 16 number by number, ten times
    # as slowly. "np": codes are not put in the order that makes their Hamming distances
    # good: nothing here looks at these, and it takes longer than the rest of the training.
    wide, even = _filled(dim, 16), _filled(dim, 2)
    factory = {
        "flat": "IDMap,Flat",
        "hnsw": f"IDMap,HNSW{_LINKS}",
        "sq": f"Pad{wide},IVF{lists},SQ8",
        "pq": f"Pad{even},IVF{lists},PQ{even // 2}np",
    }[kind]
    rows = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    inside = faiss.downcast_index(rows.index)
    if kind == "hnsw":
        inside.hnsw.efConstruction = _CARE
    # FAISS would warn on standard error where an index has few items.
    if kind in IN_LISTS:
        inside.cp.min_points_per_centroid = 1
    if kind == "pq":
        inside.pq.cp.min_points_per_centroid = 1
    return rows


def kind_of(rows: Any) -> str | None:
    """Of a FAISS index that was read from a file; None of one that `empty_rows` does not make."""
    faiss = load_faiss()
    inside = faiss.downcast_index(rows.index) if hasattr(rows, "index") else None
    return {
        ("IndexIDMap", "IndexFlat"): "flat",
        ("IndexIDMap", "IndexFlatIP"): "flat",
        ("IndexIDMap", "IndexHNSWFlat"): "hnsw",
        ("IndexPreTransform", "IndexIVFScalarQuantizer"): "sq",
        ("IndexPreTransform", "IndexIVFPQ"): "pq",
    }.get((type(rows).__name__, type(inside).__name__))


def share_lists_out(rows: Any, kind: str) -> None:
    """Have all cores look through the lists of one photo, where there are lists."""
    faiss = load_faiss()
    if kind in IN_LISTS:
        faiss.downcast_index(rows.index).parallel_mode = 1


def nearest_rows(index: Any, kind: str, effort: int, asked: Vectors, count: int) -> Numbers:
    """Numbers of the rows nearest to each vector by a FAISS index; arguments as in `Notes`."""
    faiss = load_faiss()
    parameters = None
    if kind in IN_LISTS:
        inside = faiss.SearchParametersIVF(nprobe=effort)
        parameters = faiss.SearchParametersPreTransform(index_params=inside)
    elif kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, count))
    rows: Numbers = index.search(np.ascontiguousarray(asked), count, params=parameters)[1]
    return rows


def _filled(dim: int, unit: int) -> int:
    """The next multiple: vectors are filled up with zeros."""
    return dim + -dim % unit
