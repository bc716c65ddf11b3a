"""The whole way on real photos, as `benchmarks/grocery.py` goes it, on a part of them."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.real_data

# Fruit, vegetables and cartons; among them two cartons of one brand.
PRODUCTS = (
    "Avocado",
    "Banana",
    "Cabbage",
    "Carrots",
    "Ginger",
    "Kiwi",
    "Lemon",
    "Oatly-Oat-Milk",
    "God-Morgon-Apple-Juice",
    "God-Morgon-Orange-Juice",
)


def test_products_are_found_after_a_short_fine_tuning(embed, tmp_path, real_data):
    grocery = real_data / "grocery"
    truth = {}
    for number, product in enumerate(PRODUCTS):
        photos = sorted((grocery / "train" / product).iterdir())[:20]
        (tmp_path / "catalogue" / product).mkdir(parents=True)
        for photo in photos:
            shutil.copy(photo, tmp_path / "catalogue" / product)
        photo = min((grocery / "val" / product).iterdir())
        name = f"{(number * 7) % 10}.jpg"  # in another order than the ids
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / "photos" / name)
        truth[name] = product
    weights = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    backbone = ("--backbone", "MobileNet", "--alpha", "0.25", "--weights", weights)
    trained = embed("train", "catalogue", *backbone, "--size", "128", "--epochs", "3")
    assert trained.returncode == 0, trained.stderr
    assert "LiteRT agrees" in trained.stderr
    facts = json.loads((tmp_path / "items.model" / "model.json").read_text())["training"]
    assert facts["litert_cosine"] >= 0.9999
    assert facts["options"]["weights"] == weights.name
    assert embed("build-index", "catalogue").returncode == 0
    (tmp_path / "ids.txt").write_text("\n".join(PRODUCTS))
    done = embed("match", "--candidates", "ids.txt", "photos", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    right = sum(row["item_id"] == truth[Path(row["photo"]).name] for row in rows)
    assert len(rows) == 10
    assert right >= 8


def test_weights_that_do_not_fit_are_refused(embed, tmp_path, real_data):
    for item in ("Kiwi", "Lemon"):
        shutil.copytree(real_data / "grocery" / "train" / item, tmp_path / "catalogue" / item)
    weights = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    options = ("--backbone", "MobileNet", "--alpha", "0.5", "--weights", weights, "--size", "64")
    done = embed("train", "catalogue", *options)
    assert done.returncode == 1
    line = done.stderr.strip()
    assert "\n" not in line, line
    assert line.startswith(f"Error: {weights}: not the weights of MobileNet with alpha 0.5")
