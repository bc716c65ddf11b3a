"""From a catalogue to an index file.

The new index grows beside the old one and takes its place in one step at the end, so readers see
the old index or the new one, whole. What an interrupted build has done is kept and gone on from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from embedder.catalogue import Catalogue, photo_state
from embedder.errors import CatalogueError, IndexFileError, PhotoError
from embedder.inference import Embedder, Vector
from embedder.photos import photo_name
from index import whitening
from index.calibrating import background, calibrate
from index.calibration import Calibration, read_calibration, write_calibration
from index.database import IndexInfo, is_damaged_index, only_writer
from index.rows import Item
from index.statistics import RunningItem
from index.store import Store

_SECONDS_BETWEEN_COMMITS = 2.0

Photos = tuple[Path, ...]


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        items: in the index.
        photos: in the index.
        embedded: photos read by this run; the others had not changed since an earlier one.
        unreadable: photos that could not be read, of all items, and why.
        empty: items left out because no photo of theirs could be read.
        removed: items that an earlier index had and the catalogue has not.
    """

    items: int
    photos: int
    embedded: int
    unreadable: tuple[PhotoError, ...]
    empty: tuple[str, ...]
    removed: tuple[str, ...]


def build_index(
    catalogue: Catalogue,
    embedder: Embedder,
    path: str | os.PathLike[str] = "items.index",
    *,
    skip_empty: bool = False,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Build an index, or bring one up to date: only items whose photo files changed are embedded.

    With a model that asks for it, scores are whitened (`embedder.score_space`) where there are
    photos enough. For that a few items that take the place of removed ones in a sample may be
    embedded again.

    Args:
        catalogue: items and photos.
        embedder: the trained model.
        path: the index file; an index of another model there is replaced.
        skip_empty: leave out items without a readable photo instead of failing.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos to embed).

    Raises:
        CatalogueError: an item has no readable photo; an index that was there is left as it was.
        IndexFileError: the file cannot be written, or another build is writing it.
    """
    path = Path(path)
    _refuse_other_file(path)
    _refuse_empty([item for item, photos in catalogue.items.items() if not photos], skip_empty)
    with only_writer(path, "another build"):
        return _build(catalogue, embedder, path, skip_empty, jobs, on_progress)


def _build(
    catalogue: Catalogue,
    embedder: Embedder,
    path: Path,
    skip_empty: bool,
    jobs: int | None,
    on_progress: Callable[[int, int], None],
) -> BuildReport:
    unfinished = path.with_name(path.name + ".building")
    signatures = {item: _signature(catalogue, photos) for item, photos in catalogue.items.items()}
    with _open_unfinished(path, unfinished, catalogue, embedder) as store:
        sample = frozenset[str]()
        if embedder.info.whitened_temperature is not None:
            sample = whitening.sample(catalogue.items)
        removed, changed = _plan(store, catalogue, signatures, sample)
        paths = (photo for photos in changed.values() for photo in photos)
        results = embedder.embed(paths, jobs)
        _embed_items(store, catalogue, changed, signatures, sample, results, on_progress)
        empty = tuple(sorted(catalogue.items.keys() - store.signatures().keys()))
        _refuse_empty(empty, skip_empty)
        report = BuildReport(
            len(store),
            store.photo_count(),
            sum(map(len, changed.values())),
            store.unreadable(),
            empty,
            removed,
        )
        if report.items == 0:
            raise CatalogueError(f"{catalogue.source}: no item has a readable photo")
        _finish(store, embedder, path)
    with unfinished.open("r+b") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    return report


def _refuse_other_file(path: Path) -> None:
    """Refuse to write over what is not an index of ours, or of a version we do not know."""
    if path.is_dir() or not path.name:
        raise IndexFileError(f"{path}: expected the name of an index file, found a folder")
    if not path.exists():
        return
    try:
        Store.open(path).close()
    except IndexFileError:
        if not is_damaged_index(path):
            raise


def _refuse_empty(items: list[str] | tuple[str, ...], skip_empty: bool) -> None:
    if items and not skip_empty:
        named = ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
        raise CatalogueError(
            f"{len(items)} item(s) without a readable photo: {named}: "
            "add photos, or leave them out with --skip-empty"
        )


def _open_unfinished(
    path: Path, unfinished: Path, catalogue: Catalogue, embedder: Embedder
) -> Store:
    """The index to write into: an interrupted build, or else a copy of the old one, or a new one.

    An old or interrupted index that is of another model, or damaged, has nothing worth keeping.
    """
    fingerprint = embedder.info.fingerprint
    source = photo_name(catalogue.source.absolute())
    info = IndexInfo(fingerprint, embedder.info.architecture.dim, embedder.info.temperature, source)
    if not unfinished.exists() and path.exists():
        partial = unfinished.with_name(unfinished.name + ".copy")
        shutil.copyfile(path, partial)
        partial.replace(unfinished)
    store = _resume(unfinished, info)
    if store is None:
        unfinished.unlink(missing_ok=True)
        # A journal would be played back into whatever has the name it was made for.
        unfinished.with_name(unfinished.name + "-journal").unlink(missing_ok=True)
        store = Store.create(unfinished, info)
    return store


def _resume(unfinished: Path, info: IndexInfo) -> Store | None:
    try:
        store = Store.open(unfinished, writable=True)
    except IndexFileError:
        return None
    if store.info.fingerprint == info.fingerprint:
        store.write_info(info)
        return store
    store.close()
    return None


def _plan(
    store: Store, catalogue: Catalogue, signatures: dict[str, bytes], sample: frozenset[str]
) -> tuple[tuple[str, ...], dict[str, Photos]]:
    """Removes what is gone from the store; returns what that was, and the items to embed."""
    before = store.signatures()
    spreads = {item for item, _ in whitening.whole_spreads(store)}
    changed = {
        item: photos
        for item, photos in catalogue.items.items()
        if before.get(item) != signatures[item] or (item in sample and item not in spreads)
    }
    removed = tuple(sorted(before.keys() - catalogue.items.keys()))
    store.remove_spreads(spreads - sample)
    store.remove([*removed, *changed])
    return removed, changed


def _embed_items(
    store: Store,
    catalogue: Catalogue,
    changed: dict[str, Photos],
    signatures: dict[str, bytes],
    sample: frozenset[str],
    results: Iterator[Vector | PhotoError],
    on_progress: Callable[[int, int], None],
) -> None:
    """Take the embeddings of the photos of `changed`, in that order, and keep item by item."""
    total, done = sum(map(len, changed.values())), 0
    last_commit = time.monotonic()
    for item, photos in changed.items():
        running, bad, reference = RunningItem(store.info.dim), [], ""
        for photo, result in zip(photos, results, strict=False):
            if isinstance(result, PhotoError):
                bad.append(result)
            else:
                running.add(result)
                reference = reference or _shown(catalogue, photo)
            done += 1
            on_progress(done, total)
        if running.count:
            centroid, dispersion = running.centroid(), running.dispersion()
            row = Item(item, centroid, running.count, dispersion, reference, signatures[item])
            store.put(row)
            if item in sample:
                whitening.put_spread(store, row, running)
        store.put_unreadable(item, bad)
        if time.monotonic() - last_commit > _SECONDS_BETWEEN_COMMITS:
            store.commit()
            last_commit = time.monotonic()
    store.commit()


def _finish(store: Store, embedder: Embedder, path: Path) -> None:
    """Fits the score space and the calibration, and says that the index is whole."""
    temperature = embedder.info.whitened_temperature
    space = whitening.fit(store)
    if space is None or temperature is None:
        whitening.write_score_space(store, None)
    else:
        whitening.write_score_space(store, space)
        store.write_info(replace(store.info, whitened=True, temperature=temperature))
    others = background(store)
    calibration = _given_calibration(path, store.info)
    if calibration is None and (held_out := embedder.held_out()) is not None:
        calibration = calibrate(store, held_out, others, given=False)
    write_calibration(store, calibration, others)
    store.write_info(replace(store.info, created=datetime.now(UTC).isoformat("T", "seconds")))


def _given_calibration(path: Path, info: IndexInfo) -> Calibration | None:
    """What `embed calibrate` fitted the index that is there to: photos that somebody took."""
    if not path.exists():
        return None
    try:
        with Store.open(path) as before:
            found = read_calibration(before)
            same = (before.info.fingerprint, before.info.whitened)
    except IndexFileError:
        return None
    usable = found is not None and found.given and same == (info.fingerprint, info.whitened)
    return found if usable else None


def _signature(catalogue: Catalogue, photos: Photos) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for photo in photos:
        digest.update(f"{_shown(catalogue, photo)!r} {photo_state(photo)}\n".encode())
    return digest.digest()


def _shown(catalogue: Catalogue, photo: Path) -> str:
    """A photo's path within its catalogue: the same wherever the catalogue is moved to."""
    root = catalogue.source.parent if catalogue.source.suffix == ".csv" else catalogue.source
    try:
        return photo_name(os.path.relpath(photo, root))
    except ValueError:  # on another drive
        return photo_name(photo)
