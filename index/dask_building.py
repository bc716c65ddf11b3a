"""From a catalogue to an index file with photos embedded on many machines, by Dask.

Workers embed chunks of the catalogue and return sums, which are merged by a tree on the workers, a
group of chunks at a time. What a group gave is kept beside the index (`index.kept_chunks`); at the
end items are read from there one by one. So neither the catalogue nor what it gave is ever held
whole, and the index is finished as on one machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from embedder import __version__
from embedder.errors import MissingExtraError
from embedder.inference import Embedder
from index.building import BuildReport, mending, refuse_empty, refuse_other_file
from index.chunk_building import samples, write_index
from index.chunk_vectors import open_folder, remove_other_chunks
from index.chunks import LOCAL, ROWS, Group, Overview, groups_of, look_through
from index.database import only_writer, refuse_folder, refuse_newer
from index.kept_chunks import KeptChunks, chunks_beside
from index.kept_photos import DamagedKeptError

if TYPE_CHECKING:
    from index.dask_worker import Job


def build_index_on_dask(
    source: str | os.PathLike[str],
    model: str | os.PathLike[str],
    path: str | os.PathLike[str] = "items.index",
    *,
    scheduler: str = LOCAL,
    embeddings: str | None = None,
    skip_empty: bool = False,
    repair: bool = False,
    jobs: int | None = None,
    rows: int = ROWS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """`index.building.build_index` with photos embedded by the workers of a Dask cluster.

    The index says the same, but for the last digits of centroids. Photos have to be readable on
    all workers under the paths that they have here; embed has to be installed there in the same
    version with the extra [dask]. The workers run what the scheduler sends them, and its network
    has to be one that is trusted.

    Args:
        source: the catalogue, a folder or a manifest; it may be larger than memory.
        model: the model folder, or a network in a file. Workers get it from here.
        path: the index file.
        scheduler: address of a Dask scheduler, or "local" for workers on this machine.
        embeddings: folder to keep embeddings in as Parquet, a file for each chunk: a path, or an
            address that fsspec knows; workers must be able to write there.
        skip_empty: as in `build_index`.
        repair: as in `build_index`.
        jobs: workers with "local"; one for each core unless given.
        rows: photos of a chunk.
        on_progress: called with (photos done, photos in all).

    Raises:
        CatalogueError: as in `build_index`.
        ClusterError: the cluster cannot be reached, or its workers are not as expected.
        IndexFileError: as in `build_index`.
        MissingExtraError: Dask is not installed here.
    """
    require_dask()
    path, source = Path(path), Path(source)
    refuse_folder(path)
    refuse_newer(path) if repair else refuse_other_file(path)
    embedder = Embedder.open(model)
    overview = look_through(source)
    refuse_empty(overview.bare, skip_empty)
    if embeddings is not None and "://" not in embeddings:
        embeddings = str(Path(embeddings).absolute())
    job = _job(source, Path(model), embedder, overview, embeddings)
    gather = partial(_gather, scheduler, jobs, job, source, rows, overview.photos, on_progress)

    def build(repair: bool) -> BuildReport:
        dim, place = embedder.info.architecture.dim, chunks_beside(path)
        with KeptChunks.open(place, job.fingerprint, dim) as kept:
            embedded = gather(kept)
            write = partial(write_index, kept, embedder, path, source, overview, embedded)
            try:
                return write(skip_empty=skip_empty, repair=repair)
            except DamagedKeptError:
                KeptChunks.delete(place)
                raise

    with only_writer(path, "another build"):
        return mending(build, path, repair)


def require_dask() -> None:
    """Raises MissingExtraError where Dask, or Parquet to keep embeddings, is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise MissingExtraError("building an index with Dask", "dask") from None


def _job(
    source: Path, model: Path, embedder: Embedder, overview: Overview, embeddings: str | None
) -> Job:
    from index.dask_worker import Job

    spread, whole = samples(overview, embedder)
    parent = str(source.parent) if not source.is_dir() else ""
    files = Embedder.files(model)
    return Job(
        version=__version__,
        files=files,
        network=model.name if model.name in files else "",
        fingerprint=embedder.info.fingerprint,
        base=str(Path.cwd()),
        parent=parent,
        source=str(source),
        spread=spread,
        whole=whole,
        embeddings=embeddings,
    )


def _gather(
    scheduler: str,
    jobs: int | None,
    job: Job,
    source: Path,
    rows: int,
    total: int,
    on_progress: Callable[[int, int], None],
    kept: KeptChunks,
) -> int:
    """Have all of a catalogue embedded into `kept`; returns how many photos were."""
    from index.dask_cluster import Gathering, connected
    from index.dask_worker import ModelPlugin

    name = f"embed-{uuid4().hex}"
    keys, files = set[bytes](), set[bytes]()

    def noted() -> Iterator[Group]:
        for found in groups_of(source, rows):
            asked = (job.spread | job.whole) & {item for c in found.chunks for item, _ in c.rows}
            # What is asked of items hangs on the whole catalogue: a group may have to give more.
            key = blake2b(repr((found.key, sorted(asked))).encode(), digest_size=16).digest()
            group = found._replace(key=key)
            keys.add(group.key)
            files.update(chunk.key for chunk in group.chunks)
            yield group

    if job.embeddings is not None:
        open_folder(job.embeddings)
    with connected(scheduler, jobs) as client:
        client.register_plugin(ModelPlugin(job, name), name=name)
        try:
            embedded = Gathering(client, name, job, kept, total, on_progress).run(noted())
        finally:
            client.unregister_worker_plugin(name)
    kept.remove_others(keys)
    if job.embeddings is not None:
        remove_other_chunks(job.embeddings, files)
    return embedded
