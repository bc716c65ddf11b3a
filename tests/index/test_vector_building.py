import subprocess
import sys

import numpy as np
import pytest

from embedder import CatalogueError, IndexFileError, ModelError, read_catalogue
from embedder.labelled_vectors import LabelledVectors
from index import (
    Matcher,
    add_item,
    add_vectors,
    build_from_vectors,
    build_index,
    remove_items,
    verify_index,
)
from index.calibration import read_calibration
from index.store import Store


@pytest.fixture(scope="module")
def photos(catalogue, random_embedder):
    """The sample embedded with a real model, and the item of each photo."""
    vectors = np.stack(list(random_embedder.embed(catalogue.paths())))
    return vectors, [item for item, paths in catalogue.items.items() for _ in paths]


@pytest.fixture(scope="module")
def many():
    """Vectors of 40 items with 30 photos each, whose photos differ much along five directions."""
    rng = np.random.default_rng(0)
    items = [f"item {at:02d}" for at in range(40) for _ in range(30)]
    own = np.repeat(rng.normal(size=(40, 24)), 30, axis=0)
    spread = rng.normal(size=(len(items), 24)) * np.where(np.arange(24) < 5, 4.0, 1.5)
    return (own + spread).astype(np.float32), items


def test_the_same_matches_as_with_a_model_and_its_photos(
    photos, sample, catalogue, random_embedder, random_model, tmp_path
):
    vectors, items = photos
    build_index(catalogue, random_embedder, tmp_path / "photos.index")
    order = np.random.default_rng(1).permutation(len(items))
    report = build_from_vectors(
        3.0 * vectors[order], [items[at] for at in order], tmp_path / "vectors.index"
    )
    assert (report.items, report.photos) == (12, 144)
    asked = np.stack(list(random_embedder.embed(sorted((sample / "photos").iterdir()))))
    ids = sorted(catalogue.items)
    with (
        Matcher.open(tmp_path / "photos.index", random_model) as ours,
        Matcher.open(tmp_path / "vectors.index") as theirs,
    ):
        np.testing.assert_allclose(
            theirs.store.centroids(ids)[0], ours.store.centroids(ids)[0], atol=1e-6
        )
        # Confidences are another matter: the random model held out no photos to fit them to.
        for mode in (True, False):
            found = [
                matcher.match_vectors(asked, ids, independent=mode, unknown=0)
                for matcher in (ours, theirs)
            ]
            assert [a.item_id for a in found[0]] == [b.item_id for b in found[1]]
            scores = [[match.score for match in matches] for matches in found]
            np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_confidences_are_those_of_a_build_with_the_same_held_out_vectors(
    photos, catalogue, random_embedder, tmp_path
):
    vectors, items = photos
    rng = np.random.default_rng(2)
    asked = vectors + 0.01 * rng.normal(size=vectors.shape).astype(np.float32)
    build_from_vectors(vectors, items, tmp_path / "one.index", held_out=(asked, items))
    # `embed calibrate` with photos that have the same vectors.
    build_index(catalogue, random_embedder, tmp_path / "two.index")
    from index.calibrating import background, calibrate

    unit = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    with Store.open(tmp_path / "two.index") as store:
        wanted = calibrate(
            store, LabelledVectors(unit, tuple(items)), background(store), given=True
        )
    with Store.open(tmp_path / "one.index") as store:
        found = read_calibration(store)
    assert found.photos == wanted.photos == 144 and found.given
    np.testing.assert_allclose(found.temperatures, wanted.temperatures, rtol=1e-3)
    np.testing.assert_allclose(found.outside, wanted.outside, rtol=1e-2, atol=1e-2)


def test_confidences_hold_for_photos_of_the_same_kind(many, tmp_path):
    vectors, items = many
    kept = np.arange(len(items)) % 30 < 20
    report = build_from_vectors(
        vectors[kept],
        [item for item, keep in zip(items, kept, strict=True) if keep],
        tmp_path / "items.index",
    )
    assert report.calibrated == 800
    asked = np.flatnonzero(~kept)
    rng = np.random.default_rng(3)
    confidences, right = [], []
    with Matcher.open(tmp_path / "items.index") as matcher:
        for _ in range(150):
            rows = rng.choice(asked, 10, replace=False)
            ids = sorted({items[row] for row in rows})
            for match, row in zip(
                matcher.match_vectors(vectors[rows], ids, independent=True), rows, strict=True
            ):
                confidences.append(match.confidence)
                right.append(match.item_id == items[row])
    assert 0.3 < np.mean(right) < 0.999
    assert np.mean(confidences) == pytest.approx(np.mean(right), abs=0.05)


