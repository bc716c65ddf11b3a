"""What HTML pages share: each is one file that needs no other, no script and no network.

All that comes from users passes `text` or `name`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from cli.report_pictures import Drawn
from embedder.errors import PhotoError
from embedder.version import __version__

GENERATOR = '<meta name="generator" content="embed '  # tells our pages from other files
END = "</body>\n</html>\n"
_STYLE = Path(__file__).with_name("page.css")


def text(value: str) -> str:
    """Any text as HTML that reads as exactly that text, in an attribute too.

    What is not Unicode is '?', and a carriage return stays one: parsers would make it a newline.
    """
    known = value.encode(errors="replace").decode()
    return escape(known).replace("\r", "&#13;")


def name(value: str) -> str:
    """An id or the name of a file: it may be written in any direction, what surrounds it is not."""
    return f"<bdi>{text(value)}</bdi>"


def head(
    command: str,
    title: str,
    to_skip_to: str,
    facts: Iterable[tuple[str, str]],
    notes: Iterable[str] = (),
) -> str:
    """The beginning of a page, up to its header's end.

    Args:
        command: that makes it, such as "match".
        title: as HTML.
        to_skip_to: the id of what keyboard users can skip to, which is what it is called, too.
        facts: labels, and what they say.
        notes: what to know before looking.
    """
    style = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    said = "".join(f'<p class="note">{text(note)}</p>\n' for note in notes)
    listed = "".join(f"<div><dt>{text(of)}</dt><dd>{name(what)}</dd></div>" for of, what in facts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'{GENERATOR}{command} {__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#{to_skip_to}">Skip to the {to_skip_to}</a>\n'
        f"<header>\n<h1>{title}</h1>\n{said}<dl>{listed}</dl>\n</header>\n"
    )


def made() -> tuple[str, str]:
    """The fact of when a page is made: now."""
    return "Made", datetime.now().astimezone().isoformat(" ", "minutes")


def navigation(parts: Iterable[tuple[str, str, int]]) -> str:
    """Links to the parts of a page.

    Args:
        parts: the id of each, what it is called, as HTML, and how many things are in it; a part
            without any is not there, and has no link.
    """
    links = []
    for part, called, count in parts:
        link = f'<a href="#{part}">{called}</a>' if count else f"<span>{called}</span>"
        links.append(f'<li class="{part}">{link}</li>')
    return f'<nav aria-label="Parts of this report"><ul>{"".join(links)}</ul></nav>\n'


def part_head(part: str, title: str, count: int, hint: str) -> str:
    """The beginning of a part that can be linked to, up to what is in it.

    Args:
        part: its id, which is its colour, too.
        title: as HTML.
        count: how many things are in it.
        hint: what they are, as HTML.
    """
    return (
        f'<section id="{part}" class="{part}" aria-labelledby="{part}-title">\n'
        f'<h2 id="{part}-title">{title} <span class="count">{count:,}</span></h2>\n'
        f'<p class="hint">{hint}</p>\n'
    )


def photo(called: str, drawn: Drawn) -> str:
    """A photo, or why there is none to see."""
    return picture(f"Photo {called}", drawn, "cannot be read")


def picture(what: str, drawn: Drawn, otherwise: str) -> str:
    """A picture.

    Args:
        what: it shows, for who does not see it.
        drawn: the picture, or why there is none.
        otherwise: what is said before that reason.
    """
    if isinstance(drawn, PhotoError):
        return no_picture(f"{otherwise}: {drawn.reason}")
    size = f'width="{drawn.width}" height="{drawn.height}"'
    return f'<img class="picture" alt="{text(what)}" {size} src="{drawn.uri}">'


def no_picture(why: str) -> str:
    """What stands where a picture would."""
    return f'<span class="picture none"><span>{name(why)}</span></span>'


def figure(picture: str, caption: str) -> str:
    """A picture and what stands below it, both as HTML."""
    said = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{picture}{said}</figure>"


def section(title: str, content: str, kind: str = "matched") -> str:
    """A part of a page.

    Args:
        title: as text.
        content: as HTML.
        kind: which colour it has: that of a status of a match.
    """
    return f'<section class="{kind}"><h2>{text(title)}</h2>\n{content}</section>\n'


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a heading; cells are HTML, and the first of each row says what it is about."""
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>\n'
        for row in rows
    )
    return (
        f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody>'
        "</table></div>\n"
    )
