"""What a Dask worker does: it has the model, and turns chunks of a catalogue into sums.

Only plain data goes between machines: `Run`, with statistics and the names of photos.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from embedder import __version__
from embedder.catalogue import Catalogue
from embedder.errors import ClusterError, EmbedError, PhotoError
from embedder.inference import Embedder
from embedder.photos import photo_name
from embedder.quiet import native_output_silenced
from index.chunk_vectors import read_chunk, write_chunk
from index.chunks import Chunk
from index.embedding import Embedded, look_up_photos
from index.partials import Partial, Run, Seen, Vectored
from index.signatures import State, settled_states
from index.statistics import RunningItem


@dataclass(frozen=True)
class Job:
    """What workers have to know of a build.

    Attributes:
        version: of embed.
        files: of the model, as `Embedder.files` gives them.
        network: the name of its file if the model is a network in a file; else empty.
        fingerprint: of the model.
        base: the working folder that paths are relative to.
        parent: the folder that photos' paths are relative to; relative to `base` itself.
        source: the catalogue.
        spread: items whose scatter is asked for.
        whole: items whose vectors are asked for.
        embeddings: address of the folder to keep embeddings in, or None.
    """

    version: str
    files: dict[str, bytes]
    network: str
    fingerprint: str
    base: str
    parent: str
    source: str
    spread: frozenset[str]
    whole: frozenset[str]
    embeddings: str | None

    def shown(self, photo: str) -> str:
        """What a photo is called in messages, as on the machine that builds."""
        return str(Path(self.parent, photo))


class ModelPlugin(WorkerPlugin):  # type: ignore[misc]  # mypy does not follow Dask
    """Gives each worker the model, also those that come later; checks that it is the same."""

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.name = job, name

    def setup(self, worker: Any) -> None:
        """Open the model; an error goes to the machine that builds."""
        with _named(worker.address):
            if self.job.version != __version__:
                raise ClusterError(
                    f"expected embed {self.job.version}, found {__version__}: install the same "
                    "version on all machines"
                )
            self.embedder = _opened(self.job)


def embed_chunk(name: str, chunk: Chunk, here: bool) -> Run:
    """What a chunk gives, on a worker.

    Args:
        name: of the plugin.
        chunk: to embed.
        here: whether its first photo is there on the machine that builds.

    Raises:
        ClusterError: the worker has no model, or not the photos.
    """
    worker = get_worker()
    with _named(worker.address):
        plugin = worker.plugins.get(name)
        embedder = getattr(plugin, "embedder", None)
        if embedder is None:  # of a worker that came later, where setting up failed
            raise ClusterError("expected the model there, found none: its log says why")
        first = Path(plugin.job.base, plugin.job.shown(chunk.rows[0][1]))
        if here and not first.exists():
            raise ClusterError(
                f"{first}: expected the photos on the workers too, under the same path, found "
                "none there: share their folder"
            )
        return run_of(plugin.job, embedder, chunk)


def states_of(name: str, chunks: Sequence[Chunk]) -> tuple[bytes, ...]:
    """Of each chunk what changes when one of its files does, on a worker."""
    job = get_worker().plugins[name].job
    return tuple(
        _hash(
            [s for photos in _catalogue(job, chunk).items.values() for s in settled_states(photos)]
        )
        for chunk in chunks
    )


def run_of(job: Job, embedder: Embedder, chunk: Chunk) -> Run:
    """What a chunk gives; photos that are kept and unchanged are not embedded.

    Raises:
        ClusterError: embeddings cannot be kept.
        ModelError: the model cannot be run.
    """
    catalogue, dim = _catalogue(job, chunk), embedder.info.architecture.dim
    kept = read_chunk(job.embeddings, chunk.key, job.fingerprint) if job.embeddings else None
    known = kept.known if kept else lambda item: {}
    photos = list(look_up_photos(catalogue, known, embedder, 1, moved=False))
    if kept and job.embeddings:
        write_chunk(job.embeddings, chunk.key, job.fingerprint, dim, photos, kept.table)
    shown = {photo_name(str(Path(job.base, s))): s for s in (job.shown(p) for _, p in chunk.rows)}
    partials = [
        _partial(job, item, tuple(some), dim, shown)
        for item, some in groupby(photos, attrgetter("item_id"))
    ]
    states = _hash([photo.state for photo in photos])
    return Run((states,), sum(photo.new for photo in photos), partials)


def _partial(
    job: Job, item: str, photos: Sequence[Embedded], dim: int, shown: dict[str, str]
) -> Partial:
    partial = Partial(item, RunningItem(dim, scatter=item in job.spread))
    for photo in photos:
        seen = Seen(photo.name, *photo.state)
        if isinstance(photo.result, PhotoError):
            name = photo_name(shown[photo.result.photo])
            seen = seen._replace(shown=name, reason=photo.result.reason)
        else:
            partial.running.add(photo.result)
            if item in job.whole:
                partial.vectors.append(Vectored(photo.name, photo.digest, photo.result))
        partial.photos.append(seen)
    return partial


def _catalogue(job: Job, chunk: Chunk) -> Catalogue:
    items: dict[str, list[str]] = {}
    for item, photo in chunk.rows:
        items.setdefault(item, []).append(str(Path(job.base, job.shown(photo))))
    return Catalogue(
        Path(job.base, job.source), {item: tuple(sorted(items[item])) for item in sorted(items)}
    )


def _opened(job: Job) -> Embedder:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in job.files.items():
            Path(folder, name).write_bytes(content)
        embedder = Embedder.open(Path(folder, job.network))
        if embedder.info.fingerprint != job.fingerprint:
            raise ClusterError("expected the model that was sent, found another: run it again")
        with native_output_silenced():
            embedder.warm_up()
    return embedder


def _hash(states: Sequence[State]) -> bytes:
    return blake2b(repr([tuple(state) for state in states]).encode(), digest_size=16).digest()


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Says which worker an error is of; as a class that can be sent."""
    try:
        yield
    except EmbedError as error:
        raise ClusterError(f"worker {address}: {error}") from None
    except OSError as error:
        raise ClusterError(f"worker {address}: {error}") from None
