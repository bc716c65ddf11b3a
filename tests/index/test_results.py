import json
import sys
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from embedder import MissingExtraError
from index import Match, Matches
from index.deciding import Decision
from index.describing import CandidateSet, describe
from index.results import Alternative

ALTERNATIVES = (Alternative("a", 0.75, 0.9), Alternative("b", 0.2, 0.5))
SURE = Match(
    "1.jpg", "a", "matched", 0.75, 0.9, "b", 0.5, 0.4, 0.05, None, 2, alternatives=ALTERNATIVES
)
BAD = Match("2.jpg", None, "unreadable", reason="no such file")
FOUND = Matches((SURE, BAD), {"b": 2})


def test_matches_are_a_sequence():
    assert len(FOUND) == 2
    assert list(FOUND) == [SURE, BAD]
    assert (FOUND[0], FOUND[-1], FOUND[:1]) == (SURE, BAD, (SURE,))
    assert BAD in FOUND
    assert FOUND.index(BAD) == 1
    assert list(reversed(FOUND)) == [BAD, SURE]
    assert not Matches((), {"a": 1})
    with pytest.raises(IndexError):
        FOUND[2]


def test_results_cannot_be_changed():
    for thing, name in ((SURE, "item_id"), (FOUND, "matches"), (ALTERNATIVES[0], "score")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)
        assert not hasattr(thing, "__dict__")


def test_to_dict_has_all_in_order():
    found = FOUND.to_dict()
    assert list(found) == ["matches", "missing"]
    assert found["missing"] == {"b": 2}
    first, second = found["matches"]
    assert list(first) == list(second) == [field.name for field in fields(Match)]
    assert first == SURE.to_dict()
    assert (first["photo"], first["item_id"], first["views"]) == ("1.jpg", "a", 2)
    assert list(first["alternatives"]) == [
        {"item_id": "a", "confidence": 0.75, "score": 0.9},
        {"item_id": "b", "confidence": 0.2, "score": 0.5},
    ]
    assert second["reason"] == "no such file"
    assert second["confidence"] is None


def test_to_dict_is_plain_lists_and_dictionaries():
    assert json.loads(json.dumps(FOUND.to_dict())) == FOUND.to_dict()


def test_to_dict_is_a_copy():
    FOUND.to_dict()["missing"]["b"] = 9
    assert FOUND.missing == {"b": 2}


def test_a_frame_has_a_row_a_match_without_the_alternatives():
    pd = pytest.importorskip("pandas")
    frame = FOUND.to_dataframe()
    names = [field.name for field in fields(Match) if field.name != "alternatives"]
    assert list(frame.columns) == names
    assert frame["photo"].tolist() == ["1.jpg", "2.jpg"]
    assert frame["status"].tolist() == ["matched", "unreadable"]
    assert frame["confidence"][0] == 0.75
    assert pd.isna(frame["confidence"][1])
    assert frame["views"].tolist() == [2, 0]
    empty = Matches((), {}).to_dataframe()
    assert (len(empty), list(empty.columns)) == (0, names)


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"to_dataframe needs the extra \[pandas\]"):
        FOUND.to_dataframe()


def candidates(count=3, angles=None):
    angles = np.radians(np.linspace(0, 180, count) if angles is None else angles)
    centroids = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = tuple("abcdefghijkl"[: len(centroids)])
    return CandidateSet(ids, np.ones(len(ids), np.int64), centroids, np.zeros((0, 2), np.float32))


def described(chosen, shares, scores=None, known=None, max_error=0.05):
    known = known or candidates(len(shares))
    decision = Decision(np.array([chosen]), np.array([shares], dtype=np.float64))
    scores = np.linspace(0.9, 0.1, len(shares)) if scores is None else np.array(scores)
    (found,) = describe(decision, scores[None], known, max_error)
    return found


