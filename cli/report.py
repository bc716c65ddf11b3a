"""The report of a match: one HTML file with all photos beside what they are said to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from cli.output import doubt
from cli.page import made
from cli.page_file import write_page
from cli.progress import counter, photo_progress
from cli.report_cards import Shown
from cli.report_page import KINDS, Contents, page, pictured
from cli.report_pictures import Drawn, reference_pictures, side_of, thumbnail
from embedder.errors import PhotoError
from embedder.parallel import ordered_map
from embedder.photos import Photo, photo_name
from index import Match, Matches, Views
from index.stores import AnyStore


def write_report(
    path: Path,
    matches: Matches,
    missing: Mapping[str, int],
    objects: Sequence[Path | Views],
    store: AnyStore,
    facts: Sequence[tuple[str, str]],
    jobs: int | None = None,
) -> None:
    """Write a report; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        matches: as for `report_pieces`.
        missing: so, too.
        objects: so, too.
        store: so, too.
        facts: so, too.
        jobs: threads; all cores unless given.

    Raises:
        OSError: it cannot be written.
    """
    with photo_progress("Drawing", "pictures") as show:
        write_page(path, report_pieces(matches, missing, objects, store, facts, jobs, show))


def report_pieces(
    matches: Matches,
    missing: Mapping[str, int],
    objects: Sequence[Photo | Views],
    store: AnyStore,
    facts: Sequence[tuple[str, str]],
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    most: int | None = None,
) -> Iterator[str]:
    """A report, piece by piece.

    Args:
        matches: what it is about.
        missing: items that are to be shown as missing, and how many pieces of each.
        objects: what was matched, one a match.
        store: the index it was matched with.
        facts: what it says of the match: labels and texts.
        jobs: threads; all cores unless given.
        on_progress: called with (pictures drawn, pictures).
        most: pixels that a photo may have; as many as any photo unless given.
    """
    pairs = sorted(zip(matches, objects, strict=True), key=lambda pair: doubt(pair[0]))
    ids = _items(matches, missing)
    count = len(ids) + sum(len(_photos(given)) for given in objects)
    side, done = side_of(count), counter(count, on_progress)
    references = reference_pictures(store, ids, side, jobs, done)
    contents = Contents(
        counts={kind.status: 0 for kind in KINDS if kind.status != "missing"}
        | Counter(found.status for found in matches),
        unit="objects" if any(isinstance(given, Views) for given in objects) else "photos",
        missing=missing,
        references=references,
        facts=facts,
        notes=_notes(references, store),
    )
    yield from page(contents, _shown(pairs, partial(thumbnail, side=side, most=most), jobs, done))


def facts_of(
    store: AnyStore,
    candidates: Mapping[str, int],
    *,
    independent: bool,
    unknown: float | None,
    max_error: float,
) -> list[tuple[str, str]]:
    """What a report says of how it was matched: labels and texts."""
    pieces = sum(candidates.values())
    more = f", {pieces:,} pieces" if pieces > len(candidates) else ""
    share = "estimated" if unknown is None else f"{unknown:g}"
    return [
        made(),
        ("Candidates", f"{len(candidates):,} items{more}"),
        ("Matched", "each by itself" if independent else "all together, one to one"),
        ("Accepted error", f"{max_error:g}"),
        ("Share of unknown", share),
        ("Index", f"{store.path}, of {store.info.created}"),
        ("Catalogue", store.info.catalogue),
        ("Model", store.info.fingerprint[:12]),
    ]


def _items(matches: Matches, missing: Mapping[str, int]) -> list[str]:
    """The items that are shown with a picture, each once."""
    given = (found.item_id for found in matches)
    second = (found.runner_up for found in matches if found.status != "matched")
    found = chain(given, second, pictured(missing))
    return list(dict.fromkeys(item_id for item_id in found if item_id is not None))


def _photos(given: Photo | Views) -> tuple[Photo, ...]:
    return given.photos if isinstance(given, Views) else (given,)


def _shown(
    pairs: Sequence[tuple[Match, Photo | Views]],
    draw: Callable[[Photo], Drawn],
    jobs: int | None,
    done: Callable[[], None],
) -> Iterator[Shown]:
    """Matches with their photos, drawn on threads a little ahead of those that are taken."""
    photos = (photo for _, given in pairs for photo in _photos(given))
    drawn = ordered_map(draw, photos, jobs)
    for match, given in pairs:
        views: list[tuple[str, Drawn]] = []
        for at, photo in enumerate(_photos(given)):
            called = photo_name(photo, at) if isinstance(given, Views) else match.photo
            views.append((called, next(drawn)))
            done()
        yield Shown(match, views)


def _notes(references: Mapping[str, Drawn], store: AnyStore) -> list[str]:
    absent = sum(isinstance(found, PhotoError) for found in references.values())
    if not absent:
        return []
    return [
        f"{absent:,} of {len(references):,} items have no picture here: their reference photos are "
        f"not, or no longer, where the catalogue was when the index was built: "
        f"{store.info.catalogue}"
    ]
