"""The items that can be in the photos: reading the list, and helping with ids that are unknown."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import BinaryIO

from embedder.catalogue import same_form
from embedder.errors import CandidateError
from index.store import Store

Candidates = Mapping[str, int] | Iterable[str]
"""Item ids, or item ids with how many pieces of each there are."""

_MOST_NAMED = 10
_FEW_ENOUGH_TO_COMPARE = 20_000


def read_candidates(source: str | os.PathLike[str] | BinaryIO) -> dict[str, int]:
    """Read a list of candidates: one id a line, or `id,quantity`; `#` starts a comment line.

    Args:
        source: a UTF-8 file's path, or an open binary file.

    Returns:
        Item id to how many pieces there are.

    Raises:
        CandidateError: it cannot be read, has no id, or names one twice.
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
            f"{name}: expected a list of candidates, one id a line; found no such file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CandidateError(f"{name}: cannot be read as UTF-8 text: {error}") from error
    found: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        item_id, quantity = _parse(line.strip(), f"{name}:{number}")
        if item_id in found:
            raise CandidateError(
                f"{name}:{number}: '{item_id}' was listed in line {lines[item_id]} already; "
                f"for two pieces write '{item_id},2' once"
            )
        found[item_id], lines[item_id] = quantity, number
    if not found:
        raise CandidateError(f"{name}: expected one item id a line, found none")
    return found


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


def unknown_ids_error(unknown: list[str], store: Store) -> CandidateError:
    """The error for candidates that the index does not have; names the nearest ones that it has."""
    described = []
    known = list(store.ids()) if len(store) <= _FEW_ENOUGH_TO_COMPARE else None
    for item_id in unknown[:_MOST_NAMED]:
        pool = known if known is not None else store.neighbours(item_id, 200)
        near = difflib.get_close_matches(item_id, pool, n=3, cutoff=0.6)
        hint = f" (nearest: {', '.join(near)})" if near else ""
        described.append(f"'{item_id}'{hint}")
    if len(unknown) > _MOST_NAMED:
        described.append(f"and {len(unknown) - _MOST_NAMED} more")
    return CandidateError(f"{store.path}: no such item: {', '.join(described)}")


def _parse(line: str, where: str) -> tuple[str, int]:
    item_id, comma, quantity = line.rpartition(",")
    if not comma:
        return same_form(line), 1
    item_id, quantity = item_id.strip(), quantity.strip()
    if not item_id or not re.fullmatch("[0-9]{1,9}", quantity) or int(quantity) < 1:
        raise CandidateError(f"{where}: expected 'id' or 'id,quantity', found '{line}'")
    return same_form(item_id), int(quantity)
