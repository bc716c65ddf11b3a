"""The HTML page of `embed audit`: each finding with both photos, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from cli.audit_rows import KINDS, Kind, Row, rows_of, score_text
from cli.page import END, figure, head, made, name, navigation, part_head, photo, table_of, text
from cli.page_file import write_page
from cli.progress import counter, photo_progress
from cli.report_pictures import Drawn, side_of, thumbnails
from embedder import Catalogue
from index import Audit
from index.stores import AnyStore

MOST_PICTURED = 200  # of a kind: nobody looks at more, and the page must not grow too large
_LISTED = ("few-photos", "unreadable")  # nothing to see


def write_audit(
    path: Path, found: Audit, catalogue: Catalogue, store: AnyStore, jobs: int | None
) -> None:
    """Write the page; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        found: what it is about.
        catalogue: that was looked at.
        store: the index that it was looked at with.
        jobs: threads; all cores unless given.

    Raises:
        OSError: it cannot be written.
    """
    of_kind = {kind: list(rows) for kind, rows in groupby(rows_of(found), key=lambda row: row.kind)}
    photos = _to_draw(of_kind)
    with photo_progress("Drawing", "pictures") as show:
        done = counter(len(photos), show)
        pictures = thumbnails(photos, side_of(len(photos)), jobs, done)
        write_page(
            path, _page(found, of_kind, pictures, _facts(found, catalogue, store), catalogue)
        )


def _to_draw(of_kind: Mapping[str, Sequence[Row]]) -> list[str]:
    shown = (rows[:MOST_PICTURED] for kind, rows in of_kind.items() if kind not in _LISTED)
    photos = (place for rows in shown for row in rows for place in (row.photo, row.other_photo))
    return list(dict.fromkeys(place for place in photos if place))


def _facts(found: Audit, catalogue: Catalogue, store: AnyStore) -> list[tuple[str, str]]:
    return [
        made(),
        ("Catalogue", str(catalogue.source)),
        ("Looked at", f"{found.photos:,} photos of {found.items:,} items"),
        ("Index", f"{store.path}, of {store.info.created}"),
        ("Model", store.info.fingerprint[:12]),
    ]


def _page(
    found: Audit,
    of_kind: Mapping[str, Sequence[Row]],
    pictures: Mapping[str, Drawn],
    facts: Iterable[tuple[str, str]],
    catalogue: Catalogue,
) -> Iterator[str]:
    total = sum(map(len, of_kind.values()))
    title = f"{total:,} findings in {found.photos:,} photos" if total else "Nothing was found"
    yield head("audit", title, "findings", facts)
    counts = {kind.kind: len(of_kind.get(kind.kind, [])) for kind in KINDS}
    yield navigation(
        (kind.kind, f"<b>{counts[kind.kind]:,}</b> {text(kind.title)}", counts[kind.kind])
        for kind in KINDS
    )
    yield '<main id="findings">\n'
    for kind in KINDS:
        rows = of_kind.get(kind.kind, [])
        if rows:
            yield from _section(kind, rows, pictures, catalogue)
    yield f"</main>\n{END}"


def _section(
    kind: Kind, rows: Sequence[Row], pictures: Mapping[str, Drawn], catalogue: Catalogue
) -> Iterator[str]:
    yield part_head(kind.kind, text(kind.title), len(rows), text(kind.hint))
    if kind.kind == "few-photos":
        yield table_of(["Item", "Photos"], [[name(row.item_id), score_text(row)] for row in rows])
    elif kind.kind == "unreadable":
        places = catalogue.within([row.photo for row in rows])
        cells = [[name(place), name(row.advice)] for place, row in zip(places, rows, strict=True)]
        yield table_of(["Photo", "What to do"], cells)
    else:
        yield '<ul class="cards" role="list">\n'
        for row in rows[:MOST_PICTURED]:
            yield _card(row, pictures, catalogue)
        yield "</ul>\n"
        if len(rows) > MOST_PICTURED:
            more = len(rows) - MOST_PICTURED
            yield f'<p class="hint">And {more:,} more: --format csv has them all.</p>\n'
    yield "</section>\n"


def _card(row: Row, pictures: Mapping[str, Drawn], catalogue: Catalogue) -> str:
    first, second = catalogue.within([row.photo, row.other_photo])
    kept = "Keep" if row.item_id == row.other_item else "Also"
    captions = {
        "mislabelled": (name(first), f"A typical photo of {name(row.other_item)}"),
        "duplicate": (name(first), f"{kept} {name(second)}"),
        "look-alikes": (name(first), f"A typical photo of {name(row.other_item)}"),
        "outlier": (name(first), f"A typical photo of {name(row.item_id)}"),
    }[row.kind]
    figures = (
        figure(photo(place, pictures[full]), caption)
        for place, full, caption in zip(
            (first, second), (row.photo, row.other_photo), captions, strict=True
        )
    )
    return (
        f'<li class="card">\n<h3>{_title(row)}</h3>\n<p class="why">{name(_advice(row))}</p>\n'
        f'<div class="pictures">{"".join(figures)}</div>\n'
        f'<p class="numbers">{_numbers(row)}</p></li>\n'
    )


def _title(row: Row) -> str:
    if row.kind == "mislabelled":
        return f"{name(row.item_id)}, or {name(row.other_item)}?"
    if row.kind == "look-alikes":
        return f"{name(row.item_id)} and {name(row.other_item)}"
    if row.kind == "duplicate" and row.item_id != row.other_item:
        return f"{name(row.item_id)} and {name(row.other_item)}"
    return name(row.item_id)


def _advice(row: Row) -> str:
    return row.advice[0].upper() + row.advice[1:]


def _numbers(row: Row) -> str:
    return {
        "mislabelled": f"{score_text(row)} of those most like it are of {name(row.other_item)}",
        "duplicate": f"likeness {score_text(row)}",
        "look-alikes": f"probability that the first is taken for the other: {score_text(row)}",
        "outlier": f"{score_text(row)} standard deviations from what is usual" if row.score else "",
    }[row.kind]
