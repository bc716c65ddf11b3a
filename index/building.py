"""From a catalogue to an index file.

The new index grows beside the old one and takes its place in one step at the end, so readers see
the old index or the new one, whole. What photos gave is kept (`index.kept_photos`), so that an
interrupted build goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from embedder.catalogue import Catalogue
from embedder.errors import CatalogueError, IndexFileError, PhotoError
from embedder.inference import Embedder, Vector
from embedder.photos import photo_name
from index import whitening
from index.catalogue_scanning import Scanned
from index.changes import copy_or_new, remove_changed
from index.database import (
    is_damage,
    is_damaged_index,
    journal_of,
    only_writer,
    refuse_folder,
    refuse_newer,
)
from index.embedding import Embedded, embed_photos
from index.finishing import finish_ready_made, finish_trained, items_to_fit, photos_to_fit
from index.kept_photos import DamagedKeptError, KeptPhotos, kept_beside
from index.places import DatabaseUrl, Where, place_of
from index.schema import IndexInfo
from index.signatures import State, signature, signatures_of
from index.statistics import gather
from index.store import Store
from index.store_writing import WritableStore

_SECONDS_BETWEEN_COMMITS = 2.0


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        items: in the index.
        photos: in the index.
        embedded: photos that this run embedded; the others were known from before.
        unreadable: photos that could not be read, of all items, and why.
        empty: items left out because no photo of theirs could be read.
        removed: items that an earlier index had and the catalogue has not.
        lost: items of an earlier index that could not be taken over, being damaged or of another
            model, and that the catalogue does not have.
        uncalibrated: whether an earlier index was calibrated to photos that somebody gave, as far
            as can be told, and this one is not.
    """

    items: int
    photos: int
    embedded: int
    unreadable: tuple[PhotoError, ...]
    empty: tuple[str, ...]
    removed: tuple[str, ...]
    lost: tuple[str, ...]
    uncalibrated: bool = False


