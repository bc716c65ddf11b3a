from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder import CandidateError, Embedder, ModelError
from index import Match, Matcher, build_index
from index.rows import Item
from index.schema import IndexInfo
from index.store_writing import WritableStore

DIM = 4
TEMPERATURE = 0.2


def toward(angle):
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0, 0], dtype=np.float32)


@pytest.fixture
def matcher(tmp_path, stored):
    """Items at 0, 30, 90 and 180 degrees."""
    with WritableStore.create(
        tmp_path / "items.index", IndexInfo("f" * 64, DIM, TEMPERATURE, "")
    ) as store:
        for angle in (0, 30, 90, 180):
            store.put(Item(f"at-{angle}", toward(angle), 5, 0.1, "a.jpg", b""))
        store.commit()
    with Matcher.open(stored(tmp_path / "items.index")) as matcher:
        yield matcher


def vectors(*angles):
    return np.stack([toward(angle) for angle in angles])


def test_scores_runner_up_margin_and_confidence(matcher):
    (found,) = matcher.match_vectors(vectors(10), ["at-0", "at-30", "at-90"], max_error=0.5)
    cosines = np.cos(np.radians([10, 20, 80]))
    assert (found.item_id, found.runner_up, found.status) == ("at-0", "at-30", "matched")
    assert found.score == pytest.approx(cosines[0], abs=1e-6)
    assert found.runner_up_score == pytest.approx(cosines[1], abs=1e-6)
    assert found.margin == pytest.approx(cosines[0] - cosines[1], abs=1e-6)
    softmax = np.exp(cosines / TEMPERATURE) / np.exp(cosines / TEMPERATURE).sum()
    assert found.confidence == pytest.approx(softmax[0], abs=1e-5)
    assert found.none == pytest.approx(0, abs=1e-9)  # nothing is fitted that could say so


def test_one_to_one_takes_the_best_total_and_shows_the_negative_margin(matcher):
    asked = vectors(12, 2)  # both nearest to at-0, the first one less
    alone = matcher.match_vectors(asked, ["at-0", "at-30"], independent=True)
    joint = matcher.match_vectors(asked, ["at-0", "at-30"])
    assert [match.item_id for match in alone] == ["at-0", "at-0"]
    assert [match.item_id for match in joint] == ["at-30", "at-0"]
    assert joint[0].runner_up == "at-0"
    assert joint[0].margin < 0
    assert joint[0].status == "unsure"


def test_only_candidates_are_considered(matcher):
    (found,) = matcher.match_vectors(vectors(0), ["at-90", "at-180"])
    assert found.item_id == "at-90"


def test_a_single_candidate_has_no_runner_up(matcher):
    (found,) = matcher.match_vectors(vectors(5), ["at-0"])
    assert (found.runner_up, found.runner_up_score, found.margin) == (None, None, None)
    assert found.confidence == pytest.approx(1)


def test_quantities_let_several_photos_show_one_item(matcher):
    found = matcher.match_vectors(vectors(0, 1, 2), {"at-0": 2, "at-90": 1})
    assert [match.item_id for match in found] == ["at-0", "at-0", "at-90"]
    assert found.missing == {}


def test_a_million_pieces_cost_nothing(matcher):
    found = matcher.match_vectors(vectors(0, 1, 2), {"at-0": 10**12, "at-90": 1})
    assert [match.item_id for match in found] == ["at-0"] * 3


def test_photos_without_a_piece_left_are_unknown_and_never_guessed(matcher):
    found = matcher.match_vectors(vectors(0, 90, 40), ["at-0", "at-90"])
    assert [match.item_id for match in found] == ["at-0", "at-90", None]
    assert found[2].status in ("unknown", "unsure")
    assert found[2].score is None
    assert found[2].runner_up == "at-0"


def test_missing_counts_pieces(matcher):
    found = matcher.match_vectors(vectors(0, 180), {"at-0": 3, "at-30": 1, "at-180": 1})
    assert found.missing == {"at-0": 2, "at-30": 1}


