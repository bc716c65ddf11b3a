"""Making the search file of a large index: which kind of FAISS index, and how hard it has to look.

Photos are made up to find that out: vectors about as far from an item's centroid as its own photos
are. Looking is made just hard enough for their nearest ten items to be found, which are known from
comparing them with all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.advice import with_advice
from embedder.errors import IndexFileError, in_one_line
from embedder.score_space import ScoreSpace, projected, unit
from index.beside import CannotMakeError, only_maker, see_that_there_is_room
from index.nearest import Best
from index.places import Where, place_of
from index.scanning import Block, following, numbered, scan, span
from index.search_file import (
    NoSearchFileError,
    Notes,
    SearchFile,
    kind_asked_for,
    lineage,
    mark,
    open_search_file,
    search_path,
    write_search_file,
)
from index.search_kinds import (
    IN_LISTS,
    KINDS,
    LEAST_PQ,
    bytes_taken,
    chosen_kind,
    empty_rows,
    free_memory,
    nearest_rows,
)
from index.stores import AnyStore, open_store
from index.whitening import read_score_space

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

MOST_READ = 50_000  # items: reading all their rows takes a fraction of a second
TARGET = 0.995  # of what is found of the nearest, above the 0.99 that is promised

_QUESTIONS, _TOP = 256, 10
_TRAINING_ROWS = 45  # for each list: FAISS asks for 39, and some rows are drawn twice
_SHORTLISTS = (32, 128, 512)
_MOST_WIDELY = 2048
_DISPERSION = 0.15  # of items with one photo, of which none is known; trained models have 0.07-0.23


@dataclass(frozen=True)
class SearchReport:
    """What was made.

    Attributes:
        items: in the search file.
        kind: "flat" (exact), "hnsw" (a graph), "sq" or "pq" (lists of vectors in 8 bits a number,
            or in four); "none" where the index is small and its rows are read instead.
        recall_1: share of made-up photos whose nearest item is found; 1 if exact.
        recall_10: share of their ten nearest.
        bytes: size of the file.
    """

    items: int
    kind: str
    recall_1: float
    recall_10: float
    bytes: int


def optimize(
    path: Where,
    kind: str | None = None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SearchReport:
    """Make the search file of an index, as `embed search` does where it is missing.

    Args:
        path: of the index: a file, or the URL of a database.
        kind: of `KINDS`. Unless given it is that which was given for the file that is there, or
            chosen by the number of items and the memory that is free.
        on_progress: called with (items done, items).

    Raises:
        IndexFileError: the index is damaged or has no item, the file cannot be written, or another
            process is writing it.
        ValueError: there is no such kind.
    """
    path = place_of(path)
    if kind is not None and kind not in KINDS:
        raise ValueError(f"expected a kind of {', '.join(KINDS)}, got {kind!r}")
    with open_store(path) as store:
        if kind is None and _reads_all(store):
            return SearchReport(len(store), "none", 1.0, 1.0, 0)
        made = make_search_file(store, read_score_space(store), kind, on_progress)
    size = search_path(path).stat().st_size
    return SearchReport(made.items, made.kind, made.recall_1, made.recall_10, size)


def is_small(store: AnyStore) -> bool:
    """Whether all rows of an index are read at each search, instead of a search file."""
    first, last = span(store)
    return last - first < MOST_READ


def _reads_all(store: AnyStore) -> bool:
    """Whether all rows are read instead: they are few, and no search file was asked for."""
    return is_small(store) and (kind_asked_for(store.path) is None or not len(store))


def current_search_file(
    store: AnyStore, space: ScoreSpace | None, on_progress: Callable[[int, int], None]
) -> SearchFile | None:
    """The search file of an index, made if need be; None where all rows are to be read instead.

    That is so for small indexes, and where another process is making the file or none can be
    written.

    Raises:
        IndexFileError: the index is damaged.
    """
    found = None
    try:
        found = open_search_file(store, space)
        added = span(store)[1] - found.notes.last[0]
        if added <= max(MOST_READ, found.notes.items // 10):
            return found
    except NoSearchFileError:
        if _reads_all(store):
            return None
    try:
        make_search_file(store, space, None, on_progress)
        return open_search_file(store, space)
    except (NoSearchFileError, CannotMakeError):
        return found


def make_search_file(
    store: AnyStore,
    space: ScoreSpace | None,
    kind: str | None,
    on_progress: Callable[[int, int], None],
) -> Notes:
    """As `optimize`, of an open index.

    Raises:
        CannotMakeError: the file cannot be written, or another process is making it.
        IndexFileError: as `optimize`.
    """
    path = search_path(store.path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_maker(path):
            return _make(store, space, kind, on_progress)
    except OSError as error:
        where = error.filename or path
        raise CannotMakeError(f"{where}: cannot be written: {with_advice(error)}") from error
    except (RuntimeError, MemoryError) as error:
        what = in_one_line(error) or "there is too little memory"
        raise CannotMakeError(f"{path}: FAISS cannot make it: {what}") from error


def _make(
    store: AnyStore,
    space: ScoreSpace | None,
    kind: str | None,
    on_progress: Callable[[int, int], None],
) -> Notes:
    items, dim = len(store), store.info.dim
    if not items:
        raise IndexFileError(f"{store.path}: expected an index with items, found none")
    of = lineage(store, space)
    kept = kind or kind_asked_for(store.path)
    kind = kept or chosen_kind(items, dim, free_memory())
    _see_that_it_can_be_made(store, kind, items)
    lists = max(1, min(2 ** round(math.log2(3 * math.sqrt(items))), items // _TRAINING_ROWS))
    rng = np.random.default_rng(0)
    rows = empty_rows(kind, dim, lists)
    if kind in IN_LISTS:
        sample = _some_rows(store, max(_TRAINING_ROWS * lists, 20_000), rng)
        rows.train(projected(sample.vectors, space))
    truth = Best(_questions(_some_rows(store, _QUESTIONS, rng), space, rng), _TOP)
    last, done = (0, "", ""), 0
    for block in scan(store):
        vectors = projected(block.vectors, space)
        rows.add_with_ids(vectors, block.numbers)
        truth.take_in(block, vectors)
        last, done = mark(block, -1), done + len(block.ids)
        on_progress(min(done, items - 1), items)
    tuned = _tuned(rows, kind, lists, truth)
    notes = Notes(of, last, done, kind, *tuned, asked_for=kept is not None)

    def is_current() -> bool:
        with open_store(store.path) as now:
            return lineage(now, read_score_space(now)) == of

    write_search_file(store.path, rows, notes, is_current)
    on_progress(items, items)
    return notes


def _see_that_it_can_be_made(store: AnyStore, kind: str, items: int) -> None:
    path = search_path(store.path)
    if kind == "pq" and items < LEAST_PQ:
        wanted = f"expected {LEAST_PQ} items or more for 'pq', found {items}"
        raise CannotMakeError(f"{path}: {wanted}: choose another kind")
    see_that_there_is_room(path, bytes_taken(kind, items, store.info.dim))


def _some_rows(store: AnyStore, most: int, rng: np.random.Generator) -> Block:
    """A random sample of the rows, or all of them; those after gaps in the numbers come up more."""
    first, last = span(store)
    width = last - first + 1
    chosen = np.arange(width) if width <= 2 * most else rng.integers(0, width, most)
    return numbered(store, following(store, first + chosen))


def _questions(rows: Block, space: ScoreSpace | None, rng: np.random.Generator) -> Vectors:
    """A photo of each item: its centroid, and a deviation as long as those of its photos are.

    Of every second one it goes the way to another item, for photos may differ most where items do;
    of the others anywhere.
    """
    dispersions = np.where(rows.photos > 1, rows.dispersions, _DISPERSION)
    spread = np.sqrt(dispersions / np.maximum(1 - dispersions, 0.1))
    away = unit(rng.normal(size=rows.vectors.shape))
    away[::2] = unit(rng.permutation(rows.vectors) - rows.vectors)[::2]
    photos = unit(rows.vectors + spread[:, None] * away).astype(np.float32)
    return projected(photos, space)


def _tuned(rows: Any, kind: str, lists: int, truth: Best) -> tuple[int, int, float, float]:
    """Effort and length of the shortlist, and what they find: the least that reaches `TARGET`."""
    if kind == "flat":
        return 0, _SHORTLISTS[0], 1.0, 1.0
    least, most = (_SHORTLISTS[0], _MOST_WIDELY) if kind == "hnsw" else (1, lists)
    # In steps of a fifth: what is looked at needlessly costs time at each search.
    efforts = {min(most, round(least * 2 ** (n / 4))) for n in range(4 * most.bit_length())}
    best = (0, 0, 0.0, 0.0)
    for effort in sorted(efforts | {most}):
        longest = _SHORTLISTS[-1] if kind != "hnsw" else min(effort, _SHORTLISTS[-1])
        near = nearest_rows(rows, kind, effort, truth.asked, longest)
        for length in _SHORTLISTS:
            tried = (effort, length, *_recalls(near[:, :length], truth))
            if tried[3] > best[3]:
                best = tried
            if min(tried[2:]) >= TARGET:
                return tried
    return best


def _recalls(rows: Numbers, truth: Best) -> tuple[float, float]:
    """Shares of the nearest, and of all that are known, that are among the rows of each."""
    found = (truth.numbers[:, :, None] == rows[:, None, :]).any(axis=2)
    nearest = truth.scores.argmax(axis=1)
    return float(found[np.arange(len(found)), nearest].mean()), float(found.mean())