def build_index(
    catalogue: Catalogue | Scanned,
    embedder: Embedder,
    path: Where = "items.index",
    *,
    skip_empty: bool = False,
    repair: bool = False,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Build an index, or bring one up to date: only photos that are new or changed are embedded.

    With a model that asks for it, scores are whitened (`embedder.score_space`) where there are
    photos enough; with a network that did not learn from the catalogue, where photos of the index
    say that this is better (`index.finishing`). Items that `index.editing.add_item` added stay,
    unless the catalogue has them.

    Args:
        catalogue: items and photos; as `scan_catalogue` gives it, what changed after that is not
            seen before the next build.
        embedder: the trained model, or another network.
        path: of the index: a file, or the URL of a database; an index of another model there is
            replaced.
        skip_empty: leave out items without a readable photo instead of failing.
        repair: look at all that an index which is there says, and take nothing over of it but what
            is whole; without it, damage that is not seen in passing stays. The file need not open
            as an index, but something of one has to be found in it.
        jobs: threads; all cores unless given.
        on_progress: called with (photos done, photos to embed).

    Raises:
        CatalogueError: an item has no readable photo; an index that was there is left as it was.
        IndexFileError: the file cannot be written, or another build is writing it.
    """
    place = place_of(path)
    if isinstance(place, DatabaseUrl):
        return _build_shared(
            place,
            lambda local: build_index(
                catalogue,
                embedder,
                local,
                skip_empty=skip_empty,
                repair=repair and local.exists(),
                jobs=jobs,
                on_progress=on_progress,
            ),
        )
    path = place
    whole, signatures = catalogue if isinstance(catalogue, Scanned) else (catalogue, None)
    refuse_folder(path)
    refuse_newer(path) if repair else refuse_other_file(path)
    refuse_empty([item for item, photos in whole.items.items() if not photos], skip_empty)
    build = partial(_build, whole, signatures, embedder, path, skip_empty, jobs, on_progress)
    with only_writer(path, "another build"):
        return mending(build, path, repair)


def mending(build: Callable[[bool], BuildReport], path: Path, repair: bool) -> BuildReport:
    """Build, and again without what turned out to be damaged; takes whether to repair."""
    for _ in range(2):  # both can be damaged
        try:
            return build(repair)
        except DamagedKeptError:
            KeptPhotos.delete(kept_beside(path))
        except IndexFileError as error:
            # A copy of the old index was written into, and turned out to be damaged.
            if repair or not is_damage(error):
                raise
            repair = True
    return build(repair)


def _build_shared(url: DatabaseUrl, build: Callable[[Path], BuildReport]) -> BuildReport:
    from index.publishing import build_shared

    embedded = 0

    def counted(local: Path) -> BuildReport:
        nonlocal embedded
        report = build(local)
        embedded += report.embedded
        return report

    return replace(build_shared(url, counted), embedded=embedded)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where a new index grows: it takes the place of the old one in the end, or is gone.

    For who is alone in writing it.

    Raises:
        OSError: a file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.building")
    # A journal would be played back into whatever has the name it was made for.
    files = unfinished, journal_of(unfinished)
    for file in files:
        file.unlink(missing_ok=True)
    try:
        yield unfinished
        with unfinished.open("r+b") as written:
            os.fsync(written.fileno())
        # Of an index that could not be opened: it would be played back into the new one.
        journal_of(path).unlink(missing_ok=True)
        unfinished.replace(path)
    finally:
        for file in files:  # on a full disk it would be in its own way
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _build(
    catalogue: Catalogue,
    signatures: dict[str, bytes] | None,
    embedder: Embedder,
    path: Path,
    skip_empty: bool,
    jobs: int | None,
    on_progress: Callable[[int, int], None],
    repair: bool,
) -> BuildReport:
    if signatures is None:
        signatures = signatures_of(catalogue)
    source = photo_name(catalogue.source.absolute())
    dim, fingerprint = embedder.info.architecture.dim, embedder.info.fingerprint
    info = IndexInfo(fingerprint, dim, embedder.info.temperature, source)
    with (
        replacing(path) as unfinished,
        (start := copy_or_new(path, unfinished, info, repair)).store as store,
        KeptPhotos.open(kept_beside(path), fingerprint, dim) as kept,
    ):
        ready_made = embedder.info.ready_made
        to_fit = items_to_fit(catalogue.items) if ready_made else frozenset[str]()
        spread = frozenset[str]()
        if embedder.info.whitened_temperature is not None:
            spread = whitening.sample(catalogue.items)
        lacking = whitening.without_spread(store, spread) | kept.without(to_fit)
        gone, changed = remove_changed(store, signatures, lacking)
        photos = _Progress(sum(len(catalogue.items[item]) for item in changed), on_progress, kept)
        found = embed_photos(catalogue, changed, kept, embedder, jobs)
        for item, given in groupby(map(photos.count, found), attrgetter("item_id")):
            _put_item(store, item, given, item in spread)
        kept.remove_others(catalogue.items)
        kept.commit()
        lost = start.lost - signatures.keys()
        report = _report(store, catalogue, photos.embedded, gone, lost)
        refuse_empty(report.empty, skip_empty)
        if not report.items:
            raise CatalogueError(f"{catalogue.source}: no item has a readable photo")
        before, count = start.whitened, len(gone) + len(changed)
        if ready_made:
            known = photos_to_fit(kept, to_fit)
            calibration = finish_ready_made(store, known, before=before, changed=count)
        else:
            calibration = finish_trained(store, embedder, before, count)
    calibrated = calibration is not None and calibration.given
    return replace(report, uncalibrated=start.calibrated and not calibrated)


def _report(
    store: Store, catalogue: Catalogue, embedded: int, removed: list[str], lost: set[str]
) -> BuildReport:
    empty = tuple(sorted(catalogue.items.keys() - store.signatures().keys()))
    photos, unreadable = store.photo_count(), store.unreadable()
    gone = tuple(sorted(removed)), tuple(sorted(lost))
    return BuildReport(len(store), photos, embedded, unreadable, empty, *gone)


def refuse_other_file(path: Path) -> None:
    """Refuse to write over what is not an index of ours, or of a version we do not know.

    Raises:
        IndexFileError: it is such a file.
    """
    if not path.exists():
        return
    try:
        Store.open(path).close()
    except IndexFileError:
        if not is_damaged_index(path):
            raise


def refuse_empty(items: list[str] | tuple[str, ...], skip_empty: bool) -> None:
    """Refuse to go on without some items, unless that is asked for.

    Raises:
        CatalogueError: it names some of them.
    """
    if items and not skip_empty:
        named = ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
        raise CatalogueError(
            f"{len(items)} item(s) without a readable photo: {named}: "
            "add photos, or leave them out with --skip-empty"
        )


class _Progress:
    """Counts photos as they come, tells of them, and keeps them every other second."""

    def __init__(
        self, total: int, on_progress: Callable[[int, int], None], kept: KeptPhotos
    ) -> None:
        self.embedded = 0
        self._done, self._total, self._tell = 0, total, on_progress
        self._kept, self._last = kept, time.monotonic()

    def count(self, photo: Embedded) -> Embedded:
        self._done += 1
        self.embedded += photo.new
        self._tell(self._done, self._total)
        if time.monotonic() - self._last > _SECONDS_BETWEEN_COMMITS:
            self._kept.commit()
            self._last = time.monotonic()
        return photo


def _put_item(store: WritableStore, item: str, photos: Iterable[Embedded], sampled: bool) -> None:
    """Put an item into the store, unless none of its photos can be read."""
    names: list[str] = []
    states: list[State] = []

    def named() -> Iterator[tuple[str, Vector | PhotoError]]:
        for photo in photos:
            names.append(photo.name)
            states.append(photo.state)
            yield photo.name, photo.result

    row, running, unreadable = gather(item, named(), store.info.dim, scatter=sampled)
    if row is not None:
        # Of the files as they were when they were read, for what changed since to be seen.
        sign, reference = signature(names, states), photo_name(row.reference)
        store.put(replace(row, signature=sign, reference=reference))
        if sampled:
            whitening.put_spread(store, row, running)
    store.put_unreadable(item, unreadable)
