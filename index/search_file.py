"""The search file beside a large index: which rows are likely near a vector, found by FAISS.

It can be deleted at any time, and is made again. It says which index it is of, and of which rows;
rows that were added since are looked at one by one, and rows that were removed are not there when
they are fetched. FAISS' own files have no checksum, and damaged ones load, so this one has.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace
from index.faiss_loading import load_faiss
from index.places import Place, local_place
from index.scanning import Block, numbered
from index.search_kinds import KINDS, kind_of, nearest_rows, share_lists_out
from index.stores import AnyStore

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

VERSION = 3

# A file ends with the notes, their length (8 bytes), the SHA-256 of all before (32) and this.
_MAGIC = b"embdsrch"
_TAIL = 8 + 32 + len(_MAGIC)
_MOST_NOTES = 1 << 16
_READ = 1 << 20


class NoSearchFileError(Exception):
    """There is no search file that can be used; says why. It is no error of the user's."""


@dataclass(frozen=True)
class Notes:
    """What a search file says of itself.

    Attributes:
        lineage: of which index it is: see `lineage`.
        last: number, id and SHA-256 of the vector of the last row that is in it.
        items: in it.
        kind: of FAISS index: "flat", "hnsw", "sq" or "pq".
        effort: lists looked into for a vector, or how widely a graph is searched; 0 if all.
        shortlist: rows to compare exactly for each vector.
        recall_1: share of questions whose nearest item was found, when it was made.
        recall_10: share of the ten nearest items found.
        asked_for: whether this kind was asked for by name, and is to be kept.
        version: of this layout.
    """

    lineage: str
    last: tuple[int, str, str]
    items: int
    kind: str
    effort: int
    shortlist: int
    recall_1: float = 1.0
    recall_10: float = 1.0
    asked_for: bool = False
    version: int = VERSION

    def are_possible(self) -> bool:
        """Whether all are of the right types, and in range."""
        numbers = (self.last[0], self.items, self.effort, self.shortlist)
        return (
            len(self.last) == 3
            and all(type(number) is int and 0 <= number < 2**62 for number in numbers)
            and (self.items > 0 and self.shortlist > 0 and self.kind in KINDS)
            and (self.effort > 0 or self.kind == "flat")
            and type(self.asked_for) is bool
        )


@dataclass(frozen=True)
class SearchFile:
    """An open search file. Searching is safe from several threads.

    Attributes:
        notes: what it says of itself.
    """

    notes: Notes
    _rows: Any

    def shortlist(self, asked: Vectors, count: int) -> Numbers:
        """The rows that are likely nearest to each vector.

        Args:
            asked: float32 (photos, dim), in the score space of the index.
            count: so many of each are asked for in the end.

        Returns:
            int64 (photos, rows), in no order that means anything; -1 where fewer were found.
        """
        wanted = min(self.notes.items, max(self.notes.shortlist, 2 * count))
        return nearest_rows(self._rows, self.notes.kind, self.notes.effort, asked, wanted)


def search_path(index: Place) -> Path:
    """Where the search file of an index is."""
    path = local_place(index)
    return path.with_name(f"{path.name}.search")


def lineage(store: AnyStore, space: ScoreSpace | None) -> str:
    """Changes when an index is built again, or compares vectors in another space."""
    info = store.info
    whole = hashlib.sha256(json.dumps([info.fingerprint, info.dim, info.created]).encode())
    if space is not None:
        whole.update(space.centre.tobytes() + space.matrix.tobytes())
    return whole.hexdigest()


def mark(block: Block, at: int) -> tuple[int, str, str]:
    """What a search file keeps of its last row, to know it again."""
    vector = hashlib.sha256(block.vectors[at].tobytes()).hexdigest()
    return int(block.numbers[at]), block.ids[at], vector


