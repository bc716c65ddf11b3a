"""Many processes write, read and replace one index: nothing is lost, nobody sees half a commit."""

import subprocess
import sys
import time

import pytest

from embedder import read_catalogue
from embedder.sample import write_sample
from index import build_index
from index.store import Store

WRITERS, READERS = 8, 16

# Adds two items that only come and go together, replaces one that is there, again and again.
WRITE = """
import sys
import numpy as np
from embedder import Embedder
from index import add_item, remove_items

index, model, me, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
embedder = Embedder.open(model)
rng = np.random.default_rng(int(me))
photos = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(9)]
for at in range(rounds):
    # The first lasts; the second is removed together with the one before it.
    add_item(index, embedder, f"stays-{me}-{at}", photos[:1], jobs=1)
    add_item(index, embedder, f"goes-{me}-{at}", photos[:2], jobs=1)
    count = 1 + at % 8
    add_item(index, embedder, f"changes-{me}", photos[:count], replace=True, jobs=1)
    print(f"changes {count}", flush=True)
    if at % 2:
        remove_items(index, [f"goes-{me}-{at - 1}", f"goes-{me}-{at}"])
"""

# Looks at pairs that are removed together, and at items replaced as a whole, until told to end.
READ = """
import sys, threading
import numpy as np
from embedder import CandidateError, Embedder
from index import Matcher
from index.store import Store

index, model, seed, writers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
embedder = Embedder.open(model)
ended, reads = threading.Event(), 0
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
expected = []  # of each writer: photos to the row of the item that it replaces
for writer in range(writers):
    rng = np.random.default_rng(writer)
    photos = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(9)]
    vectors = np.stack(list(embedder.embed(photos, 1)))
    expected.append({n: vectors[:n].mean(axis=0) for n in range(1, 9)})


def look(store):
    rows = store.statistics(f"changes-{writer}" for writer in range(writers))
    for writer in range(writers):
        row = rows.get(f"changes-{writer}")
        if row is None:
            continue
        mean = expected[writer][row.photos]
        length = np.linalg.norm(mean)
        assert np.allclose(row.vector(), mean / length, atol=1e-4), row
        assert abs(row.dispersion - (1 - length ** 2)) < 1e-4, row
    ids = set(store.ids())
    for item in ids:
        kind, _, rest = item.partition("-")
        if kind == "goes":
            writer, at = map(int, rest.split("-"))
            if at % 2 == 0:
                # Its twin is added later; once it was, both go in one commit.
                later = f"stays-{writer}-{at + 2}" in ids
                assert not later, f"{item} was to be removed"
            else:
                assert f"goes-{writer}-{at - 1}" in ids, f"{item} without its twin"
    # A build leaves a generation of catalogue items that come from one catalogue.
    whole = {item[-1] for item in ids if item.startswith("generation")}
    assert len(whole) == 1, sorted(whole)


kept = Matcher.open(index, model)
vector = np.eye(1, embedder.info.architecture.dim, dtype=np.float32)
while not ended.is_set():
    reads += 1
    if seed % 2:
        with Store.open(index) as store:
            look(store)
    else:
        look(kept.store)
        if reads % 20 == 0:
            kept.close()
            kept = Matcher.open(index, model)
    with Matcher.open(index, model) as matcher:
        ids = [item for item in matcher.store.ids() if item.startswith("generation")]
        matcher.match_vectors(vector, ids)
print(reads)
"""


@pytest.fixture
def generations(tmp_path):
    """Two catalogues of other items: a build makes those of one, and no others."""
    folders = []
    for name in "ab":
        write_sample(tmp_path / name, items=3, photos=3, queries=0, size=32)
        folder = tmp_path / name / "catalogue"
        for at, item in enumerate(sorted(folder.iterdir())):
            item.rename(folder / f"generation-{at}-{name}")
        folders.append(read_catalogue(folder))
    return folders


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def test_nothing_is_lost_and_nobody_sees_half_a_commit(
    generations, random_model, random_embedder, tmp_path, rounds
):
    index, each = tmp_path / "items.index", rounds(29, 150)  # 101 commits each, or more
    build_index(generations[0], random_embedder, index)
    readers = [start(READ, index, random_model, at, WRITERS) for at in range(READERS)]
    writers = [start(WRITE, index, random_model, at, each) for at in range(WRITERS)]
    builds = 0
    while any(writer.poll() is None for writer in writers):
        builds += 1
        build_index(generations[builds % 2], random_embedder, index, jobs=1)
        time.sleep(0.2)
    ended = [process.communicate(timeout=120) for process in [*writers, *readers]]
    for process, (_, said) in zip([*writers, *readers], ended, strict=True):
        assert process.returncode == 0, said
        assert "Traceback" not in said
    assert all(int(counted) > 0 for counted, _ in ended[WRITERS:])
    assert builds > 1
    with Store.open(index) as store:
        found = {item for item in store.ids() if not item.startswith("generation")}
        rows = store.statistics(found)
    lasting = each % 2  # the last of an odd number has no twin yet
    expected = {f"stays-{writer}-{at}" for writer in range(WRITERS) for at in range(each)}
    expected |= {f"changes-{writer}" for writer in range(WRITERS)}
    if lasting:
        expected |= {f"goes-{writer}-{each - 1}" for writer in range(WRITERS)}
    assert found == expected
    assert all(rows[f"changes-{at}"].photos == 1 + (each - 1) % 8 for at in range(WRITERS))