@pytest.mark.parametrize(
    ("chosen", "shares", "max_error", "status"),
    [
        (0, [0.96, 0.02, 0.0], 0.05, "matched"),
        (0, [0.94, 0.02, 0.0], 0.05, "unsure"),
        (0, [0.94, 0.02, 0.0], 0.06, "matched"),
        (0, [0.01, 0.02, 0.0], 1, "matched"),
        (-1, [0.02, 0.01, 0.0], 0.05, "unknown"),
        (-1, [0.1, 0.1, 0.0], 0.05, "unsure"),
        (-1, [0.1, 0.1, 0.0], 0.25, "unknown"),
    ],
)
def test_status_is_by_the_probability_of_being_wrong(chosen, shares, max_error, status):
    found = described(chosen, shares, max_error=max_error)
    assert found.status == status
    assert found.item_id == (None if chosen < 0 else "a")
    none = 1 - sum(shares)
    assert found.none == pytest.approx(none)
    assert found.confidence == pytest.approx(none if chosen < 0 else shares[0])
    assert (found.reason is None) == (status != "unsure")


def test_score_margin_and_runner_up_are_of_the_likeliest_other():
    found = described(0, [0.3, 0.1, 0.6], scores=[0.9, 0.8, 0.5])
    assert (found.score, found.runner_up, found.runner_up_score) == (0.9, "c", 0.5)
    assert found.margin == pytest.approx(0.4)
    none = described(-1, [0.3, 0.1, 0.2])
    assert (none.score, none.margin, none.runner_up) == (None, None, "a")


def test_equal_shares_are_ordered_by_score():
    found = described(0, [0.4, 0.3, 0.3], scores=[0.9, 0.2, 0.3])
    assert found.runner_up == "c"


@pytest.mark.parametrize(
    ("chosen", "shares", "scores", "angles", "reason"),
    [
        (-1, [0.1, 0.2, 0.0], [0.5, 0.5, 0.5], None, "may show b"),
        (0, [0.5, 0.1, 0.0], [0.5, 0.4, 0.1], None, "far from every candidate"),
        (0, [0.5], [0.5], [0], "far from every candidate"),
        (0, [0.3, 0.6, 0.0], [0.5, 0.6, 0.1], None, "b is likelier by itself"),
        (0, [0.6, 0.3, 0.05], [0.9, 0.8, 0.1], [0, 20, 90], "b is a look-alike item"),
        (0, [0.6, 0.3, 0.05], [0.9, 0.8, 0.1], [0, 85, 170], "the margin to b is small"),
    ],
)
def test_what_is_doubtful_is_said(chosen, shares, scores, angles, reason):
    known = candidates(len(shares), angles)
    assert described(chosen, shares, scores, known).reason == reason


def test_alternatives_are_the_five_likeliest_in_order():
    shares = [0.05, 0.3, 0.1, 0.2, 0.01, 0.15, 0.12]
    found = described(1, shares)
    assert [other.item_id for other in found.alternatives] == ["b", "d", "f", "g", "c"]
    assert [other.confidence for other in found.alternatives] == [0.3, 0.2, 0.15, 0.12, 0.1]
    scores = np.linspace(0.9, 0.1, 7)
    assert found.alternatives[0].score == pytest.approx(scores[1])
    assert len(described(0, [0.5, 0.2]).alternatives) == 2


def test_what_was_chosen_is_among_the_alternatives():
    # Seven alike photos and items: each is as likely in each, and one to one gets the last.
    found = described(6, [1 / 7] * 7)
    assert found.item_id == "g"
    assert "g" in [other.item_id for other in found.alternatives]


def test_missing_are_the_pieces_that_no_match_was_given():
    known = CandidateSet(("a", "b", "c"), np.array([1, 3, 1]), np.zeros((3, 2)), np.zeros((0, 2)))
    matches = [SURE, Match("3.jpg", "b", "unsure"), BAD, Match("4.jpg", None, "unknown")]
    assert known.missing(matches) == {"b": 2, "c": 1}
    assert known.missing([SURE, SURE]) == {"b": 3, "c": 1}  # each photo by itself may do so
