"""How much of what was planted an audit found, and how much of what it found was planted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from audit_planting import Planted

from embedder.score_space import unit
from index import Audit

MOST_PRINTED = 25

Pair = frozenset[str]


@dataclass(frozen=True)
class Truth:
    """What was planted; photos are paths in the polluted catalogue.

    Attributes:
        swapped: photos, with the item they show.
        misplaced: copies under another item, with the item they show.
        copies: pairs of photos, and what was done; foreign photos drawn twice are such, too.
        outliers: photos, and what they are.
        places: the item that each of these is filed under.
    """

    swapped: dict[str, str]
    misplaced: dict[str, str]
    copies: dict[Pair, str]
    outliers: dict[str, str]
    places: dict[str, str]

    @classmethod
    def of(cls, planted: Sequence[Planted], folder: Path) -> Truth:
        """From what `plant` wrote."""
        swapped, misplaced, outliers = {}, {}, {}
        copies: dict[Pair, str] = {}
        places: dict[str, str] = {}
        contents: dict[bytes, list[str]] = {}
        for one in planted:
            photo = str(folder / one.photo)
            places[photo] = one.item_id
            if one.kind == "swapped":
                swapped[photo] = one.true_item
            elif one.kind == "outlier":
                outliers[photo] = one.how
                contents.setdefault(Path(photo).read_bytes(), []).append(photo)
            else:
                copies[frozenset({photo, str(folder / one.of)})] = one.how
                if one.item_id != one.true_item:
                    misplaced[photo] = one.true_item
        for same in contents.values():
            for other in same[1:]:
                copies[frozenset({same[0], other})] = "planted twice"
        return cls(swapped, misplaced, copies, outliers, places)


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole} = {part / whole:.3f}" if whole else f"{part}/{whole}"


def report(found: Audit, truth: Truth, called: str, items: set[str]) -> None:
    """Print precision and recall, of what is filed under some items."""
    print(f"\n{called}")
    _print_mislabelled(found, truth, items)
    _print_copies(found, truth, items)
    listed = {one.photo for one in found.outliers if one.item_id in items}
    wanted = {photo for photo in truth.outliers if truth.places[photo] in items}
    _print(
        f"outliers ({len(wanted)} planted)",
        len(listed & wanted),
        len(listed),
        wanted & listed,
        wanted,
    )
    for how in sorted(set(truth.outliers.values())):
        some = {photo for photo in wanted if truth.outliers[photo] == how}
        print(f"    {how}: found {_share(len(some & listed), len(some))}")
    _list("not planted", sorted(listed - wanted))


def _print(
    called: str, right: int, listed: int, recalled: Iterable[object], wanted: Iterable[object]
) -> None:
    print(
        f"{called}: precision {_share(right, listed)}, "
        f"recall {_share(len(list(recalled)), len(list(wanted)))}"
    )


def _list(called: str, names: Sequence[str]) -> None:
    for name in names[:MOST_PRINTED]:
        print(f"    {called}: {name}")
    if len(names) > MOST_PRINTED:
        print(f"    and {len(names) - MOST_PRINTED} more")


def _print_mislabelled(found: Audit, truth: Truth, items: set[str]) -> None:
    listed = {one.photo: one for one in found.mislabelled if one.item_id in items}
    wrong = {
        photo: shown
        for photo, shown in (truth.swapped | truth.misplaced).items()
        if truth.places[photo] in items
    }
    swapped = {photo for photo in truth.swapped if truth.places[photo] in items}
    right = listed.keys() & wrong.keys()
    _print(
        f"mislabelled ({len(swapped)} swapped)", len(right), len(listed), swapped & right, swapped
    )
    outliers = listed.keys() & truth.outliers.keys()
    others = len(listed) - len(outliers)
    named = sum(listed[photo].shown == wrong[photo] for photo in right)
    without = _share(len(right), others)
    print(f"    of these outliers that were planted: {len(outliers)}; without: {without}")
    misplaced = _share(len(right - swapped), len(wrong) - len(swapped))
    print(f"    copies under another item: found {misplaced}")
    print(f"    the item it shows is named: {_share(named, len(right))}")
    counts = [one for one in found.wrong_labels if one.item_id in items]
    print(
        f"    labels that are wrong: {len(wrong)}; counted by confident learning "
        f"{sum(one.photos for one in counts)}"
    )
    _list(
        "not planted",
        [f"{photo} -> {one.shown}" for photo, one in listed.items() if photo not in right],
    )


def _print_copies(found: Audit, truth: Truth, items: set[str]) -> None:
    listed = {frozenset({one.photo, one.of}) for one in found.duplicates if one.item_id in items}
    everywhere = {frozenset({one.photo, one.of}) for one in found.duplicates}
    wanted = {
        pair
        for pair in truth.copies
        if any(truth.places.get(photo) in items for photo in pair if _is_copy(photo))
    }
    right = len(listed & truth.copies.keys())
    _print(f"duplicates ({len(wanted)} planted)", right, len(listed), wanted & everywhere, wanted)
    for how in sorted(set(truth.copies.values())):
        some = {pair for pair in wanted if truth.copies[pair] == how}
        print(f"    {how}: found {_share(len(some & everywhere), len(some))}")
    _list("not planted", [" = ".join(sorted(pair)) for pair in listed - truth.copies.keys()])


def _is_copy(photo: str) -> bool:
    return Path(photo).name[0] in "co"


def print_look_alikes(
    found: Audit,
    centroids: npt.NDArray[np.float32],
    ids: Sequence[str],
    vectors: npt.NDArray[np.float32],
    items: Sequence[str],
) -> None:
    """Print how well the listed pairs foretell which new photos are taken for which item.

    Args:
        found: the audit.
        centroids: (items, dim), in the score space.
        ids: their items.
        vectors: (photos, dim), new photos in the score space.
        items: what they show.
    """
    number = {item: at for at, item in enumerate(ids)}
    label = np.array([number[item] for item in items])
    scores = vectors @ unit(centroids).T
    taken = scores > scores[np.arange(len(label)), label][:, None]
    counts = np.bincount(label, minlength=len(ids))
    rates = np.zeros((len(ids), len(ids)))
    np.add.at(rates, label, taken)
    rates /= np.maximum(counts, 1)[:, None]
    pairs = [
        (number[one.item_id], number[one.other], one.confusion, one.reverse)
        for one in found.look_alikes
    ]
    print(f"\nlook-alikes, on {len(label)} new photos of {np.count_nonzero(counts)} items")
    every = rates.sum()
    for least in (0.2, 0.1, 0.05, 0.02, 0.01):
        some = [pair for pair in pairs if pair[2] >= least]
        mass = sum(rates[i, j] + rates[j, i] for i, j, _, _ in some)
        both = [(i, j, p) for i, j, p, _ in some] + [(j, i, p) for i, j, _, p in some]
        known = [(rates[i, j], p) for i, j, p in both if counts[i]]
        seen = [max(rates[i, j], rates[j, i]) for i, j, _, _ in some if counts[i] and counts[j]]
        if not known or not seen:
            print(f"  {len(some)} pairs at {least:.0%} and more")
            continue
        real, foretold = np.mean(known, axis=0)
        print(
            f"  {len(some)} pairs at {least:.0%} and more: {mass / max(every, 1e-9):.1%} of all "
            f"confusions of two; confused in fact {real:.1%}, foretold {foretold:.1%}; "
            f"{np.mean(np.array(seen) > 0):.1%} of the pairs were confused at all"
        )
    upper = np.triu(np.maximum(rates, rates.T), 1)
    confused = {frozenset((int(i), int(j))) for i, j in np.argwhere(upper >= 0.05)}
    listed = {frozenset(pair[:2]) for pair in pairs}
    print(
        f"  pairs confused in 5 % and more: listed {_share(len(confused & listed), len(confused))}"
    )
