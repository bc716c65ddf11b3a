"""The commands as a user runs them: in a process of their own, in another folder."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

FIELDS = ["photo", "item_id", "status", "confidence", "score"]
FIELDS += ["runner_up", "runner_up_score", "margin", "none", "reason", "views", "unreadable"]
HEADING = ["photo", "item", "confidence", "status", "score", "margin", "runner-up", "why"]


def one_line_error(done, status=1):
    """The error of a command that failed as it should."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    return lines[-1]


@pytest.fixture
def matching(embed, tmp_path, trained_model, sample):
    """Run `embed match` beside an index of the sample that `embed build-index` has made."""
    shutil.copytree(trained_model, tmp_path / "items.model")
    built = embed("build-index", sample / "catalogue")
    assert built.returncode == 0, built.stderr
    assert "items.index: 12 items, 144 photos (144 embedded now)" in built.stderr
    assert built.stdout == ""

    def run(*arguments, **options):
        return embed("match", *arguments, **options)

    return run


@pytest.fixture
def truth(sample):
    with (sample / "truth.csv").open(newline="") as file:
        return {row["photo"]: row["item_id"] for row in csv.DictReader(file)}


def test_photos_are_matched_to_the_truth_in_every_format(matching, sample, truth):
    arguments = ("--candidates", sample / "ids.txt", sample / "photos", "--format")
    outputs, said = {}, {}
    for name in ("csv", "json", "jsonl", "table"):
        done = matching(*arguments, name)
        assert done.returncode == 0, done.stderr
        outputs[name], said[name] = done.stdout, done.stderr
    rows = list(csv.DictReader(io.StringIO(outputs["csv"])))
    assert list(rows[0]) == FIELDS
    right = [row["item_id"] == truth[Path(row["photo"]).name] for row in rows]
    assert len(right) == 8
    assert sum(right) >= 6  # two of the eight are look-alikes, and the training was short
    document = json.loads(outputs["json"])
    assert list(document) == ["matches", "missing"]
    assert document["missing"] == {}
    lines = [json.loads(line) for line in outputs["jsonl"].splitlines()]
    assert lines == document["matches"]
    unsure = sum(line["status"] == "unsure" for line in lines)
    about_them = f"{unsure} photo(s) are unsure: look at them\n" if unsure else ""
    assert list(said.values()) == [about_them] * 4
    assert [list(line) for line in lines] == [[*FIELDS, "alternatives"]] * 8
    for row, line in zip(rows, lines, strict=True):
        del line["alternatives"]
        assert row == {k: "" if v is None else str(v) for k, v in line.items()}
    shown = outputs["table"].splitlines()
    assert shown[0].split() == HEADING
    pairs = {tuple(line.split()[:2]) for line in shown[1:]}  # in another order
    assert pairs == {(row["photo"], row["item_id"]) for row in rows}


def test_one_to_one_gives_no_item_twice_and_independent_may(matching, sample):
    photo = min((sample / "photos").iterdir())
    twice = ("--candidates", sample / "ids.txt", photo, photo, "--format", "json")
    joint = json.loads(matching(*twice).stdout)["matches"]
    alone = json.loads(matching(*twice, "--independent").stdout)["matches"]
    assert joint[0]["item_id"] != joint[1]["item_id"]
    assert alone[0] == alone[1]


def test_candidates_from_standard_input_and_missing_ones_named(matching, sample):
    ids = (sample / "ids.txt").read_text()
    photo = min((sample / "photos").iterdir())
    done = matching("--candidates", "-", photo, input=ids)
    assert done.returncode == 0
    assert done.stderr.startswith("missing (in no photo): sku-")


def test_unreadable_photos_are_reported_and_the_rest_is_matched(matching, sample, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    photo = min((sample / "photos").iterdir())
    arguments = ("--candidates", sample / "ids.txt", "--format", "json", "bad.jpg", "no.jpg")
    done = matching(*arguments, photo)
    assert done.returncode == 0
    assert "cannot be read: bad.jpg: not an image that can be read" in done.stderr
    assert "cannot be read: no.jpg: no such file" in done.stderr
    statuses = [found["status"] for found in json.loads(done.stdout)["matches"]]
    assert statuses == ["unreadable", "unreadable", "matched"]
    none = matching(*arguments)
    assert "none of the photos can be read" in one_line_error(none)


def test_more_photos_than_candidates_is_told(matching, sample):
    item = next(x for x in (sample / "ids.txt").read_text().splitlines() if x[0] != "#")
    done = matching("--candidates", "-", sample / "photos", input=item)
    assert done.returncode == 0
    assert "7 photo(s) show none of the candidates" in done.stderr


def test_unknown_ids_are_named_with_the_nearest(matching, sample):
    error = one_line_error(
        matching("--candidates", "-", sample / "photos", input="sku-000001\nsku-00000l\n")
    )
    assert "no such item: 'sku-00000l' (nearest: sku-0000" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--candidates", "latin1.txt", "photos"], "latin1.txt: cannot be read as UTF-8"),
        (["--candidates", "empty.txt", "photos"], "empty.txt: expected one item id a line"),
        (["--candidates", "none.txt", "photos"], "none.txt: expected a list of candidates"),
        (["--candidates", "ids.txt"], "expected photos or folders of photos to match"),
        (["--candidates", "ids.txt", "bare"], "bare: expected photos, found none"),
        (["--candidates", "ids.txt", "photos", "--index", "no.index"], "embed build-index"),
        (["--candidates", "ids.txt", "photos", "--model", "no.model"], "embed train"),
        (["--candidates", "ids.txt", "photos", "--model", "other.model"], "another model"),
    ],
)
def test_mistakes_get_one_line_that_says_what_to_do(
    matching, sample, random_model, tmp_path, arguments, says
):
    shutil.copytree(sample / "photos", tmp_path / "photos")
    shutil.copy(sample / "ids.txt", tmp_path)
    shutil.copytree(random_model, tmp_path / "other.model")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin1.txt").write_bytes(b"sk\xfc")
    (tmp_path / "bare").mkdir()
    assert says in one_line_error(matching(*arguments))


