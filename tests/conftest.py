"""Fixtures: generated photos, a model that is not trained, one that is, and the real photos."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from embedder import Catalogue, Embedder, read_catalogue
from embedder.locking import only_process
from embedder.model_files import Architecture, ModelInfo
from embedder.sample import write_sample
from index.places import DatabaseUrl

if TYPE_CHECKING:
    from databases import Databases

# For the tests that need what makes their photos and ids; `tests` is no package.
sys.path.append(str(Path(__file__).parent / "made"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROOT = Path(__file__).parent.parent
# As it is before a test imports TensorFlow, which adds to it and then logs more.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
EMBED = Path(sysconfig.get_path("scripts")) / "embed"

# Tests import FAISS before the package does.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Tests run side by side, and those that import TensorFlow keep all cores busy.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: of two processes, one would wait for the other's last files."""
    items.sort(key=lambda item: not {"soak", "notebooks"} & {*item.path.parts})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos; its absence is a failure in CI and a skip elsewhere."""
    folder = Path(os.environ.get("EMBED_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "grocery").is_dir():
        message = f"{folder}: no real photos there; name their folder in EMBED_REAL_DATA"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated catalogue of 12 items with 12 photos each, and 8 photos to match."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, items=12, photos=12, queries=8, size=64)
    return folder


@pytest.fixture(scope="session")
def catalogue(sample: Path) -> Catalogue:
    return read_catalogue(sample / "catalogue")


@pytest.fixture(scope="session")
def save_random_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModelInfo, int], Path]:
    """Write a model folder with random weights: quick, and good enough to compare vectors."""
    from embedder.backend import keras
    from embedder.networks import build_network
    from embedder.saving import save_model

    def save(info: ModelInfo, seed: int) -> Path:
        folder = tmp_path_factory.mktemp("random") / "items.model"
        keras.utils.set_random_seed(seed)
        size = info.architecture.size
        photos = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
        save_model(build_network(info.architecture), info, photos, folder)
        return folder

    return save


@pytest.fixture(scope="session")
def random_model(save_random_model: Callable[[ModelInfo, int], Path]) -> Path:
    """A model folder with random weights at 32 px."""
    return save_random_model(ModelInfo(Architecture(size=32), 0.1), 0)


@pytest.fixture(scope="session")
def other_model(save_random_model: Callable[[ModelInfo, int], Path]) -> Path:
    """Another one, with other weights."""
    return save_random_model(ModelInfo(Architecture(size=32), 0.1), 5)


@pytest.fixture(scope="session")
def random_embedder(random_model: Path) -> Embedder:
    return Embedder.open(random_model)


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A model folder that the `embed` command trained on the sample; one for all processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "trained"
    folder.mkdir(exist_ok=True)
    command = [EMBED, "train", sample / "catalogue", "--size", "64", "--epochs", "25"]
    command += ["--model", "items.model"]
    with only_process(folder / "lock", wait=600) as held:
        assert held
        if not (folder / "items.model").exists():
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
    return folder / "items.model"


@pytest.fixture
def little_room() -> Callable[[int], AbstractContextManager[None]]:
    """As on a full disk: while in it, files cannot grow beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")

    @contextmanager
    def room(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return room


@pytest.fixture
def everything() -> Callable[[Path], list[list[tuple[object, ...]]]]:
    """Read all that an index says, byte by byte, but for when it was made and from which files."""

    def read(index: Path) -> list[list[tuple[object, ...]]]:
        connection = sqlite3.connect(index)
        queries = [
            "SELECT id, centroid, photos, dispersion, reference, checksum FROM items ORDER BY id",
            "SELECT id FROM items INDEXED BY items_again ORDER BY id",
            "SELECT * FROM unreadable ORDER BY item_id, photo",
            "SELECT * FROM spreads ORDER BY item_id",
            "SELECT * FROM meta WHERE key NOT IN ('created', 'catalogue', 'seal') ORDER BY key",
        ]
        found = [connection.execute(query).fetchall() for query in queries]
        connection.close()
        return found

    return read


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A PostgreSQL server with pgvector, which is stopped in the end."""
    from databases import server

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Not below pytest's own folder: each start of pytest takes it from other users, and
        # the server of root runs as another one.
        with (
            TemporaryDirectory(prefix="embed-", ignore_cleanup_errors=True) as folder,
            server(Path(folder) / "data") as running,
        ):
            yield running


@pytest.fixture
def database(databases: Databases) -> str:
    """The URL of a new database."""
    return databases.new()


@pytest.fixture(params=["file", "postgres"])
def stored(request: pytest.FixtureRequest) -> Callable[[Path], Path | DatabaseUrl]:
    """Put an index file into the store under test: it stays, or goes into a new database."""
    if request.param == "file":
        return lambda path: path
    databases: Databases = request.getfixturevalue("databases")
    return lambda path: DatabaseUrl(databases.with_index(path))


@pytest.fixture
def embed(tmp_path: Path) -> Run:
    """Run the installed `embed` command in an empty folder."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": tmp_path, "env": ENVIRONMENT, "timeout": 300} | options
        return subprocess.run(
            [EMBED, *map(str, arguments)], capture_output=True, text=True, **settings
        )

    return run


@pytest.fixture
def embed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `embed`, but in this process, which imports TensorFlow once: for what is refused."""
    from click.testing import CliRunner

    from cli.main import main

    def run(
        *arguments: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(main, [*map(str, arguments)], env=env)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def embed_path() -> Path:
    """The installed `embed` command."""
    return EMBED
