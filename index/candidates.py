"""The items that can be in the photos: reading the list, and helping with ids that are unknown."""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import BinaryIO

from embedder.catalogue import checked_id, is_listable, same_form
from embedder.errors import CandidateError
from index.stores import AnyStore

Candidates = Mapping[str, int] | Iterable[str]
"""Item ids, or item ids with how many pieces of each there are."""

_MOST_NAMED = 10
_FEW_ENOUGH_TO_COMPARE = 2000  # takes 0.1 s for each unknown id
_LONGEST_COMPARED = 200  # characters of an id: comparing takes their square


def read_candidates(
    source: str | os.PathLike[str] | BinaryIO, has: Callable[[str], bool] | None = None
) -> dict[str, int]:
    """Read a list of candidates: one id a line, or `id,quantity`; `#` starts a comment line.

    What follows the last comma is a quantity only if it is a number. Where an item is called like
    the whole line, that is meant; `has` tells. A tab may stand in place of the comma, and is never
    part of an id: `candidate_line` writes such lines.

    Args:
        source: a UTF-8 file's path, or an open binary file.
        has: whether there is an item of an id: `matcher.store.has`. Without it a number after the
            last comma always is a quantity.

    Returns:
        Item id to how many pieces there are.

    Raises:
        CandidateError: it cannot be read, has no id, names one twice, or has a line that may mean
            two things.
    """
    is_path = isinstance(source, str | os.PathLike)
    name = str(source if is_path else getattr(source, "name", "candidates"))
    try:
        content = (
            Path(source).read_bytes() if isinstance(source, str | os.PathLike) else source.read()
        )
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise CandidateError(
            f"{name}: expected a list of candidates, one id a line; found no such file: "
            "name another, or '-' for standard input"
        ) from None
    except OSError as error:
        why = error.strerror or error
        raise CandidateError(f"{name}: cannot be read: {why}: name a file of text") from error
    except UnicodeDecodeError as error:
        raise CandidateError(
            f"{name}: cannot be read as UTF-8 text: {error}: save it so"
        ) from error
    found: dict[str, int] = {}
    lines: dict[str, int] = {}
    # Not str.splitlines, which takes eight other characters for ends of lines as well.
    for number, given in enumerate(io.StringIO(text, newline=None), start=1):
        line = given.strip().removeprefix("\ufeff").lstrip()  # as where two files were joined
        if not line or line.startswith("#"):
            continue
        item_id, quantity = _parse(same_form(line), f"{name}:{number}", has)
        if item_id in found:
            known, first = _short(item_id), lines[item_id]
            raise CandidateError(
                f"{name}:{number}: '{known}' was listed in line {first} already; "
                f"for two pieces write '{known},2' once"
            )
        found[item_id], lines[item_id] = quantity, number
    if not found:
        raise CandidateError(f"{name}: expected one item id a line, found none")
    return found


def candidate_line(item_id: str, quantity: int = 1) -> str:
    """A line of a list of candidates, without its end, that `read_candidates` reads as this item.

    Whatever other items there are: with a tab where a comma could be taken for part of an id.

    Raises:
        CatalogueError: no list can hold the id.
        CandidateError: the quantity is not 1 to 999,999,999.
    """
    item = checked_id(item_id, "candidate")
    if not 1 <= quantity <= 999_999_999:
        raise CandidateError(f"expected a quantity of 1 to 999,999,999, got {quantity}")
    return item if quantity == 1 and "," not in item else f"{item}\t{quantity}"


def check_candidates(candidates: Candidates) -> dict[str, int]:
    """Candidates as item id to quantity.

    Raises:
        CandidateError: there is none, one is given twice, or a quantity is not a whole number
            above 0.
    """
    if isinstance(candidates, str):
        raise CandidateError(f"expected a list of item ids, found the text '{candidates}'")
    if isinstance(candidates, Mapping):
        checked = {same_form(item_id): quantity for item_id, quantity in candidates.items()}
        for item_id, quantity in checked.items():
            if not isinstance(quantity, Integral) or quantity < 1:
                raise CandidateError(
                    f"expected a quantity of 1 or more of '{item_id}', got {quantity}"
                )
    else:
        checked = {}
        for item_id in map(same_form, candidates):
            if item_id in checked:
                raise CandidateError(
                    f"candidate '{item_id}' is given twice; for two pieces give a dictionary of "
                    "id to quantity"
                )
            checked[item_id] = 1
    if not checked:
        raise CandidateError("expected at least one candidate, got none")
    return checked


def unknown_ids_error(unknown: list[str], store: AnyStore) -> CandidateError:
    """The error for candidates that the index does not have; names the nearest ones that it has."""
    described = []
    known = list(store.ids()) if len(store) <= _FEW_ENOUGH_TO_COMPARE else None
    for item_id in unknown[:_MOST_NAMED]:
        near: list[str] = []
        # No other than a listable id is in an index, and not every other can be asked for.
        if len(item_id) <= _LONGEST_COMPARED and is_listable(item_id):
            pool = store.neighbours(item_id, 200) if known is None else known
            short = [other for other in pool if len(other) <= _LONGEST_COMPARED]
            near = difflib.get_close_matches(item_id, short, n=3, cutoff=0.6)
        hint = f" (nearest: {', '.join(near)})" if near else ""
        described.append(f"'{_short(item_id)}'{hint}")
    if len(unknown) > _MOST_NAMED:
        described.append(f"and {len(unknown) - _MOST_NAMED} more")
    return CandidateError(
        f"{store.path}: no such item: {', '.join(described)}: correct it, or add it to the index"
    )


def _short(item_id: str) -> str:
    if len(item_id) <= _LONGEST_COMPARED:
        return item_id
    return f"{item_id[:_LONGEST_COMPARED]}... ({len(item_id):,} characters)"


def _parse(line: str, where: str, has: Callable[[str], bool] | None) -> tuple[str, int]:
    before, tab, after = line.rpartition("\t")
    if not tab:
        before, comma, after = line.rpartition(",")
        if not is_listable(line):
            raise CandidateError(f"{where}: expected the id of an item, found '{_short(line)}'")
        if not comma or not re.fullmatch(r"\s*[0-9]+", after):
            return line, 1
    item_id, quantity = before.strip(), after.strip()
    right = is_listable(item_id) and re.fullmatch("0{0,9}[1-9][0-9]{0,8}", quantity) is not None
    if not tab and has is not None and has(line):
        if right and has(item_id):
            raise CandidateError(
                f"{where}: '{_short(line)}' may be {int(quantity)} of '{_short(item_id)}' or one "
                f"'{_short(line)}': put a tab between id and quantity"
            )
        return line, 1
    if not right:
        raise CandidateError(f"{where}: expected 'id' or 'id,quantity', found '{_short(line)}'")
    return item_id, int(quantity)
