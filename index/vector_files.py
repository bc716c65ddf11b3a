"""Vectors that were made elsewhere, from a file: NumPy, Parquet or FAISS.

A file may be anybody's: nothing in it is run, and how large it is is seen before there is room made
for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from embedder.catalogue import checked_id
from embedder.errors import CatalogueError, EmbedError, MissingExtraError, in_one_line
from index.exporting import ids_beside
from index.faiss_reading import read_faiss
from index.schema import MOST_DIM

Vectors = npt.NDArray[np.float32]

_AT_ONCE = 10_000


def read_vectors(path: str | os.PathLike[str]) -> tuple[Vectors, list[str]]:
    """Read vectors and the ids of their items, as `build_from_vectors` takes them.

    The suffix says of what kind the file is:

    * `.npz`: arrays `ids` (texts) and `vectors` (photos, dim), a row a photo.
    * `.parquet`: columns `id` (texts) and `vector` (lists of numbers with a point, all as long).
    * `.faiss`: an index that can reconstruct its vectors, and in FILE.ids.txt the ids, one a line
      in the order of the vectors' numbers, which is that of adding them; of an IndexIDMap, whose
      numbers are somebody's own, of adding. It is read in a process of its own.

    Other arrays and columns do not count. An id may be there many times, once for each photo.

    Args:
        path: of the file.

    Returns:
        float32 (photos, dim), as they are in the file, and an id for each, in its composed form.

    Raises:
        CatalogueError: there is none, it is damaged, not as described, or larger than memory; a
            vector is zero or not finite, or an id could not be a candidate: the row is named, from
            1.
        MissingExtraError: `.parquet` without the extra [parquet].
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None or not path.is_file():
        found = "none" if not path.exists() else "another file" if path.is_file() else "no file"
        raise CatalogueError(
            f"{path}: expected a file of vectors ({', '.join(_READERS)}), found {found}"
        )
    try:
        vectors, ids = read(path)
    except EmbedError:
        raise
    except Exception as error:  # of damaged files: of zip, zlib, struct, numpy and Arrow
        what = in_one_line(error) or type(error).__name__
        raise CatalogueError(f"{path}: cannot be read: {what}: write it again") from error
    if len(ids) != len(vectors):
        _refuse(path, f"an id for each of {len(vectors):,} vectors, found {len(ids):,} ids")
    _refuse_unusable(path, vectors)
    return vectors, _checked(path, ids)


def _read_npz(path: Path) -> tuple[Vectors, Sequence[str]]:
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            _refuse(path, "arrays 'ids' and 'vectors' as numpy.savez writes them, found no such")
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)
        shapes = {}
        for name in ("ids", "vectors"):
            if name not in arrays.files:
                _refuse(path, f"arrays 'ids' and 'vectors', found {in_one_line(arrays.files)}")
            shapes[name] = _described(path, arrays, name)
        (ids, of_ids), (vectors, of_vectors) = shapes["ids"], shapes["vectors"]
        if of_ids.kind != "U" or len(ids) != 1:
            _refuse(path, f"'ids' as an array of texts (str), found {of_ids} {ids}")
        if of_vectors.kind != "f" or len(vectors) != 2:
            _refuse(path, f"'vectors' as floats (photos, dim), found {of_vectors} {vectors}")
        _refuse_size(path, *vectors)
        with np.errstate(over="ignore"):
            return arrays["vectors"].astype(np.float32), arrays["ids"].tolist()


