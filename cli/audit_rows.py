"""The findings of an audit in one form: what is wrong where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from index import Audit
from index.findings import Duplicate, LookAlikes
from index.listing import FEWEST_PHOTOS

OFTEN = 0.1  # confused more often than this, items should not share a list


class Row(NamedTuple):
    """A finding.

    Attributes:
        kind: one of `KINDS`.
        item_id: the item it is about.
        photo: the photo it is about; "" if it is about an item.
        other_item: the item that is compared with it, or "".
        other_photo: the photo that is compared with it, or "".
        score: how strong it is; what it measures depends on the kind.
        advice: what to do.
        why: what is wrong with the photo, where a table says so; not in the CSV.
    """

    kind: str
    item_id: str
    photo: str
    other_item: str
    other_photo: str
    score: float | None
    advice: str
    why: str = ""


COLUMNS = Row._fields[:-1]  # of the CSV


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        kind: as in `Row`.
        title: of all of them.
        hint: what they are, and what to do.
        columns: how a table of them is headed.
    """

    kind: str
    title: str
    hint: str
    columns: tuple[str, str, str]


KINDS = (
    Kind(
        "mislabelled",
        "Likely mislabelled photos",
        "They look like another item: move those that show it.",
        ("photo", "seems to show", "nearest photos of that"),
    ),
    Kind(
        "duplicate",
        "Photos that are there twice",
        "They say nothing new: delete the first; under two items, look which is right.",
        ("photo", "same as", "likeness"),
    ),
    Kind(
        "look-alikes",
        "Items that look alike",
        "They will be taken for each other: keep them apart, or look at the answers.",
        ("item", "taken for", "probability"),
    ),
    Kind(
        "outlier",
        "Photos that are like no item",
        "Black, blurred, or of something else: delete those that do not show it.",
        ("photo", "it is", "distance"),
    ),
    Kind(
        "few-photos",
        "Items with too few photos",
        f"About {FEWEST_PHOTOS} good photos each are enough: take more.",
        ("item", "", "photos"),
    ),
    Kind(
        "unreadable",
        "Photos that cannot be read",
        "They are left out: replace or delete them.",
        ("photo", "why", ""),
    ),
)


def rows_of(found: Audit) -> Iterator[Row]:
    """All findings, kind by kind, the worst of each first."""
    for one in found.mislabelled:
        yield Row(
            "mislabelled",
            one.item_id,
            one.photo,
            one.shown,
            one.shown_photo,
            one.share,
            f"look at it: if it shows {one.shown}, move it there",
        )
    for copy in found.duplicates:
        yield Row(
            "duplicate",
            copy.item_id,
            copy.photo,
            copy.of_item,
            copy.of,
            copy.likeness,
            _about_copy(copy),
        )
    for pair in found.look_alikes:
        yield Row(
            "look-alikes",
            pair.item_id,
            pair.photo,
            pair.other,
            pair.other_photo,
            pair.confusion,
            _about_pair(pair),
        )
    for odd in found.outliers:
        yield Row(
            "outlier",
            odd.item_id,
            odd.photo,
            "",
            odd.typical_photo,
            odd.oddness,
            f"it is {odd.reason}: delete it unless it shows {odd.item_id} well",
            odd.reason,
        )
    for few in found.few_photos:
        yield Row(
            "few-photos",
            few.item_id,
            "",
            "",
            "",
            few.photos,
            f"take more photos: it has {few.photos} to use, {FEWEST_PHOTOS} are good",
        )
    for bad in found.unreadable:
        yield Row(
            "unreadable",
            bad.item_id,
            bad.photo,
            "",
            "",
            None,
            f"replace or delete it: {bad.reason}",
            bad.reason,
        )


def _about_copy(copy: Duplicate) -> str:
    if copy.same == "file":  # deleting it would delete both
        where = "" if copy.item_id == copy.of_item else f", under {copy.of_item} too"
        return f"keep the file, it is listed twice{where}: take out a line, or the link"
    what = "the same file" if copy.same == "bytes" else "the same photo"
    if copy.item_id == copy.of_item:
        return f"delete it: {what} is there already"
    return f"{what} is under two items: look which one it shows, delete the other"


def _about_pair(pair: LookAlikes) -> str:
    few = [
        item
        for item, photos in ((pair.item_id, pair.photos), (pair.other, pair.other_photos))
        if photos < FEWEST_PHOTOS
    ]
    more = f"take more photos of {' and of '.join(few)}" if few else ""
    if pair.confusion < OFTEN:
        return more or "look at answers where both are candidates"
    apart = "do not put both in one list without looking at the answers"
    return f"{apart}, and {more}" if more else f"{apart}, or take photos of what tells them apart"


def score_text(row: Row) -> str:
    """A score as people read it."""
    if row.score is None:
        return ""
    if row.kind == "mislabelled":
        return f"{row.score:.0%}"
    if row.kind == "look-alikes":
        return f"{row.score:.1%}"
    if row.kind == "few-photos":
        return f"{row.score:.0f}"
    return f"{row.score:.1f}" if row.kind == "outlier" else f"{row.score:.4f}"
