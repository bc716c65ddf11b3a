"""`embed match` and `embed calibrate` on the trained sample: what is asked, shown and returned."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from embedder import Embedder, read_catalogue
from embedder.sample import write_sample
from index import build_index
from index.calibration import read_calibration
from index.store import Store

STATUSES = ["unreadable", "unsure", "unknown", "matched"]


def one_line_error(done, status=1):
    """The error of a command that failed as it should."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    return lines[-1]


@pytest.fixture(scope="module")
def index(tmp_path_factory, trained_model, sample):
    path = tmp_path_factory.mktemp("match") / "items.index"
    build_index(read_catalogue(sample / "catalogue"), Embedder.open(trained_model), path)
    return path


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """Four photos more of each item of the sample, by item."""
    folder = tmp_path_factory.mktemp("later")
    write_sample(folder, items=12, photos=16, queries=0, size=64)
    for item in (folder / "catalogue").iterdir():
        for photo in sorted(item.iterdir())[:12]:
            photo.unlink()
    return folder / "catalogue"


@pytest.fixture
def places(index, trained_model):
    return ("--index", index, "--model", trained_model)


@pytest.fixture
def match(embed, places):
    """Run `embed match` with candidates given as text."""

    def run(candidates, *arguments, **options):
        text = "\n".join(candidates)
        return embed("match", "--candidates", "-", *places, *arguments, input=text, **options)

    return run


