"""Tests of photos that come one by one, and of several photos of one object."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embedder import CandidateError
from index import Match, Matcher, Views, build_index
from index.calibration import Calibration, write_calibration
from index.rows import Item
from index.schema import IndexInfo
from index.store_writing import WritableStore

DIM = 4
TEMPERATURE = 0.2


def toward(*angles):
    radians = np.radians(angles)
    rest = np.zeros((len(angles), DIM - 2))
    rows = np.concatenate([np.cos(radians)[:, None], np.sin(radians)[:, None], rest], axis=1)
    return rows.astype(np.float32)


def write_index(path, calibration=None):
    """Items at 0, 30, 90 and 180 degrees."""
    with WritableStore.create(path, IndexInfo("f" * 64, DIM, TEMPERATURE, "")) as store:
        for angle in (0, 30, 90, 180):
            store.put(Item(f"at-{angle}", toward(angle)[0], 5, 0.1, "a.jpg", b""))
        if calibration is not None:
            from index.calibrating import background

            write_calibration(store, calibration, background(store))
        store.commit()
    return path


@pytest.fixture
def matcher(tmp_path):
    with Matcher.open(write_index(tmp_path / "items.index")) as matcher:
        yield matcher


@pytest.fixture(scope="module")
def index(tmp_path_factory, catalogue, random_embedder):
    path = tmp_path_factory.mktemp("session") / "items.index"
    build_index(catalogue, random_embedder, path)
    return path


@pytest.fixture
def of_photos(index, random_embedder):
    """A matcher of the sample with a model that is not trained."""
    with Matcher.open(index) as matcher:
        matcher.embedder = random_embedder
        yield matcher


@pytest.fixture
def photos(catalogue):
    return [Path(paths[0]) for paths in catalogue.items.values()][:6]


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"<html>")
    return path


def test_one_by_one_ends_as_all_at_once(of_photos, catalogue, photos, bad):
    candidates = dict.fromkeys(list(catalogue.items)[:5], 1)
    given = [*photos[:3], bad, Views("two", (photos[3], photos[4])), photos[5].read_bytes()]
    at_once = of_photos.match(given, candidates)
    session = of_photos.session(candidates)
    for number, photo in enumerate(given, start=1):
        latest = session.add(photo)
        assert latest == session.matches[-1]
        assert session.matches == of_photos.match(given[:number], candidates)
    assert session.matches == at_once
    assert at_once[-1].photo == "photo 6"
    assert [match.views for match in at_once] == [1, 1, 1, 0, 2, 1]


def test_some_at_a_time_end_as_all_at_once(of_photos, catalogue, photos):
    candidates = list(catalogue.items)
    session = of_photos.session(candidates, unknown=0.3, max_error=0.4)
    assert len(session.extend(photos[:4])) == 4
    assert session.extend([]) == session.matches
    found = session.extend(photos[4:], jobs=1)
    assert found == of_photos.match(photos, candidates, unknown=0.3, max_error=0.4)


def test_numbered_photos_go_on_being_numbered(of_photos, catalogue, photos):
    session = of_photos.session(list(catalogue.items))
    names = [session.add(photo.read_bytes()).photo for photo in photos[:3]]
    assert names == ["photo 1", "photo 2", "photo 3"]


def test_a_later_photo_takes_an_item_from_an_earlier_one(matcher):
    session = matcher.session(["at-0", "at-30"])
    (first,) = session.extend_vectors(toward(12), None, None)
    assert first.item_id == "at-0"
    revised = session.extend_vectors(toward(2), ["second"], None)
    assert [match.item_id for match in revised] == ["at-30", "at-0"]
    assert [match.photo for match in revised] == ["photo 1", "second"]
    assert session.matches == revised
    assert first.item_id == "at-0"  # what was returned earlier stays as it was


def test_missing_gets_less_with_each_photo(matcher):
    session = matcher.session({"at-0": 2, "at-90": 1})
    assert session.matches.missing == {"at-0": 2, "at-90": 1}
    assert session.extend_vectors(toward(1), None, None).missing == {"at-0": 1, "at-90": 1}
    assert session.extend_vectors(toward(2, 91), None, None).missing == {}


def test_a_session_before_its_first_photo(matcher):
    assert list(matcher.session(["at-0"]).matches) == []


def test_views_of_one_object_are_matched_by_their_mean_score(matcher):
    found = matcher.match_vectors(toward(10, 24, 85), ["at-0", "at-30", "at-90"], objects=[0, 0, 1])
    assert [match.item_id for match in found] == ["at-30", "at-90"]
    assert [match.views for match in found] == [2, 1]
    cosines = np.cos(np.radians([[10, 24], [20, 6]])).mean(axis=1)
    assert found[0].score == pytest.approx(cosines[1], abs=1e-6)
    assert found[0].runner_up_score == pytest.approx(cosines[0], abs=1e-6)


def test_more_views_make_surer_by_what_they_are_worth(tmp_path):
    found = []
    for number, worth in enumerate((0.0, 0.5, 1.0)):
        fitted = Calibration(
            (2,), (TEMPERATURE,), (0.0,), (0.0,), (-20.0,), (1.0,), views=worth, photos=99
        )
        with Matcher.open(write_index(tmp_path / f"{number}.index", fitted)) as matcher:
            (one,) = matcher.match_vectors(toward(10), ["at-0", "at-30"], independent=True)
            (two,) = matcher.match_vectors(
                toward(10, 10), ["at-0", "at-30"], objects=[0, 0], independent=True
            )
        found.append(two.confidence)
        if worth == 0:
            assert two.confidence == pytest.approx(one.confidence)
            assert two.score == pytest.approx(one.score)
    assert found == sorted(found)
    assert found[2] > found[0] + 0.05


def test_the_order_of_views_does_not_matter(matcher):
    asked = toward(3, 88, 5, 93)
    mixed = matcher.match_vectors(asked, ["at-0", "at-90"], objects=[0, 1, 0, 1])
    sorted_out = matcher.match_vectors(asked[[2, 0, 3, 1]], ["at-0", "at-90"], objects=[0, 0, 1, 1])
    for one, other in zip(mixed, sorted_out, strict=True):
        assert one.item_id == other.item_id
        assert one.confidence == pytest.approx(other.confidence)


def test_an_unreadable_view_is_reported_and_does_not_count(of_photos, catalogue, photos, bad):
    candidates = list(catalogue.items)
    (good,) = of_photos.match([Views("one", tuple(photos[:2]))], candidates)
    (mixed,) = of_photos.match([Views("one", (photos[0], bad, photos[1]))], candidates)
    said = f"{bad}: not an image that can be read"
    assert mixed.views == good.views == 2
    assert mixed.reason == (f"{good.reason}; {said}" if good.reason else said)
    for name in ("item_id", "confidence", "score", "status", "alternatives"):
        assert getattr(mixed, name) == getattr(good, name)


def test_an_object_without_a_readable_view_is_unreadable(of_photos, catalogue, photos, bad):
    bads = tuple([bad, bad.with_name("no.jpg")] * 3)
    found = of_photos.match([Views("box", bads), photos[0]], list(catalogue.items))
    assert found[0] == Match(
        "box",
        None,
        "unreadable",
        reason=f"{bad}: not an image that can be read; {bads[1]}: no such file; "
        f"{bad}: not an image that can be read and 3 more",
        unreadable=6,
    )
    assert found[1:] == of_photos.match([photos[0]], list(catalogue.items)).matches


def test_views_of_one_photo_are_that_photo(of_photos, catalogue, photos):
    (alone,) = of_photos.match(photos[:1], list(catalogue.items))
    (view,) = of_photos.match([Views(str(photos[0]), (photos[0],))], list(catalogue.items))
    assert view == alone


def test_an_object_of_no_photo_is_refused(of_photos, catalogue, photos):
    session = of_photos.session(list(catalogue.items))
    session.add(photos[0])
    before = session.matches
    with pytest.raises(ValueError, match="expected one photo or more of 'none'"):
        session.extend([photos[1], Views("none", ())])
    assert session.matches == before


@pytest.mark.parametrize(
    "objects", [[0], [0, 1, 2, 3], [0, 2, 2], [1, 1, 2], [-1, 0, 1], [], [1, 2, 3]]
)
def test_objects_that_are_not_numbered_are_refused(matcher, objects):
    with pytest.raises(ValueError, match="expected an object of each of 3 vectors, numbered 0, 1"):
        matcher.match_vectors(toward(0, 1, 2), ["at-0"], objects=objects)


def test_too_few_or_many_names_are_refused(matcher):
    for names, objects in (
        (["a"], None),
        (["a", "b", "c"], None),
        (["a", "b"], [0, 0]),
        ([], None),
    ):
        with pytest.raises(ValueError, match="expected a name of each of"):
            matcher.match_vectors(toward(0, 1), ["at-0"], names=names, objects=objects)


def test_a_refusal_changes_nothing(matcher):
    session = matcher.session(["at-0", "at-90"])
    before = session.extend_vectors(toward(3), None, None)
    with pytest.raises(ValueError, match="expected"):
        session.extend_vectors(toward(3, 5), ["one"], None)
    with pytest.raises(ValueError, match="expected"):
        session.extend_vectors(toward(3, 5), None, [0, 7])
    assert session.matches == before
    assert session.extend_vectors(toward(91), None, None)[1].item_id == "at-90"


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_objects_of_any_sequence(matcher, kind):
    found = matcher.match_vectors(
        toward(1, 2, 91), ["at-0", "at-90"], names=("a", "b"), objects=kind([0, 0, 1])
    )
    assert [match.photo for match in found] == ["a", "b"]
    assert [match.views for match in found] == [2, 1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unknown": -0.1}, "share of unknown from 0 to 1"),
        ({"unknown": 1.1}, "share of unknown from 0 to 1"),
        ({"unknown": float("nan")}, "share of unknown from 0 to 1"),
        ({"max_error": 0}, "a max_error above 0"),
        ({"max_error": 1.1}, "a max_error above 0"),
        ({"max_error": float("nan")}, "a max_error above 0"),
    ],
)
def test_shares_out_of_range_are_refused(matcher, options, says):
    with pytest.raises(ValueError, match=says):
        matcher.match_vectors(toward(0), ["at-0"], **options)
    with pytest.raises(ValueError, match=says):
        matcher.session(["at-0"], **options)


def test_a_session_of_unknown_candidates_is_refused(matcher):
    with pytest.raises(CandidateError, match="no such item: 'at-91'"):
        matcher.session(["at-91"])


def test_several_threads_have_a_session_each(of_photos, catalogue, photos):
    candidates = list(catalogue.items)

    def one_by_one(turn):
        order = np.roll(np.arange(len(photos)), turn)
        session = of_photos.session(candidates)
        for at in order:
            session.add(photos[at])
        return order, session.matches

    with ThreadPoolExecutor(4) as pool:
        for order, found in pool.map(one_by_one, range(8)):
            assert found == of_photos.match([photos[at] for at in order], candidates)
