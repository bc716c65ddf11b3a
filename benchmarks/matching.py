"""Accuracy and calibration of matching: by itself and one to one, with missing and unknown items.

Run `python benchmarks/matching.py --index items.index --model items.model --photos PHOTOS`, where
PHOTOS is a folder with a folder an item, or what `embed sample` wrote, of photos that neither
training nor the index saw. `--reliability FILE.svg` draws the reliability diagram. Several indexes,
each with its model and its photos (of `folds.py`), are measured together.

Confidences are fitted to the photos of one half of the items and measured on those of the other
half, both ways, for several seeded halves; all figures are over the answers of all of them.
`--fit-to 30 5` fits them to 5 photos each of 30 items, and measures on all other items. In each
draw there are n candidates, drawn at random:

  each shown      as many photos as candidates, one of each (no more than there are items with
                  photos; the other candidates are missing)
  half missing    photos of one half of the candidates
  half unknown    photos of one half of the candidates, and as many of other items of the index

"chance" is the ECE that confidences would have that are right altogether, with so few photos.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grocery import embedded
from reliability import draw_reliability, error_by_chance, kept_at, text_diagram

from embedder import Catalogue, Embedder, read_catalogue
from embedder.labelled_vectors import LabelledVectors
from index import Match, Matcher
from index.calibrating import background, calibrate
from index.calibration import write_calibration
from index.measures import auroc, expected_calibration_error
from index.store_writing import WritableStore

HALVES = 4
MAX_ERROR = 0.01
SCENES = ("each shown", "half missing", "half unknown")
_MOST_ANSWERS = 8_000  # a line

Answer = tuple[Match, str, float, str, int]
Split = tuple[LabelledVectors, LabelledVectors]  # to fit to, and to measure on


@dataclass(frozen=True)
class Answers:
    """What was said of many photos, in one situation.

    Attributes:
        confidence: (photos,), of what was said.
        right: bool (photos,), whether it was.
        known: bool (photos,), whether the photo shows a candidate.
        likeness: (photos,), probability that it shows a candidate.
        best: (photos,), probability of the likeliest candidate.
        best_right: bool (photos,), whether that one is right.
        sure: bool (photos,), whether it was called "matched".
        cosine: (photos,), the highest plain cosine to a candidate.
        cosine_right: bool (photos,), whether that one is right.
        photo: (photos,), which of the photos it is: few are asked about often.
    """

    confidence: np.ndarray
    right: np.ndarray
    known: np.ndarray
    likeness: np.ndarray
    best: np.ndarray
    best_right: np.ndarray
    sure: np.ndarray
    cosine: np.ndarray
    cosine_right: np.ndarray
    photo: np.ndarray


def draw(
    scene: str, size: int, asked: LabelledVectors, ids: Sequence[str], rng: np.random.Generator
) -> tuple[list[int], list[str]]:
    """Photos, as rows of `asked`, and candidates, for one draw."""
    rows: dict[str, list[int]] = {}
    for at, item in enumerate(asked.items):
        rows.setdefault(item, []).append(at)
    shown = size if scene == "each shown" else max(1, size // 2)
    order = [str(item) for item in rng.permutation(sorted(rows))]
    shown = min(shown, len(order) - (scene == "half unknown"))
    known = order[:shown]
    unknown = order[shown : 2 * shown] if scene == "half unknown" else []
    taken, missing = {*known, *unknown}, size - len(known)
    # A few more than are needed, as some may be taken: the whole index may be long.
    some = rng.choice(len(ids), min(len(ids), missing + len(taken)), replace=False)
    others = [ids[at] for at in some if ids[at] not in taken][:missing]
    photos = [int(rng.choice(rows[item])) for item in known + unknown]
    return photos, known + others


def answers(
    matcher: Matcher,
    asked: LabelledVectors,
    scene: str,
    size: int,
    independent: bool,
    draws: int,
    seed: int,
) -> list[Answer]:
    """Matches with the truth, the highest plain cosine, the item it is of, and the photo."""
    rng = np.random.default_rng([seed, size, SCENES.index(scene)])
    ids, found = list(matcher.store.ids()), []
    for _ in range(draws):
        photos, candidates = draw(scene, size, asked, ids, rng)
        vectors = asked.vectors[photos]
        matches = matcher.match_vectors(
            vectors, candidates, independent=independent, max_error=MAX_ERROR
        )
        cosines = vectors @ matcher.store.centroids(candidates)[0].T
        for match, row, at in zip(matches, cosines, photos, strict=True):
            nearest = candidates[int(row.argmax())]
            truth = asked.items[at] if asked.items[at] in candidates else ""
            # The halves number their photos each in its own way.
            photo = hash(asked.vectors[at].tobytes())
            found.append((match, truth, float(row.max()), nearest, photo))
    return found


def together(found: list[Answer]) -> Answers:
    """Answers as arrays."""
    matches = [match for match, *_ in found]
    truth = [truth for _, truth, *_ in found]
    return Answers(
        np.array([match.confidence for match in matches]),
        np.array([(m.item_id or "") == t for m, t in zip(matches, truth, strict=True)]),
        np.array([t != "" for t in truth]),
        np.array([1 - (match.none or 0.0) for match in matches]),
        np.array([match.alternatives[0].confidence for match in matches]),
        np.array([m.alternatives[0].item_id == t for m, t in zip(matches, truth, strict=True)]),
        np.array([match.status == "matched" for match in matches]),
        np.array([cosine for _, _, cosine, *_ in found]),
        np.array([t != "" and nearest == t for _, t, _, nearest, _ in found]),
        np.array([at for *_, at in found]),
    )


@contextmanager
def calibrated(index: Path, model: Path, photos: LabelledVectors) -> Iterator[Matcher]:
    """A copy of an index, with confidences fitted to photos."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "items.index"
        shutil.copyfile(index, copy)
        with WritableStore.open(copy) as store:
            others = background(store)
            write_calibration(store, calibrate(store, photos, others, given=True), others)
            store.commit()
        with Matcher.open(copy, model) as matcher:
            yield matcher