def test_usage_errors_exit_with_2(embed):
    for arguments in (["match", "a.jpg"], ["train"], ["nonsense"], ["sample", "x", "--size", "3"]):
        done = embed(*arguments)
        assert done.returncode == 2
        assert "Error: " in done.stderr
        assert "Traceback" not in done.stderr


def test_places_come_from_the_environment(embed, tmp_path, trained_model, sample):
    environment = {
        **os.environ,
        "EMBED_MODEL": str(trained_model),
        "EMBED_INDEX": str(tmp_path / "other.index"),
    }
    assert embed("build-index", sample / "catalogue", env=environment).returncode == 0
    assert (tmp_path / "other.index").is_file()
    matched = embed("match", "--candidates", sample / "ids.txt", sample / "photos", env=environment)
    assert matched.returncode == 0


def test_build_index_lists_what_it_could_not_read(embed, tmp_path, trained_model, sample):
    shutil.copytree(sample / "catalogue", tmp_path / "catalogue")
    bad = tmp_path / "catalogue" / "sku-000001" / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "catalogue" / "nothing").mkdir()
    command = ("build-index", "catalogue", "--model", trained_model)
    assert "1 item(s) without a readable photo: nothing" in one_line_error(embed(*command))
    done = embed(*command, "--skip-empty")
    assert done.returncode == 0
    assert "1 photo(s) could not be read and are left out:" in done.stderr
    assert "catalogue/sku-000001/bad.png: " in done.stderr
    assert "12 items, 144 photos (144 embedded now)" in done.stderr


@pytest.mark.parametrize("name", ["new.onnx", "there.tflite"])
def test_training_writes_no_folder_that_is_called_like_a_file(embed_here, sample, tmp_path, name):
    (tmp_path / "there.tflite").write_bytes(b"TFL3")
    done = embed_here("train", sample / "catalogue", env={"EMBED_MODEL": name})
    assert done.stderr.count("\n") == 1
    assert f"{name}: expected the name of a model folder" in one_line_error(done)
    assert [path.name for path in tmp_path.iterdir()] == ["there.tflite"]


def test_replace_never_deletes_what_is_no_model(embed_here, sample, tmp_path):
    shutil.copytree(sample / "catalogue", tmp_path / "catalogue")
    done = embed_here("train", "catalogue", "--model", "catalogue", "--replace")
    assert "expected a model folder or nothing" in one_line_error(done)
    assert len(list((tmp_path / "catalogue").iterdir())) == 12


@pytest.mark.parametrize("options", [["--alpha", "0.5"], ["--backbone", "Nonsense"]])
def test_what_cannot_be_built_is_said_before_photos_are_decoded(
    embed_here, sample, options, tmp_path
):
    one_line_error(embed_here("train", sample / "catalogue", *options))
    assert not (tmp_path / "items.model.training").exists()


def test_backgrounds_must_be_a_folder_of_photos(embed_here, sample, tmp_path):
    done = embed_here("train", sample / "catalogue", "--backgrounds", "nowhere")
    assert "nowhere: expected a folder of photos for backgrounds" in one_line_error(done)
    assert not (tmp_path / "items.model.training").exists()


@pytest.mark.parametrize("command", ["train", "build-index"])
def test_a_catalogue_that_is_none(embed, tmp_path, trained_model, command):
    shutil.copytree(trained_model, tmp_path / "items.model")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.jpg").touch()
    more = ["--replace"] if command == "train" else []
    assert "expected a folder with one folder" in one_line_error(embed(command, "none", *more))
    assert "found photos but no folder" in one_line_error(embed(command, "loose", *more))


def test_sample_refuses_a_folder_in_use(embed, sample):
    assert "use a new folder" in one_line_error(embed("sample", sample))


def test_ctrl_c_stops_training_and_the_same_command_goes_on(embed, embed_path, tmp_path, sample):
    command = ["train", str(sample / "catalogue"), "--size", "32", "--epochs", "6"]
    process = subprocess.Popen(
        [embed_path, *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if line.startswith("epoch  1/6"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 130
    assert "Stopped." in rest
    assert "Traceback" not in rest
    done = embed(*command)
    assert done.returncode == 0, done.stderr
    assert "Going on after epoch" in done.stderr
    assert "epoch  1/6" not in done.stderr
    assert (tmp_path / "items.model" / "model.json").is_file()


def test_help_shows_every_command_with_examples(embed):
    shown = embed("--help").stdout
    names = ["sample", "train", "build-index", "match", "calibrate"]
    positions = [shown.index(f"\n  {name} ") for name in names]
    assert positions == sorted(positions)
    for name in names:
        assert f"  embed {name} " in embed(name, "--help").stdout


def test_version(embed):
    from embedder import __version__

    assert embed("--version").stdout == f"embed, version {__version__}\n"


def test_a_reader_that_goes_away_is_no_crash(embed_path, matching, tmp_path, sample):
    command = [embed_path, "match", "--candidates", sample / "ids.txt", sample / "photos"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
