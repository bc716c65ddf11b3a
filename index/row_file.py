"""The row file beside a large index: the row of each item at a place that its id says.

To find an item among millions SQLite reads two pages that are not in the processor's cache; here it
is one. Rows are in buckets by a hash of the id, without chains: what finds its bucket full is not
in the file (Knuth 1998, "The art of computer programming" 3, 6.4, has the shares). The file is
never believed against the index. That has a state, another one after each change of its items, and
only a file of the same state is read; each row has its checksum; and what is not found here is
asked of the index. It can be deleted at any time.

A bucket begins with keys, an id after its length, each with the place of its row, and zeros; the
rows fill it up from its end.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from index.rows import Row

START = 4096  # of the buckets
STATE_AT, STATE_BYTES = 64, 16

# Magic, numbers in a vector, bytes of a bucket, buckets; then a checksum of these.
_HEADER = struct.Struct("<8sIIQ")
_MAGIC = b"embdrow1"
_PLACE = struct.Struct("<I")


@dataclass(frozen=True)
class RowFile:
    """An open row file. Reading is safe from several threads.

    Attributes:
        file: without a buffer.
        row: how a row without its id is written.
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
        try:
            if self.state() != state:
                return {}
            found, file = {}, self.file.fileno()
            size, buckets, unpacked = self.bucket_bytes, self.buckets, self.row.unpack_from
            for item_id in ids:
                key = key_of(item_id)
                # In line, as calls are a third of what this takes: `content` of `bucket_of` it.
                content = os.pread(file, size, START + zlib.crc32(key) % buckets * size)
                at = content.find(key)
                if at < 0:
                    continue
                place = _PLACE.unpack_from(content, at + len(key))[0]
                row = Row(item_id, *unpacked(content, place))
                if row.is_whole(dim):
                    found[item_id] = row
            # Who changes rows changes this before.
            return found if self.state() == state else {}
        except (OSError, struct.error):
            return {}

    def state(self) -> bytes:
        """Of the index that the rows are of; zeros while they are changed."""
        return os.pread(self.file.fileno(), STATE_BYTES, STATE_AT)

    def bucket_of(self, key: bytes) -> int:
        """In which bucket a key is."""
        return zlib.crc32(key) % self.buckets

    def place(self, bucket: int) -> int:
        """Where a bucket begins."""
        return START + bucket * self.bucket_bytes

    def content(self, bucket: int) -> bytes:
        """All of a bucket."""
        return os.pread(self.file.fileno(), self.bucket_bytes, self.place(bucket))

    def packed(self, row: Row) -> bytes:
        """A row without its id, as it is written."""
        return self.row.pack(*row[1:])


def row_path(index: Path) -> Path:
    """Where the row file of an index is."""
    return index.with_name(f"{index.name}.rows")


def row_struct(dim: int) -> struct.Struct:
    """How a row without its id is written: centroid, photos, dispersion, checksum."""
    return struct.Struct(f"<{4 * dim}sqdI")


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
        whole = content == _sealed(content[:-4]) and magic == _MAGIC
        if whole and numbers == dim and bucket_bytes and buckets:
            return RowFile(file, row_struct(dim), bucket_bytes, buckets)
    file.close()
    return None


def start_row_file(file: FileIO, dim: int, bucket_bytes: int, buckets: int) -> RowFile:
    """Make an empty file a row file, of no state yet and without a row.

    Raises:
        OSError: it cannot be written.
    """
    file.truncate(START + buckets * bucket_bytes)
    os.pwrite(file.fileno(), _sealed(_HEADER.pack(_MAGIC, dim, bucket_bytes, buckets)), 0)
    return RowFile(file, row_struct(dim), bucket_bytes, buckets)


def _sealed(header: bytes) -> bytes:
    return header + zlib.crc32(header).to_bytes(4, "little")


def key_of(item_id: str) -> bytes:
    """What a row is found by."""
    content = item_id.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(4, "little") + content


def entry_of(key: bytes, place: int) -> bytes:
    """What a bucket begins with for a row at a place in it."""
    return key + _PLACE.pack(place)


def entries(content: bytes) -> Iterator[tuple[bytes, int]]:
    """The keys in a bucket, and where their rows are; up to what is no key."""
    at = 0
    while length := int.from_bytes(content[at : at + 4], "little"):
        end = at + 4 + length
        if end + _PLACE.size > len(content):
            return
        yield content[at:end], _PLACE.unpack_from(content, end)[0]
        at = end + _PLACE.size
