"""What an update of an index starts from, and which items of the catalogue it has to look at."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

from embedder.catalogue import Catalogue
from embedder.errors import IndexFileError
from index import whitening
from index.database import IndexInfo
from index.embedding import settled_states
from index.store import Store

ADDED_BY_HAND = b""  # the signature of an item that no catalogue speaks for


def signatures_of(catalogue: Catalogue) -> dict[str, bytes]:
    """Of each item, what changes when its photo files do: 16 bytes."""
    found = {}
    for item, photos in catalogue.items.items():
        files = repr((catalogue.within(photos), settled_states(photos)))
        found[item] = hashlib.blake2b(files.encode(), digest_size=16).digest()
    return found


class Start(NamedTuple):
    """What an update starts from.

    Attributes:
        store: to write into: a copy of the old index, or a new one.
        before: what the old index said about itself; None if the store is new.
        lost: items that were added by hand to an index of another model.
    """

    store: Store
    before: IndexInfo | None
    lost: set[str]


def copy_or_new(path: Path, unfinished: Path, info: IndexInfo) -> Start:
    """Copy the index at `path`, or make a new one.

    An old index that is of another model, or damaged, has nothing worth keeping.

    Raises:
        IndexFileError: it cannot be written.
    """
    # A journal would be played back into whatever has the name it was made for.
    for name in (unfinished.name, f"{unfinished.name}-journal"):
        unfinished.with_name(name).unlink(missing_ok=True)
    lost = set()
    if path.exists():
        shutil.copyfile(path, unfinished)
        try:
            store = Store.open(unfinished, writable=True)
        except IndexFileError:
            pass
        else:
            if store.info.fingerprint == info.fingerprint:
                before = store.info
                store.write_info(info)
                return Start(store, before, set())
            lost = {item for item, sign in store.signatures().items() if sign == ADDED_BY_HAND}
            store.close()
        unfinished.unlink()
    return Start(Store.create(unfinished, info), None, lost)


def remove_changed(
    store: Store, signatures: dict[str, bytes], sample: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Take out of a store what is gone from a catalogue, and what has changed in it.

    Args:
        store: to take it out of.
        signatures: of the items of the catalogue.
        sample: the items whose spread is needed.

    Returns:
        The ids of the items that are gone, and of those to put in anew.
    """
    before = store.signatures()
    spreads = {item for item, _ in whitening.whole_spreads(store)}
    changed = [
        item
        for item, signature in signatures.items()
        if before.get(item) != signature or (item in sample and item not in spreads)
    ]
    gone = [
        item
        for item, signature in before.items()
        if item not in signatures and signature != ADDED_BY_HAND
    ]
    store.remove_spreads(spreads - sample)
    store.remove([*gone, *changed])
    return gone, changed