def test_whitens_where_that_tells_items_better_apart_and_only_there(many, tmp_path):
    vectors, items = many
    assert build_from_vectors(vectors, items, tmp_path / "a.index").whitened
    rng = np.random.default_rng(4)
    own = np.repeat(np.eye(24)[:20], 30, axis=0)  # photos differ as much along all directions
    even = own + 0.4 * rng.normal(size=own.shape)
    ids = [str(at // 30) for at in range(600)]
    held_out = (own + 0.4 * rng.normal(size=own.shape), ids)
    report = build_from_vectors(even, ids, tmp_path / "b.index", held_out=held_out)
    with Store.open(tmp_path / "b.index") as store:
        assert store.info.whitened == report.whitened
        assert not list(store.spreads())  # no build adds to them


def test_an_item_is_added_replaced_and_removed(many, tmp_path):
    vectors, items = many
    path = tmp_path / "items.index"
    build_from_vectors(vectors[:-30], items[:-30], path)
    new = items[-1]
    assert add_vectors(path, new, vectors[-30:-5]) == 25
    with Matcher.open(path) as matcher:
        found = matcher.match_vectors(vectors[-5:], [new, *items[:300:30]], unknown=0, max_error=1)
        assert sum(match.item_id == new for match in found) <= 1  # one to one
        alone = matcher.match_vectors(
            vectors[-5:], [new, *items[:300:30]], independent=True, unknown=0
        )
        assert sum(match.item_id == new for match in alone) >= 4
    with pytest.raises(CatalogueError, match="has an item"):
        add_vectors(path, new, vectors[-5:])
    assert add_vectors(path, new, vectors[-5:], replace=True) == 5
    assert remove_items(path, [new]) == 1
    assert verify_index(path).problems == ()


def test_models_and_photos_are_refused(
    photos, sample, catalogue, random_embedder, random_model, tmp_path
):
    vectors, items = photos
    path = tmp_path / "items.index"
    build_from_vectors(vectors, items, path)
    some = sorted((sample / "photos").iterdir())
    with Matcher.open(path, random_model) as matcher, pytest.raises(ModelError, match="vectors"):
        matcher.match(some, [items[0], items[-1]])
    with pytest.raises(ModelError, match="vectors"):
        add_item(path, random_embedder, "new", some)
    other = tmp_path / "photos.index"
    build_index(catalogue, random_embedder, other)
    with pytest.raises(ModelError, match="embed add"):
        add_vectors(other, "new", vectors[:3])
    # A build from photos takes its place, and says what it could not take over.
    folder = read_catalogue(sample / "catalogue")
    report = build_index(folder, random_embedder, path)
    assert (report.items, report.lost) == (12, ())


def test_commands_say_in_one_line_that_there_is_no_model(photos, sample, tmp_path, embed):
    vectors, items = photos
    build_from_vectors(vectors, items, tmp_path / "items.index")
    (tmp_path / "ids.txt").write_text(f"{items[0]}\n")
    folder = sample / "photos"
    for command in (["match", "--candidates", "ids.txt", folder], ["add", "new", folder]):
        done = embed(*command)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "built from vectors" in done.stderr
    done = embed("verify")
    assert done.returncode == 0
    assert "whole, 12 items" in done.stdout
    damaged = (tmp_path / "items.index").read_bytes()
    place = damaged.index(items[0].encode()) + 40
    (tmp_path / "items.index").write_bytes(
        damaged[:place] + bytes([damaged[place] ^ 1]) + damaged[place + 1 :]
    )
    done = embed("verify")
    assert done.returncode == 1
    assert "build it from its vectors again" in done.stderr


def test_bad_vectors_leave_the_old_index(photos, tmp_path):
    vectors, items = photos
    path = tmp_path / "items.index"
    build_from_vectors(vectors, items, path)
    before = path.read_bytes()
    broken = vectors.copy()
    broken[3, 5] = np.nan
    for given, ids, error in (
        (vectors[0], items[:1], ValueError),
        (vectors, items[:-1], ValueError),
        (broken, items, ValueError),
        (np.zeros_like(vectors), items, ValueError),
        (vectors[:0], [], CatalogueError),
        (vectors, ["#", *items[1:]], CatalogueError),
    ):
        with pytest.raises(error):
            build_from_vectors(given, ids, path)
    with pytest.raises(ValueError, match="shape"):
        build_from_vectors(vectors, items, path, held_out=(vectors[:, 1:], items))
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.building*"))
    (tmp_path / "other.txt").write_text("not an index")
    with pytest.raises(IndexFileError):
        build_from_vectors(vectors, items, tmp_path / "other.txt")


def test_needs_no_training_library():
    code = "import sys; from index import build_from_vectors; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "index.vector_building" in done.stdout.split()
    assert not {"tensorflow", "keras"} & set(done.stdout.split())