def _described(path: Path, arrays: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, as its beginning says, if there is as much as that takes."""
    known = {(1, 0): np.lib.format.read_array_header_1_0}
    known[2, 0] = np.lib.format.read_array_header_2_0
    with arrays.zip.open(f"{name}.npy") as array:
        version = np.lib.format.read_magic(array)
        if version not in known:
            _refuse(path, f"'{name}' as NumPy writes it, found version {version}")
        shape, _, dtype = known[version](array)
        taken = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
        found = arrays.zip.getinfo(f"{name}.npy").file_size - array.tell()
    if dtype.hasobject:
        _refuse(path, f"'{name}' of texts or numbers, found objects: give it a dtype, as dtype=str")
    if taken != found:
        _refuse(path, f"'{name}' of {shape} to take {taken:,} bytes, found {found:,}")
    _refuse_bytes(path, taken)
    return shape, dtype


def _read_parquet(path: Path) -> tuple[Vectors, Sequence[str]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("reading Parquet files", "parquet") from None
    # Not by name: Arrow knows no names that are no texts.
    with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
        missing = {"id", "vector"} - set(file.schema_arrow.names)
        if missing:
            _refuse(
                path, f"columns 'id' and 'vector', found {in_one_line(file.schema_arrow.names)}"
            )
        rows = file.metadata.num_rows
        vectors, ids = np.zeros((0, 0), np.float32), list[str]()
        batches = file.iter_batches(_AT_ONCE, columns=["id", "vector"], use_threads=False)
        for batch in batches:
            start = len(ids)
            some = _numbers(path, batch.column("vector"), start)
            if not start:
                _refuse_size(path, rows, some.shape[1])
                vectors = np.empty((rows, some.shape[1]), np.float32)
            if some.shape[1] != vectors.shape[1] or start + len(some) > rows:
                _refuse(
                    path, f"vectors of {vectors.shape[1]} numbers, found {some.shape[1]}", start
                )
            vectors[start : start + len(some)] = some
            ids += _texts(path, batch.column("id"), start)
    if not ids:
        _refuse(path, "vectors, found no row")
    return vectors[: len(ids)], ids


def _numbers(path: Path, column: Any, start: int) -> Vectors:
    """A column of lists as float32 (rows, dim); `start` is how many rows are before it."""
    from pyarrow import compute, types

    of_lists = column.type
    if not (
        (types.is_list(of_lists) or types.is_large_list(of_lists))
        or types.is_fixed_size_list(of_lists)
    ) or not types.is_floating(of_lists.value_type):
        _refuse(path, f"'vector' as lists of floats, found {in_one_line(of_lists)}")
    lengths = compute.fill_null(compute.list_value_length(column), -1).to_numpy()
    odd = np.flatnonzero((lengths != lengths[0]) | (lengths < 1))
    if len(odd):
        row, found = int(odd[0]), int(lengths[odd[0]])
        what = "no vector" if found < 1 else f"one of {found}"
        _refuse(path, f"a vector of {max(1, int(lengths[0]))} numbers, found {what}", start + row)
    numbers = column.flatten()
    with np.errstate(over="ignore"):  # a number that is not there becomes NaN
        flat: Vectors = numbers.to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(column), -1)


def _texts(path: Path, column: Any, start: int) -> list[str]:
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if not (types.is_string(kind) or types.is_large_string(kind)):
        _refuse(path, f"'id' as texts, found {in_one_line(column.type)}")
    found: list[str] = column.to_pylist()
    if column.null_count:
        _refuse(path, "an id, found none", start + found.index(None))  # type: ignore[arg-type]
    return found


def _read_faiss(path: Path) -> tuple[Vectors, Sequence[str]]:
    beside = ids_beside(path)
    if not beside.is_file():
        _refuse(path, f"its ids in {beside}, one a line, found no such file")
    _refuse_bytes(beside, beside.stat().st_size)
    try:
        text = beside.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(beside, f"ids as text in UTF-8, found {in_one_line(error)}")
    lines = text.replace("\r\n", "\n").split("\n")
    ids = lines[:-1] if lines[-1] == "" else lines
    vectors = read_faiss(path)
    if len(ids) != len(vectors):
        _refuse(beside, f"{len(vectors):,} ids, one a line, found {len(ids):,}")
    _refuse_size(path, *vectors.shape)
    return vectors, ids


def _refuse_size(path: Path, rows: int, dim: int) -> None:
    if not rows or not 1 <= dim <= MOST_DIM:
        _refuse(path, f"vectors (photos, dim) with dim from 1 to {MOST_DIM}, found {rows, dim}")
    _refuse_bytes(path, rows * dim * 4)


def _refuse_bytes(path: Path, found: int) -> None:
    """What memory cannot hold would not be refused by the system, but would end us, or others."""
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return
    if found > most:
        _refuse(path, f"what memory can hold, {most:,} bytes, found {found:,}")


def _refuse_unusable(path: Path, vectors: Vectors) -> None:
    for start, some in _parts(vectors):
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(some, axis=1)
        unusable = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if len(unusable):
            row = int(unusable[0])
            what = "zero" if (some[row] == 0).all() else "a number that is too large, small or none"
            _refuse(path, f"finite vectors other than zero, found {what}", start + row)


def _parts(vectors: Vectors) -> Iterator[tuple[int, Vectors]]:
    for start in range(0, len(vectors), _AT_ONCE):
        yield start, vectors[start : start + _AT_ONCE]


def _checked(path: Path, ids: Sequence[str]) -> list[str]:
    forms: dict[str, str] = {}
    for row, item_id in enumerate(ids):
        if item_id not in forms:
            forms[item_id] = checked_id(item_id, f"{path}: row {row + 1}")
    return [forms[item_id] for item_id in ids]


def _refuse(path: Path, what: str, row: int | None = None) -> NoReturn:
    where = path if row is None else f"{path}: row {row + 1}"
    raise CatalogueError(f"{where}: expected {what}")


_READERS: dict[str, Callable[[Path], tuple[Vectors, Sequence[str]]]] = {
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".faiss": _read_faiss,
}