def halves(asked: LabelledVectors) -> Iterator[Split]:
    """Photos to fit to and photos to measure on, by halves of the items, both ways."""
    items = sorted(set(asked.items))
    for seed in range(HALVES):
        chosen = np.random.default_rng(seed).permutation(items)[: len(items) // 2]
        inside = np.isin(asked.items, chosen)
        yield labelled(asked, inside), labelled(asked, ~inside)
        yield labelled(asked, ~inside), labelled(asked, inside)


def few_and_others(asked: LabelledVectors, items: int, photos: int) -> Iterator[Split]:
    """So many photos each of so many items to fit to; those of the other items to measure on."""
    labels = np.array(asked.items)
    for seed in range(2 * HALVES):
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(sorted(set(asked.items)))[:items]
        inside = np.isin(labels, chosen)
        order = rng.permutation(np.flatnonzero(inside))
        first = [at for item in chosen for at in order[labels[order] == item][:photos]]
        yield labelled(asked, np.sort(first)), labelled(asked, ~inside)


def labelled(asked: LabelledVectors, some: np.ndarray) -> LabelledVectors:
    """Some of the photos."""
    return LabelledVectors(asked.vectors[some], tuple(np.array(asked.items)[some].tolist()))


def read_photos(folder: Path) -> tuple[Catalogue, list[str]]:
    """Photos and their items: of a folder an item, or of `embed sample`."""
    if not (folder / "truth.csv").exists():
        catalogue = read_catalogue(folder)
        return catalogue, [item for item, found in catalogue.items.items() for _ in found]
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    photos = {row["photo"]: (str(folder / "photos" / row["photo"]),) for row in rows}
    return Catalogue(folder, photos), [row["item_id"] for row in rows]


def embedded_photos(model: Path, folder: Path, most: int) -> LabelledVectors:
    """Some of the photos of a folder, at random, as a model sees them."""
    catalogue, items = read_photos(folder)
    vectors = embedded(Embedder.open(model), catalogue)
    some = np.sort(np.random.default_rng(0).permutation(len(items))[:most])
    return labelled(LabelledVectors(vectors, tuple(items)), some)


def measure(
    index: Path, model: Path, splits: Iterator[Split], sizes: list[int]
) -> Iterator[tuple[tuple[str, int, bool], list[Answer]]]:
    """Answers of each situation, size and way to match."""
    for seed, (fitted, measured) in enumerate(splits):
        with calibrated(index, model, fitted) as matcher:
            for size in (n for n in sizes if n <= len(matcher.store)):
                # As many answers a line, whether a draw gives two or two hundred.
                draws = max(2, _MOST_ANSWERS // (2 * HALVES) // size)
                for scene in SCENES:
                    for independent in (True, False):
                        yield (
                            (scene, size, independent),
                            answers(matcher, measured, scene, size, independent, draws, seed),
                        )


def show(scene: str, size: int, independent: bool, of: Answers) -> None:
    """One line."""
    way = "by itself" if independent else "one to one"
    wrong = 1 - of.right[of.sure].mean() if of.sure.any() else 0.0
    text = (
        f"{scene:<13}{size:>4}  {way:<10}{of.right.mean():>8.1%}"
        f"{expected_calibration_error(of.confidence, of.right):>8.3f}"
        f"{error_by_chance(of.confidence, of.photo):>8.3f}"
        f"{(of.sure & of.right).sum() / max(1, of.known.sum()):>9.1%}{wrong:>8.2%}"
    )
    if scene == "half unknown":
        text += (
            f"{auroc(of.likeness, of.known):>9.4f}{auroc(of.cosine, of.known):>8.4f}"
            f"{kept_at(of.best, of.best_right, of.known):>9.1%}"
            f"{kept_at(of.cosine, of.cosine_right, of.known):>8.1%}"
        )
    print(text, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 5, 10, 20, 50, 100, 200])
    parser.add_argument("--most-photos", type=int, default=2000)
    parser.add_argument("--reliability", type=Path, help="write the diagram there")
    parser.add_argument(
        "--fit-to",
        type=int,
        nargs=2,
        metavar=("ITEMS", "PHOTOS"),
        help="instead of a half: so many items, so many photos of each",
    )
    arguments = parser.parse_args()
    found: dict[tuple[str, int, bool], list[Answer]] = {}
    for index, model, photos in zip(
        arguments.index, arguments.model, arguments.photos, strict=True
    ):
        asked = embedded_photos(model, photos, arguments.most_photos)
        print(f"{len(asked.items)} photos of {len(set(asked.items))} items, {2 * HALVES} halves")
        few = arguments.fit_to
        splits = few_and_others(asked, *few) if few else halves(asked)
        for situation, new in measure(index, model, splits, arguments.sizes):
            found.setdefault(situation, []).extend(new)
    print(
        f"{'':<31}{'right':>8}{'ECE':>8}{'chance':>8}{'sure':>9}{'wrong':>8}{'AUROC':>9}{'cosine':>8}",
        end="",
    )
    print(f"{'kept':>9}{'cosine':>8}")
    diagrams = {}
    for situation, rows in sorted(found.items(), key=lambda row: row[0][:2]):
        scene, size, independent = situation
        of = together(rows)
        show(scene, size, independent, of)
        if size == 10:
            diagrams[scene, independent] = (of.confidence, of.right)
    for (scene, independent), (confidence, right) in diagrams.items():
        print(f"\n{scene}, 10 candidates, {'by itself' if independent else 'one to one'}")
        print(text_diagram(confidence, right))
    if arguments.reliability:
        draw_reliability(diagrams, arguments.reliability)


if __name__ == "__main__":
    main()
