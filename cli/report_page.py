"""The page of a match: its parts, by the status of what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

from cli.page import END, head, name, navigation, part_head
from cli.report_cards import Cards, Shown
from cli.report_pictures import Drawn

_MOST_PICTURED = 500  # missing items: a list of candidates can be a whole catalogue


class Kind(NamedTuple):
    """A part of the page: matches of one status, or the missing items."""

    status: str
    sign: str
    title: str
    hint: str


MISSING = Kind("missing", "\u2026", "Missing", "Candidates that are in no photo.")
KINDS = (
    Kind("unreadable", "!", "Unreadable", "These photos gave no answer: take them again."),
    Kind("unsure", "?", "Unsure", "Each may well be wrong: compare the pictures."),
    Kind("unknown", "\u2205", "None of the candidates", "These seem to show something else."),
    MISSING,
    Kind(
        "matched",
        "\u2713",
        "Matched",
        "Each is wrong with at most the accepted probability.",
    ),
)


@dataclass(frozen=True)
class Contents:
    """What a report says, but for the photos.

    Attributes:
        counts: how many matches there are of each status.
        unit: what was matched: "photos" or "objects".
        missing: item ids, and how many pieces of each.
        references: of the items in the page.
        facts: labels, and what they say of this match.
        notes: what to know before looking.
    """

    counts: Mapping[str, int]
    unit: str
    missing: Mapping[str, int]
    references: Mapping[str, Drawn]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]


def pictured(missing: Iterable[str]) -> list[str]:
    """The missing items that are shown with a picture; the others are listed."""
    return list(islice(missing, _MOST_PICTURED))


def page(contents: Contents, matches: Iterable[Shown]) -> Iterator[str]:
    """The page, piece by piece: a large one need not be held in memory.

    Args:
        contents: what it says.
        matches: all, in the order of `KINDS`; taken one by one.
    """
    cards = Cards(contents.references)
    kinds = {kind.status: kind for kind in KINDS}
    yield from _head(contents)
    missing = _missing(contents, cards)
    for status, some in groupby(matches, key=lambda shown: shown.match.status):
        if status == "matched":
            yield from missing
        yield from _section(kinds[status], contents.counts[status], map(cards.match, some))
    yield from missing  # what is left of it: all, unless something is matched
    yield "</main>\n"
    yield from cards.pictures()
    yield END


def _head(contents: Contents) -> Iterator[str]:
    yield head("match", _headline(contents), "photos", contents.facts, contents.notes)
    yield _navigation({**contents.counts, "missing": sum(contents.missing.values())})
    yield '<main id="photos">\n'


def _headline(contents: Contents) -> str:
    total, missing = sum(contents.counts.values()), sum(contents.missing.values())
    doubtful = total - contents.counts["matched"]
    said = f"{doubtful:,} of {total:,} {contents.unit} need a look"
    if not doubtful:
        said = f"All {total:,} {contents.unit} matched"
    return f"{said}, {missing:,} missing" if missing else said


def _navigation(counts: Mapping[str, int]) -> str:
    return navigation(
        (
            status,
            f'<span aria-hidden="true">{sign}</span> <b>{counts[status]:,}</b> {title}',
            counts[status],
        )
        for status, sign, title, _ in KINDS
    )


def _section(kind: Kind, count: int, cards: Iterable[str]) -> Iterator[str]:
    status, sign, title, hint = kind
    yield part_head(
        status, f'<span class="sign" aria-hidden="true">{sign}</span> {title}', count, hint
    )
    yield '<ul class="cards" role="list">\n'
    yield from cards
    yield "</ul>\n</section>\n"


def _missing(contents: Contents, cards: Cards) -> Iterator[str]:
    missing = contents.missing
    if not missing:
        return
    shown = (cards.missing(item_id, missing[item_id]) for item_id in pictured(missing))
    *most, end = _section(MISSING, sum(missing.values()), shown)
    yield from most
    for item_id, pieces in islice(missing.items(), _MOST_PICTURED, None):
        more = f", {pieces:,} pieces" if pieces > 1 else ""
        yield f'<li class="listed">{name(item_id)}{more}</li>\n'
    yield end