@pytest.fixture
def found(match):
    """The matches of a run of `embed match --format json`."""

    def run(candidates, *arguments):
        done = match(candidates, "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["matches"]

    return run


@pytest.fixture
def photos(sample):
    return sorted((sample / "photos").iterdir())


@pytest.fixture
def of(later):
    """Later photos of an item."""

    def take(item_id, count):
        return sorted((later / item_id).iterdir())[:count]

    return take


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    return tmp_path / "bad.jpg"


def test_the_table_has_what_is_doubtful_first(match, ids, photos, bad):
    done = match(ids[:5], *photos, bad)
    lines = done.stdout.splitlines()
    heading = ["photo", "item", "confidence", "status", "score", "margin", "runner-up", "why"]
    assert lines[0].split() == heading
    assert len(lines) == 10
    at = lines[0].index("status")
    statuses = [line[at:].split()[0] for line in lines[1:]]
    assert statuses == sorted(statuses, key=STATUSES.index)
    assert statuses[0] == "unreadable"
    assert statuses.count("unsure") > 0
    assert statuses.count("matched") > 0
    end = lines[0].index("confidence") + len("confidence")
    shown = [float(line[:end].split()[-1].rstrip("%")) for line in lines[2:]]
    for status in STATUSES[1:]:
        of_status = [
            share for share, other in zip(shown, statuses[1:], strict=True) if other == status
        ]
        assert of_status == sorted(of_status)
    assert {line.split()[0] for line in lines[1:]} == {str(photo) for photo in [*photos, bad]}


def test_the_other_formats_are_in_the_order_of_the_photos(match, ids, photos, bad):
    asked = [photos[2], bad, *photos[3:], photos[0]]
    for name in ("csv", "json", "jsonl"):
        output = match(ids, "--format", name, *asked).stdout
        if name == "csv":
            rows = list(csv.DictReader(io.StringIO(output)))
        elif name == "json":
            rows = json.loads(output)["matches"]
        else:
            rows = [json.loads(line) for line in output.splitlines()]
        assert [row["photo"] for row in rows] == [str(photo) for photo in asked]


def test_json_has_alternatives_and_missing_and_csv_only_matches(match, ids, photos):
    document = json.loads(match([*ids[:7], f"{ids[7]},3"], "--format", "json", photos[0]).stdout)
    assert sum(document["missing"].values()) == 9
    (row,) = document["matches"]
    others = row["alternatives"]
    assert len(others) == 5
    assert row["item_id"] in [other["item_id"] for other in others]
    assert row["runner_up"] in [other["item_id"] for other in others]
    shares = [other["confidence"] for other in others]
    assert shares == sorted(shares, reverse=True)
    assert 0 <= row["none"] + sum(shares) <= 1 + 1e-5
    header = match(ids, "--format", "csv", photos[0]).stdout.splitlines()[0].split(",")
    assert header == [name for name in row if name != "alternatives"]


def test_strict_is_content_if_all_is_matched_and_nothing_missing(match, ids, photos):
    everything = match(ids, "--strict", "--max-error", "1", *photos)
    assert everything.returncode == 0
    assert everything.stderr == ""
    one_less = match(ids, "--strict", "--max-error", "1", *photos[1:])
    assert one_less.returncode == 3
    assert "missing (in no photo): sku-" in one_less.stderr
    assert one_less.stdout.count("matched") == 7  # results are there all the same
    assert match(ids, "--max-error", "1", *photos[1:]).returncode == 0


def test_strict_is_not_content_with_doubt_or_what_cannot_be_read(match, ids, photos, bad):
    unsure = match(ids, "--strict", "--max-error", "1e-12", *photos)
    assert "unsure: look at them" in unsure.stderr
    assert unsure.returncode == 3
    unreadable = match(ids, "--strict", "--max-error", "1", *photos, bad)
    assert unreadable.returncode == 3
    assert "none of the photos can be read" in one_line_error(match(ids, "--strict", bad))


def test_max_error_decides_what_is_unsure(found, ids, photos):
    strict = found(ids, "--max-error", "1e-12", *photos)
    lenient = found(ids, "--max-error", "1", *photos)
    assert {row["status"] for row in lenient} == {"matched"}
    assert "unsure" in {row["status"] for row in strict}
    for one, other in zip(strict, lenient, strict=True):
        assert one["confidence"] == other["confidence"]
        assert bool(one["reason"]) == (one["status"] == "unsure")


@pytest.mark.parametrize(
    "option",
    [
        ("--unknown", "-0.1"),
        ("--unknown", "1.5"),
        ("--unknown", "some"),
        ("--max-error", "0"),
        ("--max-error", "1.1"),
        ("--views", "0"),
        ("--format", "xml"),
    ],
)
def test_values_out_of_range_are_usage_errors(match, ids, photos, option):
    done = match(ids, *option, photos[0])
    assert f"Invalid value for '{option[0]}'" in one_line_error(done, 2)


def test_views_are_so_many_photos_that_follow_each_other_by_name(found, match, of, ids, tmp_path):
    first, second = ids[0], ids[1]
    for number, photo in enumerate([*of(first, 2), *of(second, 2)]):
        shutil.copy2(photo, tmp_path / f"photo-{number}.jpg")
    names = [f"photo-{number}.jpg" for number in range(4)]
    rows = found(ids, "--views", "2", *reversed(names))
    assert [row["photo"] for row in rows] == [names[0], names[2]]
    assert [row["views"] for row in rows] == [2, 2]
    assert [row["item_id"] for row in rows] == [first, second]
    error = one_line_error(match(ids, "--views", "2", *names[:3]))
    assert "--views 2: expected a multiple of 2 photos, found 3" in error


def test_a_folder_in_a_folder_is_one_object(found, match, of, ids, photos, tmp_path):
    for item in (ids[0], ids[1]):
        (tmp_path / "bench" / f"box of {item}").mkdir(parents=True)
        for photo in of(item, 3):
            shutil.copy2(photo, tmp_path / "bench" / f"box of {item}")
    (tmp_path / "bench" / "empty").mkdir()
    (tmp_path / "bench" / ".hidden").mkdir()
    shutil.copy2(photos[0], tmp_path / "bench" / ".hidden" / "0001.jpg")
    shutil.copy2(of(ids[2], 1)[0], tmp_path / "bench" / "one.jpg")
    rows = found(ids, "bench")
    boxes = [f"bench/box of {ids[0]}", f"bench/box of {ids[1]}"]
    assert [row["photo"] for row in rows] == ["bench/one.jpg", *boxes]
    assert [row["views"] for row in rows] == [1, 3, 3]
    assert [row["item_id"] for row in rows[1:]] == [ids[0], ids[1]]
    error = one_line_error(match(ids, "--views", "2", "bench"))
    assert "--views cannot be used with folders or groups of one object" in error


def test_a_csv_file_says_which_photos_show_one_object(found, of, ids, tmp_path):
    (tmp_path / "bench").mkdir()
    for item in (ids[0], ids[1]):
        for number, photo in enumerate(of(item, 2)):
            shutil.copy2(photo, tmp_path / "bench" / f"{item}-{number}.jpg")
    rows = [f"{ids[0]}-0.jpg,left", f"{ids[1]}-0.jpg,", f"{ids[0]}-1.jpg,left", f"{ids[1]}-1.jpg,"]
    # As a spreadsheet writes it; paths are relative to the file.
    text = "\ufeffphoto,group\r\n" + "\r\n".join(rows) + "\r\n"
    (tmp_path / "bench" / "list.csv").write_text(text, encoding="utf-8")
    matches = found([ids[0], f"{ids[1]},2"], "bench/list.csv")
    assert [row["photo"] for row in matches] == [
        "left",
        f"bench/{ids[1]}-0.jpg",
        f"bench/{ids[1]}-1.jpg",
    ]
    assert [row["views"] for row in matches] == [2, 1, 1]
    assert [row["item_id"] for row in matches] == [ids[0], ids[1], ids[1]]


def test_a_csv_file_without_groups_is_a_list_of_photos(found, ids, photos, tmp_path):
    text = "".join(f"{photo},x\n" for photo in photos)
    (tmp_path / "list.csv").write_text("photo,note\n" + text)
    listed, alone = found(ids, "list.csv"), found(ids, *photos)
    assert listed == alone
    twos = found(ids, "--views", "2", "list.csv")
    assert [row["views"] for row in twos] == [2] * 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name,group\na.jpg,x\n", "list.csv: expected a column 'photo', found name, group"),
        ("", "list.csv: expected a column 'photo', found nothing"),
        ("photo,group\na.jpg,x\n ,x\n", "list.csv:3: expected the path of a photo, found none"),
        ("group,photo\nx\n", "list.csv:2: expected the path of a photo, found none"),
        ("photo,group\n", "list.csv: expected photos, found none"),
        (b"photo\n\xff.jpg\n", "list.csv: cannot be read as CSV"),
        (None, "list.csv: expected a CSV file of photos, found none"),
    ],
)
def test_a_csv_file_that_is_none_is_one_line(match, ids, tmp_path, content, says):
    if content is not None:
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "list.csv").write_bytes(raw)
    assert says in one_line_error(match(ids, "list.csv"))


