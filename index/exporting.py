"""The centroids of an index as a file that others read: NumPy, Parquet or FAISS."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from embedder.advice import with_advice
from embedder.errors import IndexFileError, MissingExtraError
from index.database import refuse_folder
from index.faiss_loading import load_faiss
from index.scanning import scan
from index.stores import AnyStore

_AT_ONCE = 10_000


def ids_beside(path: Path) -> Path:
    """Where the ids of a FAISS file are, which itself has room for numbers only."""
    return path.with_name(f"{path.name}.ids.txt")


def export_vectors(store: AnyStore, path: str | os.PathLike[str]) -> int:
    """Write the centroids of an index to a file; its suffix says of what kind.

    * `.npz`: arrays `ids` (unicode), `vectors` (float32 (items, dim)) and `photos` (int64), how
      many photos are in each. Unicode arrays give each id the room of the longest.
    * `.parquet`: columns `id` (string), `vector` (a list of `dim` float32) and `photos` (int64).
    * `.faiss`: an `IndexFlatIP`, and in FILE.ids.txt the ids, one a line in the order of its rows.

    The centroids are plain ones of unit norm. The files do not carry what else an index has: its
    score space, so products of these vectors are not the scores of a whitened index; its
    calibration and background, so they say nothing of confidence; dispersions, references, and what
    model the vectors are of. An item has one row, so an index built from such a file counts one
    photo for each. Memory does not grow with the index, but for `.faiss`, which FAISS holds whole.

    Args:
        store: an open index.
        path: the file to write; one that is there is replaced in one step.

    Returns:
        How many items were written.

    Raises:
        IndexFileError: the suffix is another, the index has no item, a row is damaged, or the file
            cannot be written.
        MissingExtraError: `.parquet` without the extra [parquet].
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise IndexFileError(
            f"{path}: expected the name of a file that ends in {', '.join(_WRITERS)}, found another"
        )
    refuse_folder(path)
    if not len(store):
        raise IndexFileError(f"{store.path}: expected an index with items, found none in it")
    with _growing(path) as unfinished:
        return write(store, unfinished)


@contextmanager
def _growing(path: Path) -> Iterator[Path]:
    """Where a file, and others beside it, grow before they are put in their places."""
    place = path.resolve()
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
            unfinished = Path(folder) / "new" / place.name
            unfinished.parent.mkdir()
            yield unfinished
            # The ids of a FAISS file first: it is of no use without them.
            for file in sorted(unfinished.parent.iterdir(), key=lambda file: file == unfinished):
                with file.open("r+b") as written:
                    os.fsync(written.fileno())
                file.replace(place.with_name(file.name))
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be written: {with_advice(error)}") from error


def _write_npz(store: AnyStore, path: Path) -> int:
    # Through files, which numpy maps and writes in pieces, as how many items there will be and how
    # long their ids are is known only in the end.
    scratch = path.parent.parent
    lines, texts, rows, counts = (scratch / name for name in ("lines", "ids", "rows", "counts"))
    items, longest = 0, 0
    with (
        lines.open("w", encoding="utf-8", newline="\n") as ids,
        rows.open("wb") as vectors,
        counts.open("wb") as photos,
    ):
        for block in scan(store):
            ids.writelines(f"{item_id}\n" for item_id in block.ids)
            vectors.write(block.vectors.tobytes())
            photos.write(block.photos.astype("<i8").tobytes())
            items += len(block.ids)
            longest = max(longest, *map(len, block.ids))
    unicode = np.memmap(texts, f"<U{longest}", "w+", shape=(items,))
    with lines.open(encoding="utf-8", newline="\n") as ids:
        for start in range(0, items, _AT_ONCE):
            some = [line[:-1] for line in islice(ids, _AT_ONCE)]
            unicode[start : start + len(some)] = some
    with path.open("wb") as file:
        np.savez(
            file,
            ids=unicode,
            vectors=np.memmap(rows, "<f4", "r", shape=(items, store.info.dim)),
            photos=np.memmap(counts, "<i8", "r", shape=(items,)),
        )
    return items


def _write_parquet(store: AnyStore, path: Path) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("writing Parquet files", "parquet") from None
    vector = pa.list_(pa.float32(), store.info.dim)
    schema = pa.schema([("id", pa.string()), ("vector", vector), ("photos", pa.int64())])
    items = 0
    # Not by name: Arrow knows no names that are no texts.
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for block in scan(store):
            numbers = pa.array(block.vectors.ravel())
            vectors = pa.FixedSizeListArray.from_arrays(numbers, type=vector)
            columns = [pa.array(block.ids, pa.string()), vectors, pa.array(block.photos)]
            writer.write_table(pa.table(columns, schema=schema))
            items += len(block.ids)
    return items


def _write_faiss(store: AnyStore, path: Path) -> int:
    faiss = load_faiss()
    index = faiss.IndexFlatIP(store.info.dim)
    with ids_beside(path).open("w", encoding="utf-8", newline="\n") as ids:
        for block in scan(store):
            index.add(np.ascontiguousarray(block.vectors))
            ids.writelines(f"{item_id}\n" for item_id in block.ids)
    with path.open("wb") as file:  # not by name, as above
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    return int(index.ntotal)


_WRITERS: dict[str, Callable[[AnyStore, Path], int]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".faiss": _write_faiss,
}
