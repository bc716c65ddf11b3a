"""What the commands share: progress on standard error, and plain tables."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from embedder.errors import PhotoError
from index.places import DatabaseUrl, is_url

if TYPE_CHECKING:
    from index import Match

_FORMATS = ("table", "json", "jsonl", "csv")  # of what is said of photos
_MOST_LISTED = 20
_ORDER = {"unreadable": 0, "unsure": 1, "unknown": 2, "matched": 3}

# What a terminal obeys instead of showing it: control characters, ends of lines, marks that turn
# the direction of writing; and halves of characters, which it cannot show.
_NOT_SHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _one_of_both(context: click.Context, option: click.Parameter, value: Path) -> Path:
    """What --embedder says, which is read first, in the place of --model."""
    embedder: Path | None = context.meta.get(_EMBEDDER)
    if embedder is None:
        return value
    if context.get_parameter_source("model") is ParameterSource.COMMANDLINE:
        raise click.UsageError("expected --model or --embedder, found both")
    return embedder


def _note_embedder(context: click.Context, option: click.Parameter, value: Path | None) -> None:
    context.meta[_EMBEDDER] = value


_EMBEDDER = "cli.output.embedder"

model_folder_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default="items.model",
    envvar="EMBED_MODEL",
    show_default=True,
    show_envvar=True,
    callback=_one_of_both,
    help="The model folder.",
)
_embedder_option = click.option(
    "--embedder",
    type=click.Path(path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_note_embedder,
    help="A .tflite or .onnx file of any network from a photo to a vector, in place of a model "
    "folder.",
)


def model_option(command: Callable[..., None]) -> Callable[..., None]:
    """The options --model and --embedder; either is `model` to the command."""
    return model_folder_option(_embedder_option(command))


class _IndexPlace(click.Path):
    """A path, or the URL of a database, which a path would lose a slash of."""

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> Any:
        if isinstance(value, str) and is_url(value):
            return DatabaseUrl(value)
        return super().convert(value, param, context)


index_option = click.option(
    "--index",
    type=_IndexPlace(path_type=Path),
    default="items.index",
    envvar="EMBED_INDEX",
    show_default=True,
    show_envvar=True,
    help="The index file, or the postgresql:// URL of a database that has one.",
)
# Not refused by click where it may not be read: one bad photo does not stop the others.
photo_path = click.Path(path_type=Path, readable=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), help="Threads to use.  [default: all cores]"
)


def format_option(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --format, for what is said of photos."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(_FORMATS),
        default="table",
        show_default=True,
        help=help,
    )


def format_asked_for(format_: str, as_json: bool) -> str:
    """The format, of what --format and --json say."""
    if as_json and format_ not in ("table", "json"):
        raise click.UsageError(f"expected --json or --format {format_}, found both")
    return "json" if as_json else format_


def shown(text: str) -> str:
    r"""A text in one line that no terminal obeys: `\x1b`, `\n`, `\u202e` are spelled out."""
    return _NOT_SHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown_json(document: str) -> str:
    """JSON that a terminal can show: what it would obey is escaped as JSON does; it says the same.

    Args:
        document: in one line, or indented.
    """
    return _NOT_SHOWN.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", document
    )


def print_json(document: object) -> None:
    """Print a result for machines; takes what `json_text` takes."""
    click.echo(json_text(document), color=True)


def json_text(document: object, indent: int | None = 2) -> str:
    """A result as JSON that a terminal can show.

    Numbers have six digits behind the point; what is no number is null.

    Args:
        document: of dataclasses, tuples with names, and what JSON has.
        indent: of lines; all in one unless given.
    """
    return shown_json(json.dumps(_plain(document), indent=indent, ensure_ascii=False))


def _plain(value: object) -> object:
    if isinstance(value, float):  # first what there is most of
        return round(value, 6) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    elif isinstance(value, PhotoError):
        value = {"photo": value.photo, "reason": value.reason}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Lines of CSV: numbers have six digits behind the point, None is nothing."""
    return "".join(map(_csv_line, rows))


def _csv_line(values: Sequence[object]) -> str:
    text = io.StringIO()
    plain = [round(value, 6) if isinstance(value, float) else value for value in values]
    # With a line feed for an end the writer would not quote a name with a carriage return in it.
    csv.writer(text, lineterminator="\r\n").writerow(plain)
    return text.getvalue().removesuffix("\r\n") + "\n"


def say(text: str) -> None:
    """Tell the user something that is not a result, in one line."""
    click.echo(shown(text), err=True)


def list_unreadable(
    photos: Sequence[PhotoError], what: str, tell: Callable[[str], None] = say
) -> None:
    """Count and name photos that could not be read."""
    if not photos:
        return
    tell(f"{len(photos)} photo(s) could not be read and {what}:")
    for error in photos[:_MOST_LISTED]:
        tell(f"  {error}")
    if len(photos) > _MOST_LISTED:
        tell(f"  and {len(photos) - _MOST_LISTED} more")


def listed(names: Sequence[str]) -> str:
    """The first of some names in one line, and whether there are more."""
    return ", ".join(names[:_MOST_LISTED]) + (" ..." if len(names) > _MOST_LISTED else "")


def share(value: float | None) -> str:
    """A share as a percentage, or that it was not measured."""
    return "   n/a" if value is None else f"{value:6.1%}"


def table(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Rows as aligned columns, the first row as the heading; columns in `right` to the right."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def table_within(
    width: int, rows: Sequence[Sequence[str]], right: frozenset[int], spare: Sequence[int]
) -> str:
    """`table` for a terminal of so many columns.

    Where it does not fit, the last column, a remark, goes into lines of its own below the rows;
    then columns are left out.

    Args:
        width: of the terminal.
        rows: as in `table`.
        right: as in `table`.
        spare: columns that may be left out, the first of them first.
    """
    whole = table(rows, right)
    if _columns(whole) <= width:
        return whole
    remarks = [f"\n  {shown(row[-1])}" if row[-1] and at else "" for at, row in enumerate(rows)]
    kept = list(range(len(rows[0]) - 1))
    for column in (None, *spare):
        kept = [at for at in kept if at != column]
        aligned = frozenset(new for new, at in enumerate(kept) if at in right)
        narrow = table([[row[at] for at in kept] for row in rows], aligned)
        if _columns(narrow) <= width:
            break
    return "\n".join(map(str.__add__, narrow.split("\n"), remarks))


def _columns(text: str) -> int:
    return max(map(len, text.split("\n")))


def doubt(found: Match) -> tuple[int, float]:
    """What to sort matches by, for the doubtful ones to come first."""
    return _ORDER[found.status], found.confidence or 0.0
