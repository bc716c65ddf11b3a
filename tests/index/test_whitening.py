"""Tests of the score space of an index: built in any way it is the same, and damage is noticed."""

import shutil
import sqlite3
import warnings
from dataclasses import replace

import numpy as np
import pytest

from embedder import Embedder, IndexFileError, read_catalogue
from embedder.model_files import Architecture, ModelInfo
from index import Matcher, build_index
from index.schema import seal
from index.store import Store
from index.whitening import MOST_ITEMS, read_score_space, sample

DIM = 10
PLAIN, WHITENED = 0.2, 0.4


@pytest.fixture(scope="module")
def embedder(save_random_model):
    """A model with random weights and 10 numbers a photo, that asks for whitening."""
    architecture = Architecture(size=32, dim=DIM)
    info = ModelInfo(architecture, PLAIN, whitened_temperature=WHITENED)
    return Embedder.open(save_random_model(info, 1))


@pytest.fixture
def plain_embedder(embedder):
    """The same model without the wish."""
    return Embedder(replace(embedder.info, whitened_temperature=None), embedder._load)


@pytest.fixture
def folder(part_of_sample):
    return part_of_sample(items=6, photos=6)


def build(folder, embedder, index, **options):
    return build_index(read_catalogue(folder), embedder, index, **options)


def kept(index):
    """What an index has for its score space, byte by byte, and the space itself."""
    with Store.open(index) as store:
        spreads = list(store.spreads())
        space = read_score_space(store)
        return spreads, None if space is None else (space.centre.tolist(), space.matrix.tolist())


def edit(path, statement, *values):
    connection = sqlite3.connect(path)
    changed = connection.execute(statement, values).rowcount
    seal(connection)
    connection.commit()
    connection.close()
    return changed


def embedded(folder, embedder):
    return {
        item.name: np.stack(list(embedder.embed(sorted(item.iterdir())))).astype(np.float64)
        for item in sorted(folder.iterdir())
    }


def test_scores_are_cosines_of_the_inverse_pooled_covariance(folder, embedder, index):
    build(folder, embedder, index)
    vectors = embedded(folder, embedder)
    covariance = sum(np.cov(rows.T) * 5 for rows in vectors.values()) / 30
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / DIM * np.eye(DIM)
    inverse = np.linalg.inv(shrunk)
    means = np.array([rows.mean(axis=0) for rows in vectors.values()])
    centres = means / np.linalg.norm(means, axis=1, keepdims=True)
    middle = centres.mean(axis=0)
    asked = next(iter(vectors.values()))
    with Matcher.open(index) as matcher:
        assert matcher.store.info.whitened
        assert matcher.store.info.temperature == WHITENED
        found = matcher.match_vectors(asked, list(vectors), independent=True)
    for match, vector in zip(found, asked, strict=True):
        v = vector - middle
        cosines = [
            v @ inverse @ c / np.sqrt((v @ inverse @ v) * (c @ inverse @ c))
            for c in centres - middle
        ]
        assert match.item_id == list(vectors)[int(np.argmax(cosines))]
        assert match.score == pytest.approx(max(cosines), abs=1e-4)
        shares = np.exp(np.array(cosines) / WHITENED)
        assert match.confidence == pytest.approx(shares.max() / shares.sum(), abs=1e-3)


def test_the_rows_keep_the_centroids_as_they_are(folder, embedder, index):
    build(folder, embedder, index)
    vectors = embedded(folder, embedder)
    with Store.open(index) as store:
        found, _ = store.centroids(vectors)
    means = np.array([rows.mean(axis=0) for rows in vectors.values()])
    np.testing.assert_allclose(
        found, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6
    )


def test_a_model_that_asks_for_plain_cosines_gets_them(folder, plain_embedder, index):
    build(folder, plain_embedder, index)
    assert kept(index) == ([], None)
    with Store.open(index) as store:
        assert not store.info.whitened
        assert store.info.temperature == PLAIN


def test_a_model_may_change_its_mind(folder, embedder, plain_embedder, index):
    build(folder, embedder, index)
    spreads, space = kept(index)
    assert (len(spreads), space is None) == (6, False)
    assert build(folder, plain_embedder, index).embedded == 0
    assert kept(index) == ([], None)
    assert build(folder, embedder, index).embedded == 0
    assert kept(index) == (spreads, space)


def test_too_few_photos_are_matched_by_plain_cosines(folder, embedder, index):
    for item in folder.iterdir():
        for photo in sorted(item.iterdir())[4:]:  # 24 photos and 18 deviations left; 20 are asked
            photo.unlink()
    build(folder, embedder, index)
    assert kept(index)[1] is None
    with Store.open(index) as store:
        assert (store.info.whitened, store.info.temperature) == (False, PLAIN)


def test_items_of_one_photo_are_not_in_the_sample(folder, embedder, index):
    first = min(folder.iterdir())
    for photo in sorted(first.iterdir())[1:]:
        photo.unlink()
    build(folder, embedder, index)
    spreads, _ = kept(index)
    assert len(spreads) == 5
    assert first.name not in dict(spreads)