def test_an_unreadable_photo_of_a_group_is_named_and_the_rest_matched(match, of, ids, bad):
    folder = bad.parent / "bench" / "box"
    folder.mkdir(parents=True)
    for photo in of(ids[0], 2):
        shutil.copy2(photo, folder)
    shutil.move(bad, folder / "bad.jpg")
    done = match(ids, "--format", "json", "bench")
    (row,) = json.loads(done.stdout)["matches"]
    assert (row["item_id"], row["views"]) == (ids[0], 2)
    assert "bench/box/bad.jpg: not an image that can be read" in row["reason"]
    assert "bad.jpg" in done.stderr
    for photo in folder.glob("0*.jpg"):
        photo.unlink()
    done = match(ids, "--format", "json", "bench")
    assert json.loads(done.stdout)["matches"][0]["status"] == "unreadable"
    assert "none of the photos can be read" in one_line_error(done)


def test_more_photos_than_pieces_leave_the_rest_without(match, ids, photos):
    done = match(ids[:2], "--format", "json", *photos)
    items = [row["item_id"] for row in json.loads(done.stdout)["matches"]]
    assert items.count(None) == 6
    assert sorted(item for item in items if item) == sorted(ids[:2])


@pytest.fixture
def own_index(embed, index, trained_model, tmp_path):
    """A copy of the index that a test may change, with the model beside it."""
    shutil.copy2(index, tmp_path / "items.index")
    shutil.copytree(trained_model, tmp_path / "items.model")
    return tmp_path / "items.index"


def calibration_of(index):
    with Store.open(index) as store:
        return read_calibration(store)


def test_calibrate_fits_and_a_rebuild_keeps_it(embed, own_index, later, sample):
    done = embed("calibrate", later)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "items.index: confidences fitted to 48 photos of 12 items\n"
    assert done.stdout == ""
    found = calibration_of(own_index)
    assert (found.given, found.photos) == (True, 48)
    assert embed("build-index", sample / "catalogue").returncode == 0
    assert calibration_of(own_index) == found


def test_after_calibrate_what_is_no_candidate_is_told(embed, own_index, later, ids):
    assert embed("calibrate", later).returncode == 0
    shown, others = ids[:4], ids[4:8]
    photos = [sorted((later / item).iterdir())[0] for item in [*shown, *others]]
    done = embed("match", "--candidates", "-", "--format", "json", *photos, input="\n".join(shown))
    none = [row["none"] for row in json.loads(done.stdout)["matches"]]
    assert sum(none[:4]) < sum(none[4:]) - 2


def test_calibrate_says_what_it_left_out(embed, own_index, later, tmp_path):
    shutil.copytree(later, tmp_path / "checked")
    first, second = sorted((tmp_path / "checked").iterdir())[:2]
    first.rename(tmp_path / "checked" / "sku-new")
    (second / "bad.jpg").write_bytes(b"<html>")
    done = embed("calibrate", "checked")
    assert done.returncode == 0, done.stderr
    assert "1 item(s) that the index does not have are left out: sku-new" in done.stderr
    assert "1 photo(s) could not be read and are left out:" in done.stderr
    assert f"checked/{second.name}/bad.jpg: not an image that can be read" in done.stderr
    assert "confidences fitted to 44 photos of 11 items" in done.stderr


def test_calibrate_takes_a_csv_file(embed, own_index, later, tmp_path):
    rows = [f"{item.name},{photo}" for item in later.iterdir() for photo in item.iterdir()]
    (tmp_path / "checked.csv").write_text("item_id,path\n" + "\n".join(rows))
    done = embed("calibrate", "checked.csv")
    assert "confidences fitted to 48 photos of 12 items" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["few"], "few: expected 20 or more readable photos of items of an index of 3 items"),
        (["nowhere"], "nowhere"),
        (["few", "--index", "no.index"], "embed build-index"),
        (["few", "--model", "no.model"], "embed train"),
        (["few", "--model", "other.model"], "another model"),
    ],
)
def test_calibrate_says_what_is_wrong_in_one_line(
    embed, own_index, later, random_model, tmp_path, arguments, says
):
    shutil.copytree(random_model, tmp_path / "other.model")
    for item in sorted(later.iterdir())[:4]:
        shutil.copytree(item, tmp_path / "few" / item.name)
    assert says in one_line_error(embed("calibrate", *arguments))
    assert calibration_of(own_index) is None


def test_calibrate_is_in_the_help(embed):
    assert "\n  calibrate " in embed("--help").stdout
    shown = embed("calibrate", "--help").stdout
    assert "embed calibrate checked-photos" in shown
    assert Path("items.index").name in shown