def open_search_file(store: AnyStore, space: ScoreSpace | None) -> SearchFile:
    """Open the search file of an index, after it was found to be whole and of it.

    Raises:
        NoSearchFileError: there is none, or it cannot be used; says why.
        IndexFileError: a row of the index is damaged.
    """
    path = search_path(store.path)
    try:
        if path.exists() and not path.is_file():
            raise NoSearchFileError(f"{path} is no file")
        with path.open("rb") as file:
            notes = _read_notes(path, file)
            if notes.version != VERSION:
                raise NoSearchFileError(f"{path} is of another version of embed")
            if notes.lineage != lineage(store, space):
                raise NoSearchFileError(f"{path} is of another index, or of an earlier build")
            block = numbered(store, np.array(notes.last[:1], np.int64))
            if not block.ids or mark(block, 0) != notes.last:
                raise NoSearchFileError(f"{path} is of other rows than the index has now")
            return SearchFile(notes, _load(path, file, store.info.dim, notes))
    except FileNotFoundError:
        raise NoSearchFileError(f"{path} is not there yet") from None
    except OSError as error:
        raise NoSearchFileError(f"{path} cannot be read: {error.strerror}") from error


def kind_asked_for(index: Place) -> str | None:
    """The kind that was asked for by name when the search file that is there was made.

    It may be of an earlier build of the index. None where there is none, or it is damaged.
    """
    path = search_path(index)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            notes = _read_notes(path, file)
    except (OSError, NoSearchFileError):
        return None
    return notes.kind if notes.asked_for else None


def write_search_file(
    index: Place, rows: Any, notes: Notes, is_current: Callable[[], bool]
) -> None:
    """Write the search file of an index; it takes the place of another in one step.

    Args:
        index: where the index is.
        rows: the FAISS index.
        notes: what to say of it.
        is_current: asked in the end: whether it is still of the index that is there.

    Raises:
        OSError: it cannot be written, or is not of the index that is there.
    """
    faiss = load_faiss()
    path = search_path(index)
    unfinished = path.with_name(f"{path.name}.building")
    try:
        with unfinished.open("w+b") as file:
            # Not by name: FAISS knows no names that are no texts, and not what went wrong.
            faiss.write_index(rows, faiss.PyCallbackIOWriter(file.write))
            content = json.dumps(asdict(notes)).encode()
            file.write(content + len(content).to_bytes(8, "little"))
            digest = _digest(file, file.tell())
            file.write(digest + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
        if not is_current():
            raise OSError(errno.ESTALE, "the index was built again meanwhile", str(path))
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _load(path: Path, file: BinaryIO, dim: int, notes: Notes) -> Any:
    faiss = load_faiss()
    # The file that is open, whatever has its name now. What FAISS can map is not copied into
    # memory: a flat index stays on the disk.
    name = f"/dev/fd/{file.fileno()}"
    try:
        rows = faiss.read_index(name if Path(name).exists() else str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise NoSearchFileError(f"{path} cannot be read by this FAISS: {why}") from error
    if (rows.d, rows.ntotal, kind_of(rows)) != (dim, notes.items, notes.kind):
        raise NoSearchFileError(f"{path} is of other vectors than it says")
    share_lists_out(rows, notes.kind)
    return rows


def _read_notes(path: Path, file: BinaryIO) -> Notes:
    """The notes at the end, after the SHA-256 was found to be that of all before it."""
    end = os.fstat(file.fileno()).st_size
    file.seek(max(0, end - _TAIL))
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:8], "little")
    if tail[40:] != _MAGIC or not length <= min(_MOST_NOTES, end - _TAIL):
        raise NoSearchFileError(f"{path} is no search file, or was cut off")
    if _digest(file, end - _TAIL + 8) != tail[8:40]:
        raise NoSearchFileError(f"{path} is damaged (SHA-256)")
    file.seek(end - _TAIL - length)
    try:
        said = json.loads(file.read(length))
        notes = Notes(**{**said, "last": tuple(said["last"])})
        if not notes.are_possible():
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NoSearchFileError(f"{path} is not as it should be") from None
    return notes


def _digest(file: BinaryIO, size: int) -> bytes:
    """SHA-256 of the first bytes of a file."""
    found = hashlib.sha256()
    file.seek(0)
    while size > 0 and (content := file.read(min(_READ, size))):
        found.update(content)
        size -= len(content)
    return found.digest()
