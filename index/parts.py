"""Parts of an index that are not about one item, each with a checksum."""

from __future__ import annotations

import zlib
from typing import TypeGuard

from embedder.errors import IndexFileError
from index.schema import MEND
from index.stores import AnyStore, AnyWritableStore

PARTS = ("score_space", "calibration", "background")  # for the modules that know what is in them


def put_part(store: AnyWritableStore, name: str, content: bytes | None) -> None:
    """Keep a part, or remove it; `commit` keeps that."""
    store.put_part(name, None if content is None else _sealed(content))


def read_part(store: AnyStore, name: str) -> bytes | None:
    """A part of an index; None if it has none.

    Raises:
        IndexFileError: it is damaged.
    """
    content = store.part(name)
    if content is None:
        return None
    if not is_sealed(content):
        raise damaged_part(store, name, "checksum")
    return content[:-4]


def is_sealed(content: object) -> TypeGuard[bytes]:
    """Whether a part is what was put in, with its checksum; it can be of any type."""
    return isinstance(content, bytes) and _sealed(content[:-4]) == content


def damaged_part(store: AnyStore, name: str, what: str) -> IndexFileError:
    """The error for a part that is not what was written."""
    shown = name.replace("_", " ")
    return IndexFileError(f"{store.path}: its {shown} is damaged ({what}): {MEND}")


def _sealed(content: bytes) -> bytes:
    return content + zlib.crc32(content).to_bytes(4, "little")
