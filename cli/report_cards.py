"""What a report shows of one photo or item, as HTML.

Pictures have texts beside them and no status is told by colour alone, so that what is seen, printed
and read aloud is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cli.page import figure, name, no_picture, photo, text
from cli.report_pictures import Drawn, Picture
from embedder.errors import PhotoError
from index.results import Match

_NOTHING = '<span class="picture none sign" aria-hidden="true">\u2205</span>'
_BOX = 100  # units of the square that pictures of items are fitted into


class Shown(NamedTuple):
    """A match and its photos: what they are called, and what can be seen of them."""

    match: Match
    photos: list[tuple[str, Drawn]]


class Cards:
    """Draws cards; the picture of an item is in the page once, however often it is shown."""

    def __init__(self, references: Mapping[str, Drawn]) -> None:
        self._references = references
        self._numbers = {item_id: at for at, item_id in enumerate(references)}

    def pictures(self) -> Iterator[str]:
        """The pictures of items, which cards refer to."""
        yield '<svg class="kept" aria-hidden="true" width="0" height="0"><defs>\n'
        for item_id, found in self._references.items():
            if isinstance(found, Picture):
                attributes = f'id="r{self._numbers[item_id]}" width="{_BOX}" height="{_BOX}"'
                yield f'<image {attributes} href="{found.uri}"/>\n'
        yield "</defs></svg>\n"

    def match(self, shown: Shown) -> str:
        """A match: its photos, its item and, if it is not sure, what else it may be."""
        match = shown.match
        figures = [_photos(shown)]
        if match.item_id is not None:
            figures.append(self._item(match.item_id, "Item", match.confidence))
        elif match.confidence is not None:
            caption = f"<span>None of the candidates</span>{_share(match.confidence)}"
            figures.append(figure(_NOTHING, caption))
        if match.runner_up is not None and match.status != "matched":
            label = "Nearest" if match.item_id is None else "Runner-up"
            shares = {other.item_id: other.confidence for other in match.alternatives}
            figures.append(self._item(match.runner_up, label, shares.get(match.runner_up)))
        return (
            f'<li class="card">\n<h3>{name(match.photo)}</h3>\n{_status(shown)}'
            f'<div class="pictures">{"".join(figures)}</div>\n{_numbers(match)}</li>\n'
        )

    def missing(self, item_id: str, pieces: int) -> str:
        """An item that no photo was given."""
        count = f'<span class="numbers">{pieces:,} pieces</span>' if pieces > 1 else ""
        return (
            f'<li class="card">\n<h3>{name(item_id)}</h3>\n<div class="pictures">'
            f"{figure(self._reference(item_id), count)}</div>\n</li>\n"
        )

    def _item(self, item_id: str, label: str, share: float | None) -> str:
        caption = f"<span>{label} {name(item_id)}</span>{_share(share)}"
        return figure(self._reference(item_id), caption)

    def _reference(self, item_id: str) -> str:
        found = self._references[item_id]
        if isinstance(found, PhotoError):
            return no_picture(f"no picture: {found.reason}")
        return (
            f'<svg class="picture" role="img" aria-label="Reference photo of {text(item_id)}" '
            f'viewBox="0 0 {_BOX} {_BOX}"><use href="#r{self._numbers[item_id]}"/></svg>'
        )


def _photos(shown: Shown) -> str:
    if len(shown.photos) == 1:
        (one,) = shown.photos
        return figure(photo(*one), "Photo")
    views = (figure(photo(*view), name(view[0])) for view in shown.photos)
    return f'<div class="views">{"".join(views)}</div>'


def _share(share: float | None) -> str:
    """A probability as a bar and a number."""
    if share is None:
        return ""
    return (
        '<span class="share"><svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="all" width="100" height="6"/>'
        f'<rect class="part" width="{100 * share:.1f}" height="6"/></svg>'
        f'<span class="hidden">, probability </span><span>{share:.1%}</span></span>'
    )


def _status(shown: Shown) -> str:
    """The status and why, where there is something to say: most matches are just matched."""
    match = shown.match
    said = {drawn.reason for _, drawn in shown.photos if isinstance(drawn, PhotoError)}
    reason = "" if match.reason in said else match.reason or ""  # that stands where a picture would
    if match.status == "matched" and not reason:
        return ""
    # An id in it must not turn the rest of the sentence around.
    before, found, after = reason.partition(match.runner_up or "\0")
    why = text(before) + (name(found) if found else "") + text(after)
    more = f": <bdi>{why}</bdi>" if why else ""
    return f'<p class="why">{match.status.capitalize()}{more}</p>\n'


def _numbers(match: Match) -> str:
    """What experts look at, of a match that is not sure."""
    if match.status in ("matched", "unreadable"):
        return ""
    said = []
    if match.score is not None:
        said.append(f"score {match.score:.3f}")
    if match.margin is not None:
        said.append(f"margin {match.margin:+.3f}")
    if match.item_id is not None and match.none is not None:
        said.append(f"none of the candidates {match.none:.1%}")
    return f'<p class="numbers">{", ".join(said)}</p>\n' if said else ""
