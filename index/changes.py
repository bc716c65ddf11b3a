"""What an update of an index starts from, and which items of the catalogue it has to look at."""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from embedder.errors import IndexFileError
from index.calibration import read_calibration
from index.database import (
    is_damage,
    is_damaged_index,
    sqlite_errors,
    undo_half_done,
)
from index.salvaging import salvage
from index.schema import MEND, IndexInfo, OtherFileError
from index.store_writing import WritableStore

ADDED_BY_HAND = b""  # the signature of an item that no catalogue speaks for


class Start(NamedTuple):
    """What an update starts from.

    Attributes:
        store: to write into: a copy of the old index, or a new one.
        whitened: whether the old index had a score space; None if none of it is of use.
        calibrated: whether somebody gave photos to calibrate the old index, as far as can be told.
        lost: items of the old index that the store does not have: those that were added by hand if
            it was of another model, those that cannot be read if it was damaged.
    """

    store: WritableStore
    whitened: bool | None
    calibrated: bool
    lost: set[str]


def copy_or_new(path: Path, unfinished: Path, info: IndexInfo, repair: bool) -> Start:
    """Copy the index at `path`, or make a new one of what is of use of it.

    Args:
        path: of the index, if there is one.
        unfinished: where the copy goes; nothing is there.
        info: what the new index says about itself.
        repair: whether to take nothing over but rows that are whole, as if it were damaged.

    Raises:
        IndexBusyError: another program holds the index.
        IndexFileError: a file cannot be written, or the one that is there was never an index.
    """
    if not path.exists():
        return Start(WritableStore.create(unfinished, info), None, False, set())
    try:
        if not repair:
            return _copy(path, unfinished, info)
    except IndexFileError as error:
        if not (is_damage(error) or isinstance(error, OtherFileError)):
            raise
        unfinished.unlink(missing_ok=True)
    store, known, whitened = salvage(path, unfinished, info)
    if not known and whitened is None and not is_damaged_index(path):
        store.close()
        raise IndexFileError(
            f"{path}: expected an index file, found nothing of one in it: "
            "delete it, or name another file with --index"
        )
    return Start(store, whitened, _calibrated(store, True), known - set(store.ids()))


def _copy(path: Path, unfinished: Path, info: IndexInfo) -> Start:
    with sqlite_errors(path):
        undo_half_done(path)
    shutil.copyfile(path, unfinished)
    store = WritableStore.open(unfinished)
    try:
        calibrated = _calibrated(store, False)
        if store.info.fingerprint == info.fingerprint:
            if damaged := store.damaged():
                raise IndexFileError(f"{path}: the row of item '{damaged[0]}' is damaged: {MEND}")
            whitened = store.info.whitened
            store.write_info(info)
            return Start(store, whitened, calibrated, set())
        lost = {item for item, sign in store.signatures().items() if sign == ADDED_BY_HAND}
    except BaseException:
        store.close()
        raise
    store.close()
    unfinished.unlink()
    return Start(WritableStore.create(unfinished, info), None, calibrated, lost)


def _calibrated(store: WritableStore, without: bool) -> bool:
    """Whether somebody gave photos to calibrate an index; `without` if it has no calibration."""
    try:
        found = read_calibration(store)
    except IndexFileError:  # it may have been
        return True
    return without if found is None else found.given


def remove_changed(
    store: WritableStore, signatures: dict[str, bytes], lacking: Container[str]
) -> tuple[list[str], list[str]]:
    """Take out of a store what is gone from a catalogue, and what has changed in it.

    Args:
        store: to take it out of.
        signatures: of the items of the catalogue.
        lacking: items of which something else is not there that their photos give.

    Returns:
        The ids of the items that are gone, and of those to put in anew.
    """
    before = store.signatures()
    changed = [
        item for item, sign in signatures.items() if before.get(item) != sign or item in lacking
    ]
    gone = [
        item for item, sign in before.items() if item not in signatures and sign != ADDED_BY_HAND
    ]
    store.remove([*gone, *changed])
    return gone, changed
