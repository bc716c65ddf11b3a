"""`embed evaluate` beside scikit-learn, on the same embeddings.

Run `python benchmarks/evaluating.py --index items.index --model items.model --photos PHOTOS`, where
PHOTOS is a folder with a folder an item of photos that the index was not built from.

Prints recall@k over all items and mAP@R as `evaluate` has them, and as `top_k_accuracy_score` and
`average_precision_score` make them of the same vectors; the difference; and how long it took.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from embedder import Embedder, read_catalogue
from embedder.score_space import unit
from index import evaluate
from index.photo_vectors import photo_vectors
from index.store import Store
from index.whitening import read_score_space


def by_scikit_learn(
    vectors: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    centroids: npt.NDArray[np.float32],
) -> dict[str, float]:
    """The same figures of vectors (photos, dim), of the items `truth` of `centroids`."""
    scores, labels = vectors @ centroids.T, np.arange(len(centroids))
    found = {
        f"recall@{k}": float(top_k_accuracy_score(truth, scores, k=k, labels=labels))
        for k in (1, 5, 10)
    }
    precisions = []
    for query, item in enumerate(truth):
        right = np.delete(truth == item, query)
        near = np.delete(vectors @ vectors[query], query)
        first = np.argsort(-near, kind="stable")[: right.sum()]
        if not len(first):
            continue
        share = right[first].mean()
        precisions.append(share and share * average_precision_score(right[first], near[first]))
    return found | {"mAP@R": float(np.mean(precisions))}


def main() -> None:
    """Measure both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    arguments = parser.parse_args()
    catalogue, embedder = read_catalogue(arguments.photos), Embedder.open(arguments.model)
    with Store.open(arguments.index) as store:
        started = time.perf_counter()
        found = evaluate(catalogue, embedder, store)
        seconds = time.perf_counter() - started
        given = photo_vectors(catalogue, embedder, store)
        ids = list(store.ids())
        rows = [at for at, item in enumerate(given.items) if item in set(ids)]
        vectors, centroids = given.vectors[rows], store.centroids(ids)[0]
        if (space := read_score_space(store)) is not None:
            vectors, centroids = space.project(vectors), space.project(centroids)
    places = {item: at for at, item in enumerate(ids)}
    truth = np.array([places[given.items[at]] for at in rows])
    expected = by_scikit_learn(unit(vectors), truth, centroids)
    figures = {f"recall@{k}": figure for k, figure in found.recall.items()}
    figures["mAP@R"] = found.mean_average_precision
    print(f"{found.kinds.asked} photos of {found.items} items, among {found.index_items}")
    print(f"{'':<12}{'evaluate':>10}{'scikit-learn ' + version('scikit-learn'):>22}{'apart':>10}")
    for name, figure in figures.items():
        apart = abs(figure.value - expected[name])
        print(f"{name:<12}{figure.value:>10.5f}{expected[name]:>22.5f}{apart:>10.0e}")
    print(f"evaluate took {seconds:.1f} s, with all sets of candidates and intervals")


if __name__ == "__main__":
    main()
