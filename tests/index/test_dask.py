"""Builds on a Dask cluster of real processes: a scheduler, and workers that can be killed."""

import gc
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from networks import save_onnx
from pyarrow import parquet

from embedder import CatalogueError, ClusterError, Embedder, read_catalogue
from embedder.model_files import Architecture, ModelInfo
from index import build_index, dask_building
from index.chunk_vectors import read_chunk
from index.dask_building import build_index_on_dask
from index.store import Store
from index.whitening import whole_spreads

ROWS = 5  # of a chunk: 146 photos are 30 of them, in two groups
LONG_AGO = 1_600_000_000


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder):
        self._folder, self.processes = folder, []
        noted = folder / "scheduler.json"
        self._start("dask_scheduler", "--port", "0", "--scheduler-file", noted)
        until = time.monotonic() + 60
        while not (noted.exists() and noted.read_text().rstrip().endswith("}")):  # it is written
            assert time.monotonic() < until
            time.sleep(0.05)
        self.address = json.loads(noted.read_text())["address"]

    def _start(self, what, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{what}", "--no-dashboard", *arguments]
        with (self._folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)), cwd=self._folder, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def work(self):
        options = ("--no-nanny", "--nthreads", "1", "--local-directory", self._folder)
        return self._start("dask_worker", self.address, *options)

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def own_cluster(tmp_path):
    (tmp_path / "dask").mkdir()
    cluster = Cluster(tmp_path / "dask")
    yield cluster
    cluster.close()


