"""The embeddings of a chunk as one Parquet file, in a folder or wherever fsspec can write."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from embedder.errors import ClusterError, MissingExtraError, PhotoError, in_one_line
from embedder.photos import photo_name
from index.embedding import Embedded, Known
from index.kept_photos import KeptPhoto

_NAME = re.compile(r"chunk-[0-9a-f]{32}\.parquet")
_READ = ("id", "path", "vector", "size", "changed", "digest")
_FINGERPRINT = b"embed.fingerprint"


class Kept(NamedTuple):
    """What the file of a chunk says.

    Attributes:
        table: of it; None if there is none of this model.
        known: gives what it has of an item.
    """

    table: Any
    known: Known


def open_folder(url: str) -> tuple[Any, str]:
    """A folder, which is made if it is not there.

    Args:
        url: of it, or its path.

    Returns:
        the file system, and the folder's path in it.

    Raises:
        ClusterError: it cannot be opened.
        MissingExtraError: pyarrow or fsspec, or what fsspec needs for it, is not installed.
    """
    try:
        import fsspec
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError("keeping embeddings", "dask") from None
    with _errors(url):
        system, folder = fsspec.url_to_fs(url)
        system.makedirs(folder, exist_ok=True)
    return system, folder


def read_chunk(url: str, key: bytes, fingerprint: str) -> Kept:
    """What is there of a chunk; nothing if that is damaged or of another model.

    Args:
        url: of the folder.
        key: of the chunk.
        fingerprint: of the model.

    Raises:
        ClusterError: the folder cannot be opened.
    """
    from pyarrow import parquet

    system, folder = open_folder(url)
    table = None
    with suppress(Exception):  # there is none, or whatever a damaged one can give
        found = parquet.read_table(BytesIO(system.cat_file(_path(folder, key))))
        if found.schema.metadata[_FINGERPRINT] == fingerprint.encode():
            table = found
    if table is None:
        return Kept(None, lambda item: {})
    photos: dict[str, dict[bytes, KeptPhoto]] = {}
    rows = zip(*(table[column].to_pylist() for column in _READ), strict=True)
    for item, name, vector, size, changed, digest in rows:
        if vector is not None:
            photo = KeptPhoto(size, changed, digest, np.array(vector, np.float32))
            photos.setdefault(item, {})[os.fsencode(name)] = photo
    return Kept(table, lambda item: photos.get(item, {}))


def write_chunk(
    url: str, key: bytes, fingerprint: str, dim: int, photos: Sequence[Embedded], before: Any
) -> None:
    """Write the file of a chunk, unless it says the same already.

    Args:
        url: of the folder.
        key: of the chunk.
        fingerprint: of the model.
        dim: numbers in a vector.
        photos: of the chunk.
        before: the table that is there, or None.

    Raises:
        ClusterError: it cannot be written.
    """
    from pyarrow import parquet

    table = _table(photos, dim, fingerprint)
    if before is not None and table.equals(before):
        return
    system, folder = open_folder(url)
    content = BytesIO()
    parquet.write_table(table, content, compression="zstd")
    path = _path(folder, key)
    unfinished = f"{path}.{uuid4().hex}"  # two machines may write it, if one was taken for dead
    with _errors(url):
        system.pipe_file(unfinished, content.getvalue())
        system.mv(unfinished, path)


def remove_other_chunks(url: str, keys: Collection[bytes]) -> None:
    """Remove the files of chunks that the catalogue does not have any more.

    Raises:
        ClusterError: the folder cannot be read or written.
    """
    system, folder = open_folder(url)
    names = {_path("", key).lstrip("/") for key in keys}
    with _errors(url):
        for path in system.ls(folder, detail=False):
            name = path.rpartition("/")[2]
            if _NAME.fullmatch(name[:46]) and name not in names:
                system.rm_file(path)


def _table(photos: Sequence[Embedded], dim: int, fingerprint: str) -> Any:
    import pyarrow as pa

    vectors = [None if isinstance(one.result, PhotoError) else one.result for one in photos]
    reasons = [one.result.reason if isinstance(one.result, PhotoError) else None for one in photos]
    columns: dict[str, tuple[Any, list[Any]]] = {
        "id": (pa.string(), [photo.item_id for photo in photos]),
        "path": (pa.string(), [photo_name(photo.name) for photo in photos]),
        "vector": (pa.list_(pa.float32(), dim), vectors),
        "size": (pa.int64(), [photo.state[0] for photo in photos]),
        "changed": (pa.int64(), [photo.state[1] for photo in photos]),
        "digest": (pa.binary(), [photo.digest for photo in photos]),
        "reason": (pa.string(), reasons),
    }
    schema = pa.schema(
        [(name, kind) for name, (kind, _) in columns.items()],
        {_FINGERPRINT: fingerprint.encode()},
    )
    return pa.table([pa.array(values, kind) for kind, values in columns.values()], schema=schema)


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # fsspec's file systems have errors of their own
        what = in_one_line(error) or type(error).__name__
        raise ClusterError(
            f"{url}: expected a folder for embeddings that all machines can write into: {what}"
        ) from error


def _path(folder: str, key: bytes) -> str:
    return f"{folder}/chunk-{key.hex()}.parquet"
