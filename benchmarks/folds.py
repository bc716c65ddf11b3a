"""Three splits of the grocery train photos, each photo held out in one of them.

Run it as `python benchmarks/folds.py OUT [--data ../shared/data]`; it writes OUT/0, OUT/1 and
OUT/2, each with `train` and `val` (links), for `python benchmarks/grocery.py --split OUT/0 --work
DIR/0` and so on. `matching.py` then measures the three models together: calibration over 2,640
photos, where val has 296.

The photos of a product come in bursts. So its photos are put in the order of what differs most
between them (the first principal component of frozen ImageNet features) and cut into three: a
product is held out as it looks in other shops and on other days, as in `hard_split.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hard_split import link, products

FOLDS = 3


def folds(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Which fold holds out each photo of a product: unit-norm features (photos, dim)."""
    _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    place = (features @ directions[0]).argsort().argsort()
    found: npt.NDArray[np.int64] = place * FOLDS // len(features)
    return found


def main() -> None:
    """Write the splits."""
    out, found = products(__doc__.splitlines()[0])
    counts = [0] * FOLDS
    for item, photos, features in found:
        for path, own in zip(photos, folds(features).tolist(), strict=True):
            for fold in range(FOLDS):
                link(path, out / str(fold) / ("val" if fold == own else "train") / item)
            counts[own] += 1
    print(f"{out}: {' + '.join(map(str, counts))} photos held out")


if __name__ == "__main__":
    main()
