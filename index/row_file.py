"""The row file beside a large index: the row of each item at a place that its id says.

To find an item among millions SQLite reads two pages that are not in the processor's cache; here it
is one, and of long vectors the row besides. Rows are in buckets by a hash of the id, without
chains: what finds its bucket full is not in the file (Knuth 1998, "The art of computer programming"
3, 6.4, has the shares). The file is never believed against the index. That has a state, another one
after each change of its items, and only a file of the same state is read; each row has its
checksum; and what is not found here is asked of the index. It can be deleted at any time.

A bucket begins with keys, an id after its length, each with the place of its row, and zeros; the
rows fill it up from its end.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from index.rows import Item, Row, columns_of

MAGIC = b"embdrow1"
PAGE = 4096  # bytes; all keys of a bucket are in its first ones
STATE_BYTES = 16

# Magic, numbers in a vector, bytes of a bucket, buckets; then a checksum of these.
_HEADER = struct.Struct("<8sIIQ")
_STATE_AT, _START = 64, PAGE
_MOST_BYTES = 1 << 20  # of a bucket
_PLACE = struct.Struct("<I")

Changes = Sequence[tuple[str, Item | None]]


@dataclass(frozen=True)
class RowFile:
    """An open row file. Reading is safe from several threads.

    Attributes:
        file: without a buffer.
        row: how a row without its id is written: centroid, photos, dispersion, checksum.
        bucket_bytes: of each bucket.
        buckets: how many there are.
    """

    file: FileIO
    row: struct.Struct
    bucket_bytes: int
    buckets: int

    def rows(self, ids: Iterable[str], dim: int, state: bytes | None) -> dict[str, Row]:
        """The rows of some items by id, of those that are here and whole.

        Args:
            ids: item ids.
            dim: numbers in a vector.
            state: of the index; with another one nothing is found.
        """
        found: dict[str, Row] = {}
        try:
            if self.state() != state:
                return {}
            for item_id in ids:
                row = self._row(item_id)
                if row is not None and row.is_whole(dim):
                    found[item_id] = row
            # Who changes rows changes this before.
            return found if self.state() == state else {}
        except (OSError, UnicodeError):  # a text that no index has, in a file from elsewhere
            return {}

    def _row(self, item_id: str) -> Row | None:
        key = key_of(item_id)
        file = self.file.fileno()
        # In line, as calls take much of it: `place` of `bucket_of` the key.
        start = _START + zlib.crc32(key) % self.buckets * self.bucket_bytes
        content = os.pread(file, PAGE, start)
        at = content.find(key) + len(key)
        if at < len(key):
            return None
        try:
            (place,) = _PLACE.unpack_from(content, at)
            if self.bucket_bytes > PAGE:
                content, place = os.pread(file, self.row.size, start + place), 0
            return Row(item_id, *self.row.unpack_from(content, place))
        except struct.error:  # of a damaged file
            return None

    def state(self) -> bytes:
        """Of the index that the rows are of; zeros while they are changed."""
        return os.pread(self.file.fileno(), STATE_BYTES, _STATE_AT)

    def begin_change(self) -> None:
        """Be of no state, before anything is changed: after a loss of power too.

        Raises:
            OSError: it cannot be written.
        """
        write(self.file, bytes(STATE_BYTES), _STATE_AT)
        os.fsync(self.file.fileno())

    def set_state(self, state: bytes) -> None:
        """Say of which state of the index all is that was written before.

        Raises:
            OSError: it cannot be written.
        """
        os.fsync(self.file.fileno())
        write(self.file, state, _STATE_AT)

    def bucket_of(self, key: bytes) -> int:
        """In which bucket a key is."""
        return zlib.crc32(key) % self.buckets

    def place(self, bucket: int) -> int:
        """Where a bucket begins."""
        return _START + bucket * self.bucket_bytes

    def packed(self, row: Row) -> bytes:
        """A row without its id, as it is written."""
        return self.row.pack(*row[1:])

    def replace(self, item_id: str, item: Item | None) -> None:
        """Put an item in place of that of the same id, if there is room, or take that away.

        Raises:
            OSError: it cannot be written.
        """
        key = key_of(item_id)
        bucket = self.bucket_of(key)
        content = os.pread(self.file.fileno(), self.bucket_bytes, self.place(bucket))
        kept = {
            known: content[place : place + self.row.size]
            for known, place in _entries(content)
            if known != key
        }
        new = None
        if item is not None:
            new = self._bucket({**kept, key: self.packed(Row._make(columns_of(item)[:5]))})
        # Of a damaged bucket not even what is left may have room.
        new = new or self._bucket(kept) or bytes(self.bucket_bytes)
        write(self.file, new, self.place(bucket))

    def _bucket(self, rows: dict[bytes, bytes]) -> bytes | None:
        """A bucket with rows by key; None where there is no room."""
        places = range(self.bucket_bytes - self.row.size, -1, -self.row.size)
        front = b"".join(entry_of(key, place) for key, place in zip(rows, places, strict=False))
        back = b"".join(reversed(rows.values()))
        between = self.bucket_bytes - len(front) - len(back)
        if between < 0 or len(front) > PAGE or len(back) != len(rows) * self.row.size:
            return None
        return front + bytes(between) + back


def row_path(index: Path) -> Path:
    """Where the row file of an index is."""
    return index.with_name(f"{index.name}.rows")


def open_row_file(index: Path, dim: int, mode: str = "rb") -> RowFile | None:
    """The row file of an index; None where there is none that can be read."""
    path = row_path(index)
    if not (hasattr(os, "pread") and path.is_file()):  # Windows has no pread
        return None
    try:
        file = FileIO(path, mode)
    except OSError:
        return None
    with suppress(OSError, struct.error):
        content = os.pread(file.fileno(), _HEADER.size + 4, 0)
        magic, numbers, bucket_bytes, buckets = _HEADER.unpack(content[:-4])
        whole = content == _sealed(content[:-4]) and (magic, numbers) == (MAGIC, dim)
        size = os.fstat(file.fileno()).st_size
        if (
            whole
            and size == _START + buckets * bucket_bytes
            and PAGE <= bucket_bytes <= _MOST_BYTES
        ):
            return RowFile(file, row_struct(dim), bucket_bytes, buckets)
    file.close()
    return None


def start_row_file(file: FileIO, dim: int, bucket_bytes: int, buckets: int) -> RowFile:
    """Make an empty file a row file, of no state yet and without a row.

    Raises:
        OSError: it cannot be written.
    """
    file.truncate(_START + buckets * bucket_bytes)
    write(file, _sealed(_HEADER.pack(MAGIC, dim, bucket_bytes, buckets)), 0)
    return RowFile(file, row_struct(dim), bucket_bytes, buckets)


def follow(index: Path, dim: int, states: tuple[bytes, bytes], changes: Changes) -> None:
    """Bring the row file of an index up to date with what was just committed, if there is one.

    One that cannot be written is left of another state, and is not read.

    Args:
        index: the index file, which nobody else writes meanwhile.
        dim: numbers in a vector.
        states: of the index before the commit, and now.
        changes: ids of items that were removed, with None, and put in, in order.
    """
    rows = open_row_file(index, dim, "r+b")
    if rows is None:
        return
    before, now = states
    with rows.file, suppress(OSError):
        if rows.state() == before:
            rows.begin_change()
            for item_id, item in changes:
                rows.replace(item_id, item)
            rows.set_state(now)


def write(file: FileIO, content: bytes, place: int) -> None:
    """Write all of it.

    Raises:
        OSError: it cannot be written, or not all of it, as on a full disk.
    """
    if os.pwrite(file.fileno(), content, place) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def row_struct(dim: int) -> struct.Struct:
    """How a row without its id is written."""
    return struct.Struct(f"<{4 * dim}sqdI")


def key_of(item_id: str) -> bytes:
    """What a row is found by."""
    content = item_id.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(4, "little") + content


def entry_of(key: bytes, place: int) -> bytes:
    """What a bucket begins with for a row at a place in it."""
    return key + _PLACE.pack(place)


def _entries(content: bytes) -> Iterator[tuple[bytes, int]]:
    """The keys in a bucket, and where their rows are; up to what is no key."""
    at = 0
    while length := int.from_bytes(content[at : at + 4], "little"):
        end = at + 4 + length
        if end + _PLACE.size > len(content):
            return
        yield content[at:end], _PLACE.unpack_from(content, end)[0]
        at = end + _PLACE.size


def _sealed(header: bytes) -> bytes:
    return header + zlib.crc32(header).to_bytes(4, "little")
