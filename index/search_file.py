"""The search file beside a large index: which rows are likely near a vector, found by FAISS.

It can be deleted at any time, and is made again. It says which index it is of, and of which rows;
rows that were added since are looked at one by one, and rows that were removed are not there when
they are fetched. FAISS' own files have no checksum, and damaged ones load, so this one has.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.score_space import ScoreSpace
from index.scanning import Block, numbered
from index.store import Store

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

VERSION = 1
_MAGIC = b"embdsrch"  # the last eight bytes; before them the length of the notes, and these
_TAIL = 16
_MOST_NOTES = 1 << 16
_PART = 1 << 26


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
        sha256: of the part that FAISS reads, in hexadecimal, by parts (`_digest`).
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
    sha256: str = ""
    version: int = field(default=VERSION)


@dataclass(frozen=True)
class SearchFile:
    """An open search file. Searching is safe from several threads.

    Attributes:
        notes: what it says of itself.
    """

    notes: Notes
    _found: Any

    def shortlist(self, asked: Vectors, count: int) -> Numbers:
        """The rows that are likely nearest to each vector.

        Args:
            asked: float32 (photos, dim), unit norm, in the score space of the index.
            count: so many of each are asked for in the end.

        Returns:
            int64 (photos, rows), in no order that means anything; -1 where fewer were found.
        """
        wanted = min(self.notes.items, max(self.notes.shortlist, 2 * count))
        return search(self._found, self.notes.kind, self.notes.effort, asked, wanted)


def search_path(index: Path) -> Path:
    """Where the search file of an index is."""
    return index.with_name(f"{index.name}.search")


def search(found: Any, kind: str, effort: int, asked: Vectors, count: int) -> Numbers:
    """The rows nearest to each vector by a FAISS index; arguments as in `Notes`."""
    import faiss

    parameters = None
    if kind in ("sq", "pq"):
        parameters = faiss.SearchParametersIVF(nprobe=effort)
    elif kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, count))
    rows: Numbers = found.search(np.ascontiguousarray(asked), count, params=parameters)[1]
    return rows


def lineage(store: Store, space: ScoreSpace | None) -> str:
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


def open_search_file(store: Store, space: ScoreSpace | None) -> SearchFile:
    """Open the search file of an index, after it was found to be whole and of it.

    Raises:
        NoSearchFileError: there is none, or it cannot be used; says why.
        IndexFileError: a row of the index is damaged.
    """
    path = search_path(store.path)
    try:
        notes, size = _read_notes(path)
        if notes.lineage != lineage(store, space):
            raise NoSearchFileError(f"{path} is of another index, or of an earlier build")
        block = numbered(store, np.array(notes.last[:1], np.int64))
        if not block.ids or mark(block, 0) != notes.last:
            raise NoSearchFileError(f"{path} is of other rows than the index has now")
        if _digest(path, size) != notes.sha256:
            raise NoSearchFileError(f"{path} is damaged (SHA-256)")
        return SearchFile(notes, _load(path))
    except FileNotFoundError:
        raise NoSearchFileError(f"{path} is not there yet") from None
    except OSError as error:
        raise NoSearchFileError(f"{path} cannot be read: {error.strerror}") from error


def write_search_file(index: Path, found: Any, notes: Notes) -> Notes:
    """Write the search file of an index; it takes the place of another in one step.

    Returns:
        The notes, with the SHA-256.

    Raises:
        OSError: it cannot be written.
    """
    import faiss

    path = search_path(index)
    unfinished = path.with_name(f"{path.name}.building")
    try:
        try:
            faiss.write_index(found, str(unfinished))
        except RuntimeError as error:  # a full disk, a folder that may not be written
            raise OSError(0, f"FAISS cannot write: {error}", str(unfinished)) from error
        size = unfinished.stat().st_size
        notes = Notes(**{**asdict(notes), "sha256": _digest(unfinished, size)})
        content = json.dumps(asdict(notes)).encode()
        with unfinished.open("ab") as file:
            file.write(content + len(content).to_bytes(8, "little") + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return notes


def _load(path: Path) -> Any:
    import faiss

    try:
        # What FAISS can map is not copied into memory: a flat index stays on the disk.
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise NoSearchFileError(f"{path} cannot be read by this FAISS: {why}") from error


def _read_notes(path: Path) -> tuple[Notes, int]:
    """The notes at the end, and how many bytes are before them."""
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        file.seek(max(0, end - _TAIL))
        tail = file.read(_TAIL)
        length = int.from_bytes(tail[:8], "little")
        if tail[8:] != _MAGIC or not length <= min(_MOST_NOTES, end - _TAIL):
            raise NoSearchFileError(f"{path} is no search file, or was cut off")
        file.seek(end - _TAIL - length)
        content = file.read(length)
    try:
        found = json.loads(content)
        if found["version"] != VERSION:
            raise NoSearchFileError(f"{path} is of another version of embed")
        notes = Notes(**{**found, "last": tuple(found["last"])})
        whole = [int(notes.items), int(notes.effort), int(notes.shortlist), int(notes.last[0])]
        if min(whole[:3]) < 0 or len(notes.last) != 3:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NoSearchFileError(f"{path} is damaged (notes)") from None
    return notes, end - _TAIL - length


def _digest(path: Path, size: int) -> str:
    """SHA-256 of the SHA-256s of parts: parts are hashed on all cores at once."""
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda part: _hash_part(path, *part), _parts(size))
        return hashlib.sha256(b"".join(found)).hexdigest()


def _parts(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, _PART):
        yield start, min(_PART, size - start)


def _hash_part(path: Path, start: int, length: int) -> bytes:
    found, step = hashlib.sha256(), 1 << 20
    with path.open("rb") as file:
        file.seek(start)
        while length > 0 and (content := file.read(min(step, length))):
            found.update(content)
            length -= len(content)
    return found.digest()
