"""Reading a FAISS file in a process of its own: a damaged or made-up one may crash FAISS."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from embedder.children import GIGABYTES, REFUSED, bound, ending, run_apart
from embedder.errors import CatalogueError, in_one_line

_AT_ONCE = 100_000
_SECONDS, _BYTES_A_SECOND = 60, 10_000_000


def read_faiss(path: Path) -> npt.NDArray[np.float32]:
    """The vectors of a FAISS index, in the order in which they were added.

    Args:
        path: of a file of any kind of index that can reconstruct its vectors. What it gives is
            taken as it is: those of a compressed index are near those it was made of.

    Returns:
        float32 (vectors, dim).

    Raises:
        CatalogueError: it is no such index, or reading it crashes, takes too long or too much
            memory.
    """
    seconds = _SECONDS + path.stat().st_size / _BYTES_A_SECOND
    with tempfile.TemporaryFile() as output:
        status = run_apart("index.faiss_reading", [str(path)], seconds, output)
        output.seek(0)
        if status == REFUSED:
            said = output.read().decode(errors="replace")
            raise _refused(path, said)
        if status is None:
            raise _refused(path, f"found FAISS still at work after {seconds:.0f} s")
        if status:
            raise _refused(path, f"found that FAISS {ending(status)}")
        count, dim = map(int, output.readline().split())
        return np.fromfile(output, "<f4").reshape(count, dim)


def _refused(path: Path, found: str) -> CatalogueError:
    return CatalogueError(
        f"{path}: expected a FAISS index that can reconstruct its vectors, {found}: write it again "
        "with faiss.write_index"
    )


def _write_vectors(path: str, file: IO[bytes]) -> None:
    """A line with how many there are and their length, then the numbers."""
    import faiss

    with open(path, "rb") as opened:  # noqa: PTH123
        # Not by name: FAISS knows no names that are no texts.
        index = given = faiss.read_index(faiss.PyCallbackIOReader(opened.read))
    if isinstance(given, faiss.IndexIDMap | faiss.IndexIDMap2):  # numbers of somebody's own
        index = faiss.downcast_index(given.index)  # which `given` owns
    count, dim = index.ntotal, index.d
    file.write(f"{count} {dim}\n".encode())
    for start in range(0, count, _AT_ONCE):
        # FAISS passes over what it does not find.
        some = np.full((min(_AT_ONCE, count - start), dim), np.nan, np.float32)
        index.reconstruct_n(start, len(some), some)
        missing = np.flatnonzero(np.isnan(some).all(axis=1))
        if len(missing):
            raise RuntimeError(f"no vector of the number {start + int(missing[0])}")
        file.write(some.astype("<f4").tobytes())


def _main(path: str) -> int:
    bound(Path(path).stat().st_size)
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what libraries print is not for who reads this
        try:
            _write_vectors(path, output)
        except MemoryError:
            said = f"found one that takes more than {GIGABYTES} GB"
        except Exception as error:  # FAISS has no class of its own, and names its source first
            said = f"found none: {in_one_line(str(error).rpartition('Error: ')[2])}"
        else:
            return 0
        output.seek(0)
        output.truncate()
        output.write(said.encode(errors="replace"))
    return REFUSED


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
