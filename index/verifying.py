"""Whether an index, and what is kept beside it, is as it was written: all of it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from embedder.errors import IndexFileError
from index.calibration import read_background, read_calibration
from index.database import is_damage
from index.kept_photos import kept_beside, kept_problems
from index.places import Where, place_of
from index.schema import MEND, IndexInfo
from index.store import Store
from index.stores import AnyStore, open_store
from index.whitening import read_score_space, whole_spreads

_AT_ONCE = 500
_MOST_FINDINGS = 100


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        info: what the index says about itself; None if that cannot be read.
        items: how many it has.
        problems: of the index, a line each; none if it is whole.
        kept_problems: the same of what is kept of its photos, which costs the next build some time
            and nothing else.
    """

    info: IndexInfo | None
    items: int
    problems: tuple[str, ...]
    kept_problems: tuple[str, ...]


def verify_index(
    path: Where = "items.index",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verified:
    """Look at all of an index: structure, checksums, and that what is read can be used.

    Args:
        path: of the index: a file, or the URL of a database.
        on_progress: called with (items done, items in all).

    Raises:
        IndexFileError: there is none, it is another database or of another version, cannot be
            read, or another program holds it.
    """
    path = place_of(path)
    kept = tuple(kept_problems(kept_beside(path)))
    if isinstance(path, Path) and not path.is_file():
        Store.open(path)  # says what is expected
    try:
        with open_store(path) as store:
            problems = list(dict.fromkeys(_problems(store, on_progress)))
            return Verified(store.info, len(store), tuple(problems), kept)
    except IndexFileError as error:
        if not is_damage(error):
            raise
        return Verified(None, 0, (str(error),), kept)


def _problems(store: AnyStore, on_progress: Callable[[int, int], None]) -> Iterator[str]:
    parts: list[Callable[[], object]] = [
        lambda: read_score_space(store),
        lambda: read_calibration(store),
        lambda: read_background(store),
        store.unreadable,
    ]
    for read in parts:
        yield from _raised(read)
    yield from _raised(lambda: _refuse_damaged_spreads(store))
    yield from _damaged_items(store, on_progress)
    for found in store.problems("integrity_check", _MOST_FINDINGS):
        yield f"{store.path}: {found}: {MEND}"


def _damaged_items(store: AnyStore, on_progress: Callable[[int, int], None]) -> Iterator[str]:
    ids, done, total = store.ids(), 0, len(store)
    while True:
        try:
            some = list(islice(ids, _AT_ONCE))
        except IndexFileError as error:
            if not is_damage(error):
                raise
            yield str(error)
            return
        if not some:
            return
        if any(_raised(partial(_read_items, store, some))):
            for item_id in some:
                yield from _raised(partial(_read_items, store, [item_id]))
        done += len(some)
        on_progress(done, total)


def _read_items(store: AnyStore, ids: list[str]) -> None:
    store.statistics(ids)
    store.references(ids)


def _refuse_damaged_spreads(store: AnyStore) -> None:
    whole = {item_id for item_id, _ in whole_spreads(store)}
    for item_id, _ in store.spreads():
        if item_id not in whole:
            raise IndexFileError(f"{store.path}: the spread of item '{item_id}' is damaged: {MEND}")


def _raised(read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except IndexFileError as error:
        if not is_damage(error):
            raise
        yield str(error)