def test_no_photos_no_matches(matcher):
    for independent in (False, True):
        found = matcher.match_vectors(np.zeros((0, DIM)), ["at-0"], independent=independent)
        assert (list(found), found.missing) == ([], {"at-0": 1})


def test_vectors_of_any_length_but_zero_are_scaled(matcher):
    (one,) = matcher.match_vectors(vectors(10), ["at-0", "at-30"])
    (ten,) = matcher.match_vectors(10 * vectors(10), ["at-0", "at-30"])
    assert ten.score == pytest.approx(one.score)
    for bad in (np.zeros((1, DIM)), np.full((1, DIM), np.nan), np.zeros((1, 3)), np.zeros(DIM)):
        with pytest.raises(ValueError, match="expected"):
            matcher.match_vectors(bad, ["at-0"])


def test_many_photos_go_through_scipy_and_agree_with_the_truth(tmp_path):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(150, DIM)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    with WritableStore.create(tmp_path / "items.index", IndexInfo("f" * 64, DIM, 0.1, "")) as store:
        for number, centre in enumerate(centres):
            store.put(Item(str(number), centre, 1, 0.0, "", b""))
        store.commit()
    order = rng.permutation(150)
    with Matcher.open(tmp_path / "items.index") as matcher:
        found = matcher.match_vectors(centres[order], map(str, range(150)))
    assert [int(match.item_id) for match in found] == order.tolist()
    assert max(match.score for match in found) <= 1  # the cosines of some are rounded above it


def test_unknown_candidates_are_refused_by_name(matcher):
    with pytest.raises(CandidateError, match=r"'at-91' \(nearest: at-90"):
        matcher.match_vectors(vectors(0), ["at-0", "at-91"])


@pytest.fixture(scope="module")
def index(tmp_path_factory, catalogue, random_model):
    path = tmp_path_factory.mktemp("matching") / "items.index"
    build_index(catalogue, Embedder.open(random_model), path)
    return path


@pytest.fixture
def photos(catalogue):
    return [Path(paths[0]) for paths in catalogue.items.values()][:5]


def test_every_kind_of_photo_gives_the_same_match(index, random_model, catalogue, photos):
    path = photos[0]
    with Image.open(path) as image:
        kinds = [path, str(path), path.read_bytes(), image, np.asarray(image)]
        with Matcher.open(index, random_model) as matcher:
            found = matcher.match(kinds, list(catalogue.items), independent=True)
    assert [match.photo for match in found] == [str(path)] * 2 + ["photo 3", "photo 4", "photo 5"]
    # An array cannot be decoded at reduced size, so only its last digits may differ.
    assert len({match.score for match in found[:3]}) == 1
    for match in found:
        assert match.item_id == found[0].item_id
        assert match.score == pytest.approx(found[0].score, abs=1e-3)


def test_an_unreadable_photo_changes_nothing_for_the_others(
    index, random_model, catalogue, photos, tmp_path, stored
):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"<html>")
    with Matcher.open(stored(index), random_model) as matcher:
        good = matcher.match(photos, list(catalogue.items))
        mixed = matcher.match([bad, *photos, tmp_path / "none.jpg"], list(catalogue.items))
    assert mixed[1:-1] == good.matches
    assert mixed[0] == Match(
        str(bad), None, "unreadable", reason="not an image that can be read", unreadable=1
    )
    assert mixed[-1].reason == "no such file"


def test_matching_works_from_several_threads(index, random_model, catalogue, photos, stored):
    with Matcher.open(stored(index), random_model) as matcher:
        expected = matcher.match(photos, list(catalogue.items))
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda _: matcher.match(photos, list(catalogue.items)), range(8))
            assert all(matches == expected for matches in found)


def test_model_is_looked_for_beside_the_index(index, random_model, catalogue, photos):
    with (
        Matcher.open(index) as matcher,
        pytest.raises(ModelError, match=r"items\.model.*embed train"),
    ):
        matcher.match(photos, list(catalogue.items))


def test_model_of_another_index_is_refused(index, trained_model, catalogue, photos):
    with (
        Matcher.open(index, trained_model) as matcher,
        pytest.raises(ModelError, match="built with another model"),
    ):
        matcher.match(photos, list(catalogue.items))
