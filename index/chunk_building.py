"""From what chunks of a catalogue gave to an index file, item by item."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from embedder.errors import CatalogueError
from embedder.inference import Embedder
from embedder.photos import photo_name
from index import whitening
from index.building import BuildReport, refuse_empty, replacing
from index.changes import ADDED_BY_HAND, copy_or_new
from index.chunks import Overview, in_parts
from index.fetching import fetch_origins
from index.finishing import finish_ready_made, finish_trained, items_to_fit, photos_to_fit
from index.kept_chunks import KeptChunks
from index.kept_photos import KeptPhoto, KeptPhotos, kept_beside
from index.partials import Partial
from index.schema import IndexInfo
from index.store_writing import WritableStore

_AT_ONCE = 1000  # items


def samples(overview: Overview, embedder: Embedder) -> tuple[frozenset[str], frozenset[str]]:
    """The items whose scatter an index needs, and those of which it needs the vectors.

    Of a large catalogue the latter are others than `build_index` takes, which sorts all ids.
    """
    none = frozenset[str]()
    if embedder.info.ready_made:
        return none, items_to_fit(overview.counts)
    whitened = embedder.info.whitened_temperature is not None
    return (whitening.sample(overview.counts) if whitened else none), none


def write_index(
    kept: KeptChunks,
    embedder: Embedder,
    path: Path,
    source: Path,
    overview: Overview,
    embedded: int,
    *,
    skip_empty: bool,
    repair: bool,
) -> BuildReport:
    """Build an index, or bring one up to date, of all that is kept; for who is alone in writing it.

    Args:
        kept: what all chunks of the catalogue gave.
        embedder: the model.
        path: the index file.
        source: the catalogue.
        overview: of the catalogue.
        embedded: photos that were embedded for it now, for the report.
        skip_empty: as in `index.building.build_index`.
        repair: as in `index.building.build_index`.

    Raises:
        CatalogueError: an item has no readable photo; an index that was there is left as it was.
        DamagedKeptError: what is kept is damaged, and is deleted.
        IndexFileError: a file cannot be written, or the old index is damaged.
    """
    dim, fingerprint = embedder.info.architecture.dim, embedder.info.fingerprint
    info = IndexInfo(fingerprint, dim, embedder.info.temperature, photo_name(source.absolute()))
    with (
        replacing(path) as unfinished,
        (start := copy_or_new(path, unfinished, info, repair)).store as store,
        KeptPhotos.open(kept_beside(path), fingerprint, dim) as photos,
    ):
        spread, whole = samples(overview, embedder)
        lacking = whitening.without_spread(store, spread) | photos.without(whole)
        store.remove(overview.bare)
        empty, changed = list(overview.bare), 0
        for some in in_parts(kept.items(), _AT_ONCE):
            changed += _put(store, some, lacking, spread)
            empty += [item.item_id for item in some if not item.running.count]
            for item in some:
                if item.item_id in whole:
                    _keep(photos, item)
        gone = _remove_gone(store, kept)
        lost = sorted(item for item in start.lost if not kept.has(item))
        report = BuildReport(
            len(store),
            store.photo_count(),
            embedded,
            store.unreadable(),
            tuple(sorted(empty)),
            tuple(sorted(gone)),
            tuple(lost),
        )
        refuse_empty(report.empty, skip_empty)
        if not report.items:
            raise CatalogueError(f"{source}: no item has a readable photo")
        changed += len(gone)
        if embedder.info.ready_made:
            known = photos_to_fit(photos, whole)
            calibration = finish_ready_made(store, known, before=start.whitened, changed=changed)
        else:
            calibration = finish_trained(store, embedder, start.whitened, changed)
    calibrated = calibration is not None and calibration.given
    return replace(report, uncalibrated=start.calibrated and not calibrated)


def _put(
    store: WritableStore,
    items: tuple[Partial, ...],
    lacking: frozenset[str] | set[str],
    spread: frozenset[str],
) -> int:
    """Put items into a store that are not there as they are; returns how many that were."""
    ids = [item.item_id for item in items]
    origins = fetch_origins(store.path, store.connection, ids)
    before = {item_id: origin.signature for item_id, origin in origins.items()}
    rows = [(item, item.row()) for item in items]
    changed = [
        (item, row)
        for item, row in rows
        if row is None or before.get(row.item_id) != row.signature or row.item_id in lacking
    ]
    store.remove(item.item_id for item, _ in changed)
    for item, row in changed:
        if row is not None:
            store.put(row)
            if item.item_id in spread:
                whitening.put_spread(store, row, item.running)
        store.put_unreadable(item.item_id, item.unreadable())
    return len(changed)


def _keep(photos: KeptPhotos, item: Partial) -> None:
    """Keep the vectors of an item, to fit the index to, as a build on one machine does."""
    states = {photo.name: (photo.size, photo.changed) for photo in item.photos}
    found = [
        (os.fsencode(photo.name), KeptPhoto(*states[photo.name], photo.digest, photo.vector))
        for photo in item.vectors
    ]
    photos.remove(item.item_id, photos.of_item(item.item_id).keys() - {name for name, _ in found})
    photos.put(item.item_id, found)


def _remove_gone(store: WritableStore, kept: KeptChunks) -> list[str]:
    """Take items out of a store that the catalogue does not have, but for those added by hand."""
    gone = list[str]()
    for some in in_parts(store.ids(), _AT_ONCE):
        others = [item for item in some if not kept.has(item)]
        origins = fetch_origins(store.path, store.connection, others)
        gone += [item for item in others if origins[item].signature != ADDED_BY_HAND]
    store.remove(gone)
    return gone
