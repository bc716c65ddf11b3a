"""`embed search` and `embed optimize`, as commands."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from embedder import Catalogue, Embedder
from index import Matcher, build_index, optimizing
from index.row_file import row_path
from index.row_file_making import is_outdated
from index.search_file import search_path

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


@pytest.fixture
def built(tmp_path, random_model, random_embedder):
    """An index of four items of one colour each, photos of them, and one that cannot be read."""
    (tmp_path / "photos").mkdir()
    items = {}
    for at, colour in enumerate(COLOURS):
        photo = tmp_path / f"{at}.png"
        Image.new("RGB", (40, 40), colour).save(photo)
        items[f"sku-{at}"] = (str(photo),)
        Image.new("RGB", (50, 50), colour).save(tmp_path / "photos" / f"{at}.png")
    build_index(Catalogue(tmp_path, items), random_embedder, tmp_path / "items.index")
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no photo")
    return tmp_path / "items.index"


@pytest.fixture
def search(embed, built, random_model):
    def run(*arguments):
        return embed("search", "--model", random_model, *arguments)

    return run


def test_each_photo_finds_its_item_in_every_format(search, built):
    done = search("--json", "photos")
    assert done.returncode == 0, done.stderr
    photos = json.loads(done.stdout)["photos"]
    by_name = {photo["photo"].rpartition("/")[2]: photo for photo in photos}
    for at in range(len(COLOURS)):
        items = by_name[f"{at}.png"]["items"]
        assert items[0]["item_id"] == f"sku-{at}" and items[0]["score"] > 0.99
        assert [item["score"] for item in items] == sorted(
            (item["score"] for item in items), reverse=True
        )
        assert len(items) == len(COLOURS)
    assert by_name["bad.jpg"]["items"] == [] and by_name["bad.jpg"]["reason"]
    assert "photos/bad.jpg: cannot be read: not an image" in done.stderr

    lines = [json.loads(line) for line in search("--format", "jsonl", "photos").stdout.splitlines()]
    assert lines == photos
    rows = list(csv.DictReader(io.StringIO(search("--format", "csv", "photos").stdout)))
    assert rows == [
        {
            "photo": photo["photo"],
            "rank": str(rank),
            "item_id": item["item_id"],
            "score": str(item["score"]),
        }
        for photo in photos
        for rank, item in enumerate(photo["items"], 1)
    ]
    table = search("--top", "1", "photos/0.png").stdout.splitlines()
    assert table[0].split() == ["photo", "rank", "item", "score"]
    assert table[1].split()[1:3] == ["1", "sku-0"] and len(table) == 2


def test_photos_of_one_object_are_searched_by_their_mean(search, built, random_model):
    (built.parent / "objects" / "one").mkdir(parents=True)
    for at in (0, 1):
        name = f"{at}.png"
        (built.parent / "photos" / name).rename(built.parent / "objects" / "one" / name)
    (found,) = json.loads(search("--json", "objects").stdout)["photos"]
    embedder = Embedder.open(random_model)
    photos = sorted((built.parent / "objects").rglob("*.png"))
    vectors = [embedder.embed_one(photo) for photo in photos]
    with Matcher.open(built) as matcher:
        known, _ = matcher.store.centroids([item["item_id"] for item in found["items"]])
    scores = known @ np.mean(vectors, axis=0)
    np.testing.assert_allclose([item["score"] for item in found["items"]], scores, atol=1e-5)
    assert {item["item_id"] for item in found["items"][:2]} == {"sku-0", "sku-1"}


def test_what_is_wrong_is_said_in_a_line(search, embed, built):
    for done, said in (
        (search("--json", "--format", "csv", "photos"), "expected --json or --format csv"),
        (search(), "expected photos or folders of photos"),
        (search("photos/bad.jpg"), "none of the photos can be read"),
        (search("--index", "no.index", "photos"), "no.index: expected an index file, found none"),
        (embed("optimize", "--index", "no.index"), "no.index: expected an index file, found none"),
    ):
        assert done.returncode in (1, 2)
        assert said in done.stderr.splitlines()[-1]
        assert len(done.stdout.splitlines()) <= 1  # the heading of a table


def test_optimize_says_what_it_made(embed, built):
    done = embed("optimize", "--json")
    assert json.loads(done.stdout)["kind"] == "none"
    assert "few enough to be read at each search" in done.stderr
    assert not search_path(built).exists()
    done = embed("optimize", "--kind", "flat", "--json")
    said = json.loads(done.stdout)
    assert (said["kind"], said["items"], said["recall_10"]) == ("flat", 4, 1.0)
    assert said["bytes"] == search_path(built).stat().st_size
    assert "items.index.search: 4 items" in done.stderr


def test_optimize_makes_a_row_file_that_stays_up_to_date(embed, built, random_model):
    def match():
        options = ["--index", str(built), "--model", str(random_model), "--candidates", "-"]
        photos = sorted(map(str, (built.parent / "photos").iterdir()))
        ids = "\n".join(f"sku-{at}" for at in range(len(COLOURS)))
        done = embed("match", "--json", *options, *photos, input=ids)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    without = match()
    done = embed("optimize", "--rows", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"bytes": row_path(built).stat().st_size}
    assert "items.index.rows: " in done.stderr
    assert not is_outdated(built)
    assert match() == without
    options = ["--index", str(built), "--model", str(random_model)]
    assert embed("remove", "--index", str(built), "sku-3").returncode == 0
    assert not is_outdated(built)
    done = embed("add", *options, "sku-3", str(built.parent / "photos" / "3.png"))
    assert done.returncode == 0, done.stderr
    assert not is_outdated(built)
    # A build makes it anew, and none where there is none.
    catalogue = built.parent / "catalogue"
    for at in range(len(COLOURS)):
        (catalogue / f"sku-{at}").mkdir(parents=True)
        shutil.copy(built.parent / "photos" / f"{at}.png", catalogue / f"sku-{at}" / "0.png")
    done = embed("build-index", str(catalogue), *options)
    assert done.returncode == 0, done.stderr
    assert "items.index.rows: " in done.stderr
    assert not is_outdated(built)
    row_path(built).unlink()
    done = embed("build-index", str(catalogue), *options)
    assert "items.index.rows" not in done.stderr
    assert not row_path(built).exists()


def test_what_rows_cannot_be_made_of_is_said_in_a_line(embed, built):
    done = embed("optimize", "--rows", "--kind", "flat")
    assert done.returncode == 2
    assert "expected --kind or --rows, found both" in done.stderr
    done = embed("optimize", "--rows", "--index", "none.index")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "none.index: expected an index file, found none" in done.stderr


def test_a_build_of_a_large_index_makes_its_search_file(built, random_model, monkeypatch):
    monkeypatch.setattr(optimizing, "MOST_READ", 3)
    folder = built.parent
    for at in range(len(COLOURS)):
        (folder / "catalogue" / f"sku-{at}").mkdir(parents=True)
        (folder / "photos" / f"{at}.png").rename(folder / "catalogue" / f"sku-{at}" / "0.png")
    options = ["--model", str(random_model), "--index", str(built)]
    build = ["build-index", str(folder / "catalogue"), *options]
    done = CliRunner().invoke(main, build)
    assert done.exit_code == 0, done.output
    assert "items.index.search: 4 items" in done.output
    made = search_path(built).stat().st_mtime_ns
    photo = str(folder / "catalogue" / "sku-2" / "0.png")
    found = CliRunner().invoke(main, ["search", *options, "--format", "csv", "--top", "1", photo])
    assert found.stdout.splitlines()[1].split(",")[1:3] == ["1", "sku-2"]
    assert search_path(built).stat().st_mtime_ns == made

    # Where it cannot be written the index is none the worse.
    search_path(built).with_name("items.index.search.building").mkdir()
    done = CliRunner().invoke(main, build)
    assert done.exit_code == 0, done.output
    assert "no search file was made" in done.output
    assert CliRunner().invoke(main, ["search", *options, photo]).exit_code == 0


def test_vectors_do_not_take_the_place_of_an_index_of_photos(embed, built):
    vectors = {"ids": np.array(["a", "b"]), "vectors": np.eye(2, 5, dtype=np.float32)}
    np.savez(built.parent / "vectors.npz", **vectors)
    before = built.read_bytes()
    done = embed("build-index", "--vectors", "vectors.npz")
    assert done.returncode == 1
    assert "items.index: expected no index there, or one of vectors" in done.stderr
    assert built.read_bytes() == before
    for _ in range(2):  # over one of vectors it is done
        done = embed("build-index", "--vectors", "vectors.npz", "--index", "vectors.index")
        assert done.returncode == 0, done.stderr


def test_an_index_without_items_is_said_to_have_none(search, embed, built):
    assert embed("remove", *(f"sku-{at}" for at in range(len(COLOURS)))).returncode == 0
    done = search("photos/0.png")
    assert done.returncode == 1
    assert "items.index: expected an index with items, found none" in done.stderr
