"""Make the golden files of this version: `python tests/golden/make.py`, once, before a release.

They are never made again: every later version has to open them as they are.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from embedder import Embedder, read_catalogue
from embedder.model_files import Architecture, read_model_info, write_model_info
from embedder.photos import prepare
from embedder.sample import write_sample
from embedder.training import train
from embedder.training_options import TrainingOptions
from embedder.version import __version__
from index import Matcher, add_item, build_index, calibrate_index
from index.calibration import read_calibration

ITEMS, SIZE, DIM, QUERIES = 8, 64, 16, 4


def main() -> None:
    """Write a model, an index, photos, and what matching them gives."""
    folder = Path(__file__).parent / __version__
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        write_sample(Path(scratch), items=ITEMS, photos=20, queries=QUERIES, size=SIZE)
        catalogue = read_catalogue(Path(scratch) / "catalogue")
        # Narrow, and of few numbers: these files stay in the repository.
        options = TrainingOptions(
            Architecture("MobileNet", 0.1, SIZE, DIM), epochs=250, patience=250
        )
        train(catalogue, folder / "items.model", options)
        # So few photos would not have asked for it: an index with everything is to be kept.
        info = read_model_info(folder / "items.model")
        write_model_info(folder / "items.model", replace(info, whitened_temperature=0.05))
        embedder = Embedder.open(folder / "items.model")
        bad = Path(scratch) / "catalogue" / min(catalogue.items) / "bad.jpg"
        bad.write_bytes(b"not a photo")
        build_index(read_catalogue(Path(scratch) / "catalogue"), embedder, folder / "items.index")
        calibrate_index(folder / "items.index", embedder, catalogue)
        (folder / "photos").mkdir()
        for photo in sorted((Path(scratch) / "photos").iterdir()):
            pixels = prepare(photo, SIZE)
            Image.fromarray(pixels).save(folder / "photos" / f"{photo.stem}.png")
    photos = sorted((folder / "photos").iterdir())
    add_item(folder / "items.index", embedder, "by hand, 1", photos[:1])
    for left in (".items.index.lock", ".items.model.lock", "items.index.photos"):
        (folder / left).unlink(missing_ok=True)
    text = json.dumps(_answers(folder, photos), indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


def _answers(folder: Path, photos: list[Path]) -> dict[str, object]:
    with Matcher.open(folder / "items.index") as matcher:
        store = matcher.store
        vectors = np.stack([matcher.embedder.embed_one(photo) for photo in photos])
        ids = list(store.ids())
        rows, catalogue = store.statistics(ids), f"{store.info.catalogue}/"
        references = {
            item: str(path).removeprefix(catalogue) for item, path in store.references(ids).items()
        }
        matches = matcher.match_vectors(vectors, ids, names=[photo.name for photo in photos])
        return {
            "calibrated": read_calibration(store) is not None,
            "info": {**vars(store.info), "catalogue": "", "created": ""},
            "fingerprint": matcher.embedder.info.fingerprint,
            "items": {
                item: [row.vector().tolist(), row.photos, row.dispersion, references[item]]
                for item, row in rows.items()
            },
            "unreadable": [error.reason for error in store.unreadable()],
            "vectors": vectors.tolist(),
            "matches": matches.to_dict(),
        }


if __name__ == "__main__":
    main()