@pytest.fixture(autouse=True)
def sockets_that_dask_leaves_open():
    """Where a scheduler is killed, its client leaves sockets to be collected: here, if at all.

    Left alone they are found open during any later test, which then fails.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    cluster.work()
    cluster.work()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def whitened_model(save_random_model):
    return save_random_model(ModelInfo(Architecture(size=32), 0.1, whitened_temperature=0.1), 0)


@pytest.fixture
def folder(part_of_sample):
    """A catalogue of 12 x 12 photos and two that are none, as it was long ago."""
    root = part_of_sample(items=12, photos=12)
    first = min(root.iterdir())
    (first / "0000.jpg").write_bytes(b"not a photo")
    (first / "0005b.jpg").write_bytes((first / "0005.jpg").read_bytes()[:200])
    for photo in root.rglob("*.jpg"):
        os.utime(photo, (LONG_AGO, LONG_AGO))
    return root


@pytest.fixture
def manifest(folder):
    """The same as a manifest whose rows follow no order, so that items are in many chunks."""
    rows = [
        f"{path.parent.name},catalogue/{path.parent.name}/{path.name}"
        for path in folder.rglob("*.jpg")
    ]
    rows = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))]
    path = folder.parent / "manifest.csv"
    path.write_text("\n".join(["item_id,path", *rows]))
    return path


def build_in_parts(source, model, index, cluster, **options):
    return build_index_on_dask(source, model, index, scheduler=cluster.address, **options)


build = partial(build_in_parts, rows=ROWS)


def rows_of(index):
    with Store.open(index) as store:
        columns = "id, photos, dispersion, reference, signature"
        rows = store.connection.execute(f"SELECT {columns} FROM items ORDER BY id").fetchall()
        vectors, _ = store.centroids(row[0] for row in rows)
        return rows, vectors


def assert_alike(one, other):
    """Two indexes say the same, but for the last digits."""
    (rows, vectors), (others, other_vectors) = rows_of(one), rows_of(other)
    assert [row[:2] + row[3:] for row in rows] == [row[:2] + row[3:] for row in others]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in others], abs=1e-9)
    assert ((vectors.astype(float) * other_vectors).sum(axis=1) >= 1 - 1e-6).all()
    with Store.open(one) as left, Store.open(other) as right:
        assert replace(left.info, created="") == pytest.approx(replace(right.info, created=""))
        spreads, others = dict(whole_spreads(left)), dict(whole_spreads(right))
        assert spreads.keys() == others.keys()
        for item, spread in spreads.items():
            np.testing.assert_allclose(spread.triangle, others[item].triangle, atol=1e-6)
            assert spread.photos == others[item].photos


def test_the_same_index_and_report_as_on_one_machine(
    folder, manifest, whitened_model, cluster, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # workers have other folders
    for name in ("catalogue", "manifest.csv", str(manifest)):
        for index in ("one.index", "dask.index"):
            for path in tmp_path.glob(f"{index}*"):
                path.unlink()
        report = build_index(read_catalogue(name), Embedder.open(whitened_model), "one.index")
        found = build(name, whitened_model, "dask.index", cluster)
        assert len(report.unreadable) == 2
        assert list(map(str, found.unreadable)) == list(map(str, report.unreadable))
        assert replace(found, unreadable=()) == replace(report, unreadable=())
        assert_alike(tmp_path / "one.index", tmp_path / "dask.index")
    # Each goes on from what the other made.
    again = build_index(read_catalogue(manifest), Embedder.open(whitened_model), "dask.index")
    assert (again.embedded, again.photos) == (0, 144)


def test_a_network_of_somebody_elses_is_fitted_to_the_same_photos(manifest, cluster, tmp_path):
    network = save_onnx(tmp_path / "tiny.onnx")
    build_index(read_catalogue(manifest), Embedder.open(network), tmp_path / "one.index")
    build(manifest, network, tmp_path / "dask.index", cluster)
    assert_alike(tmp_path / "one.index", tmp_path / "dask.index")
    names = ("calibration", "background")
    with Store.open(tmp_path / "one.index") as one, Store.open(tmp_path / "dask.index") as other:
        assert one.info.whitened == other.info.whitened
        assert one.info.temperature == pytest.approx(other.info.temperature)
        assert all((one.part(name) is None) == (other.part(name) is None) for name in names)


def test_a_worker_that_is_killed_changes_nothing(manifest, random_model, own_cluster, tmp_path):
    workers = [own_cluster.work(), own_cluster.work()]
    killed = []

    def kill(done, total):
        if done >= 4 * ROWS and not killed:
            killed.append(workers[0].send_signal(signal.SIGKILL))
            workers[0].wait()

    report = build(manifest, random_model, tmp_path / "dask.index", own_cluster, on_progress=kill)
    assert killed
    build_index(read_catalogue(manifest), Embedder.open(random_model), tmp_path / "one.index")
    assert (report.photos, report.embedded) == (144, 144)
    assert_alike(tmp_path / "one.index", tmp_path / "dask.index")


def test_an_interrupted_build_goes_on(manifest, folder, random_model, cluster, tmp_path):
    index = tmp_path / "dask.index"

    def stop(done, total):
        database = sqlite3.connect(tmp_path / "dask.index.chunks")
        (groups,) = database.execute("SELECT count(*) FROM groups").fetchone()
        database.close()
        if groups:
            raise KeyboardInterrupt

    build = partial(build_in_parts, rows=2)  # five groups, of which two are under way at a time
    with pytest.raises(KeyboardInterrupt):
        build(manifest, random_model, index, cluster, on_progress=stop)
    assert not index.exists()
    shown = []
    report = build(
        manifest, random_model, index, cluster, on_progress=lambda *numbers: shown.append(numbers)
    )
    assert report.photos == 144
    assert 0 < report.embedded <= 146 - 16 * 2
    assert shown[-1] == (146, 146)
    assert build(manifest, random_model, index, cluster).embedded == 0
    photo = max(folder.rglob("*.jpg"))
    shutil.copy(min(folder.rglob("0001.jpg")), photo)
    os.utime(photo, (LONG_AGO + 5, LONG_AGO + 5))
    assert 0 < build(manifest, random_model, index, cluster).embedded <= 32
    build_index(read_catalogue(manifest), Embedder.open(random_model), tmp_path / "one.index")
    assert_alike(tmp_path / "one.index", index)


def test_items_that_are_gone_or_added_by_hand(folder, random_model, cluster, tmp_path):
    from index import add_item

    index, embedder = tmp_path / "dask.index", Embedder.open(random_model)
    build(folder, random_model, index, cluster)
    items = sorted(folder.iterdir())
    add_item(index, embedder, "by hand", sorted(items[3].iterdir()))
    shutil.rmtree(items[1])
    min(items[2].iterdir()).unlink()
    (folder / "bare").mkdir()
    with pytest.raises(CatalogueError, match="bare"):
        build(folder, random_model, index, cluster)
    report = build(folder, random_model, index, cluster, skip_empty=True)
    assert (report.removed, report.empty, report.items) == ((items[1].name,), ("bare",), 12)
    index.unlink()
    build(folder, random_model, index, cluster, skip_empty=True)
    one = tmp_path / "one.index"
    build_index(read_catalogue(folder), embedder, one, skip_empty=True)
    assert_alike(one, index)


def test_damage_to_what_is_kept_is_made_good(folder, random_model, cluster, tmp_path):
    index = tmp_path / "dask.index"
    build(folder, random_model, index, cluster)
    database = sqlite3.connect(tmp_path / "dask.index.chunks")
    database.execute("UPDATE partials SET content = substr(content, 2)")
    database.commit()
    database.close()
    before = rows_of(index)[0]
    index.write_bytes(index.read_bytes()[:5000])
    assert build(folder, random_model, index, cluster).embedded == 144
    assert rows_of(index)[0] == before


def test_embeddings_are_kept_as_parquet(manifest, folder, random_model, cluster, tmp_path):
    kept = tmp_path / "embeddings"
    options = {"embeddings": str(kept)}
    build(manifest, random_model, tmp_path / "a.index", cluster, **options)
    files = sorted(kept.iterdir())
    assert len(files) == 30
    embedder = Embedder.open(random_model)
    found = {}
    for file in files:
        for row in parquet.read_table(file).to_pylist():
            found[row["path"]] = row
    assert len(found) == 146
    bad = {name for name, row in found.items() if row["vector"] is None}
    assert {found[name]["reason"] is not None for name in bad} == {True}
    good = sorted(found.keys() - bad)
    assert len(good) == 144
    for name, vector in zip(
        good, embedder.embed([folder.parent / name for name in good]), strict=True
    ):
        np.testing.assert_array_equal(np.array(found[name]["vector"], np.float32), vector)
        assert found[name]["id"] == name.split("/")[1]
    # They spare another index the work; a damaged one is written again, a stale one removed.
    files[0].write_bytes(b"PAR1" * 100)
    (kept / f"chunk-{'0' * 32}.parquet").write_bytes(b"")
    (kept / "mine.parquet").write_bytes(b"")
    report = build(manifest, random_model, tmp_path / "b.index", cluster, **options)
    assert 1 <= report.embedded <= ROWS
    assert sorted(kept.iterdir()) == [*files, kept / "mine.parquet"]
    assert_alike(tmp_path / "a.index", tmp_path / "b.index")
    key = bytes.fromhex(files[0].stem.removeprefix("chunk-"))
    assert read_chunk(f"file://{kept}", key, embedder.info.fingerprint).table.num_rows == ROWS
    assert read_chunk(str(kept), key, "another model").table is None


def test_photos_that_workers_cannot_see_are_an_error_not_unreadable(
    folder, random_model, cluster, tmp_path, monkeypatch
):
    made = dask_building._job
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        dask_building, "_job", lambda *given: replace(made(*given), base="/nowhere")
    )
    with pytest.raises(ClusterError, match=r"worker tcp.*/nowhere/catalogue/.*share their folder"):
        build("catalogue", random_model, tmp_path / "dask.index", cluster)


def test_workers_of_another_version_or_with_another_model_are_refused(
    folder, random_model, cluster, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(dask_building, "__version__", "99.0")
        with pytest.raises(ClusterError, match=r"worker .*expected embed 99.0, found .* same vers"):
            build(folder, random_model, tmp_path / "dask.index", cluster)
    made = dask_building._job

    def other(*given):
        job = made(*given)
        content = bytearray(job.files["model.tflite"])
        content[1000] ^= 1
        return replace(job, files={**job.files, "model.tflite": bytes(content)})

    monkeypatch.setattr(dask_building, "_job", other)
    with pytest.raises(ClusterError, match=r"worker .*model.tflite"):
        build(folder, random_model, tmp_path / "dask.index", cluster)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "http://127.0.0.1:9"])
def test_no_such_scheduler(folder, random_model, tmp_path, monkeypatch, address):
    monkeypatch.setattr("index.dask_cluster._SECONDS_TO_WAIT", 1)
    with pytest.raises(ClusterError, match="expected a Dask scheduler") as error:
        build_index_on_dask(folder, random_model, tmp_path / "x.index", scheduler=address)
    assert "\n" not in str(error.value)


def test_a_scheduler_without_workers_or_that_dies(
    folder, random_model, own_cluster, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("index.dask_cluster._SECONDS_TO_WAIT", 0.5)
        with pytest.raises(ClusterError, match="with a worker, found none"):
            build(folder, random_model, tmp_path / "x.index", own_cluster)
    own_cluster.work()
    monkeypatch.setattr("index.dask_cluster._SECONDS_TO_WAIT", 15)  # also to find it again
    scheduler = own_cluster.processes[0]
    with pytest.raises(ClusterError, match="lost it"):
        build(
            folder,
            random_model,
            tmp_path / "x.index",
            own_cluster,
            on_progress=lambda done, total: scheduler.kill(),
        )