def test_sample_is_bounded_and_hangs_on_the_ids_alone():
    photos = {f"sku-{number}": "ab" for number in range(3 * MOST_ITEMS)}
    chosen = sample(photos)
    assert len(chosen) == MOST_ITEMS
    assert sample(dict(reversed(photos.items()))) == chosen
    fewer = {item: two for item, two in photos.items() if item not in list(chosen)[:10]}
    assert len(sample(fewer) & chosen) == MOST_ITEMS - 10
    thirds = [sum(int(item[4:]) // MOST_ITEMS == third for item in chosen) for third in range(3)]
    assert min(thirds) > MOST_ITEMS / 4


def test_brought_up_to_date_is_as_built_at_once(folder, embedder, index, tmp_path, monkeypatch):
    monkeypatch.setattr("index.whitening.MOST_ITEMS", 4)
    items = sorted(folder.iterdir())
    shutil.move(items[5], tmp_path / "later")
    build(folder, embedder, index)
    before, _ = kept(index)
    assert len(before) == 4
    shutil.rmtree(folder / before[0][0])  # another takes its place
    (folder / before[1][0] / "0003.jpg").unlink()
    shutil.move(tmp_path / "later", items[5])
    build(folder, embedder, index)
    build(folder, embedder, tmp_path / "once.index")
    assert kept(index) == kept(tmp_path / "once.index")
    assert len(kept(index)[0]) == 4
    assert build(folder, embedder, index).embedded == 0


def test_an_interrupted_build_ends_as_one_that_was_not(
    folder, embedder, index, tmp_path, monkeypatch
):
    build(folder, embedder, tmp_path / "once.index")

    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, embedder, index, on_progress=stop)
    assert build(folder, embedder, index).embedded == 36 - 24
    assert kept(index) == kept(tmp_path / "once.index")


@pytest.mark.parametrize("content", [b"", b"short", "text", 7, None, "one byte"])
def test_a_damaged_spread_is_collected_again(folder, embedder, index, content):
    build(folder, embedder, index)
    expected = kept(index)
    item_id, whole = expected[0][2]
    if content == "one byte":
        content = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    if content is None:
        edit(index, "DELETE FROM spreads WHERE item_id = ?", item_id)
    else:
        edit(index, "UPDATE spreads SET content = ? WHERE item_id = ?", content, item_id)
    assert kept(index)[1] == expected[1]  # matching does not need it
    assert build(folder, embedder, index).embedded == 0
    assert kept(index) == expected


def test_a_spread_whose_id_is_damaged_is_collected_again(folder, embedder, index):
    build(folder, embedder, index)
    expected = kept(index)
    item_id, _ = expected[0][2]
    edit(index, "UPDATE spreads SET item_id = ? WHERE item_id = ?", b"\xff", item_id)
    assert build(folder, embedder, index).embedded == 0
    spreads, space = kept(index)
    assert [row for row in spreads if isinstance(row[0], str)] == expected[0]
    assert space == expected[1]


def test_spreads_swapped_between_items_are_damage(folder, embedder, index):
    build(folder, embedder, index)
    expected = kept(index)
    (first, one), (second, other) = expected[0][:2]
    edit(index, "UPDATE spreads SET content = ? WHERE item_id = ?", other, first)
    edit(index, "UPDATE spreads SET content = ? WHERE item_id = ?", one, second)
    assert build(folder, embedder, index).embedded == 0
    assert kept(index) == expected


@pytest.mark.parametrize("content", [b"", "text", 7, "one byte", "too short", "gone"])
def test_a_damaged_score_space_is_named_and_the_next_build_mends_it(
    folder, embedder, index, content
):
    build(folder, embedder, index)
    expected = kept(index)
    with Store.open(index) as store:
        whole = store.part("score_space")
        ids = list(store.ids())
    changed = {
        "one byte": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "too short": whole[4:],
    }.get(content, content)
    if content == "gone":
        assert edit(index, "DELETE FROM meta WHERE key = 'score_space'") == 1
    else:
        edit(index, "UPDATE meta SET value = ? WHERE key = 'score_space'", changed)
    with (
        Matcher.open(index) as matcher,
        pytest.raises(IndexFileError, match=r"items\.index: its score space is damaged.*--repair"),
    ):
        matcher.match_vectors(np.ones((1, DIM)), ids)
    assert build(folder, embedder, index).embedded == 0
    assert kept(index) == expected


def test_whether_it_is_whitened_is_never_guessed(folder, embedder, index):
    build(folder, embedder, index)
    edit(index, "UPDATE meta SET value = 'Tru' WHERE key = 'whitened'")
    with pytest.raises(IndexFileError, match="description is damaged"):
        Store.open(index)


def test_scores_stay_within_one_and_no_warning_is_given(folder, embedder, index):
    build(folder, embedder, index)
    with Matcher.open(index) as matcher:
        ids = list(matcher.store.ids())
        space = read_score_space(matcher.store)
        rows, _ = matcher.store.centroids(ids)
        rng = np.random.default_rng(0)
        asked = np.concatenate([rng.normal(size=(200, DIM)), rows, -rows, space.centre[None]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = matcher.match_vectors(asked, ids, independent=True)
    scores = np.array([[match.score, match.runner_up_score] for match in found])
    assert np.isfinite(scores).all()
    assert (np.abs(scores) <= 1).all()
    assert [match.item_id for match in found[200:206]] == ids


def test_a_bad_photo_changes_nothing_for_the_others(folder, embedder, index, tmp_path):
    build(folder, embedder, index)
    photos = [sorted(item.iterdir())[4] for item in sorted(folder.iterdir())]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"<html>")
    with Matcher.open(index) as matcher:
        matcher.embedder = embedder
        good = matcher.match(photos, [photo.parent.name for photo in photos])
        mixed = matcher.match([bad, *photos], [photo.parent.name for photo in photos])
    assert mixed[1:] == good.matches
    assert mixed[0].status == "unreadable"
