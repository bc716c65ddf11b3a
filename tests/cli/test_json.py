"""`--json` of every command: one JSON document on standard output, and nothing else there."""

import json

import pytest
from click.testing import CliRunner

from cli.main import _COMMANDS, main


def test_every_command_has_json():
    for command in set(_COMMANDS) - {"serve"}:  # which ends without a result
        shown = CliRunner().invoke(main, [command, "--help"])
        assert "--json" in shown.output, command


@pytest.fixture
def said(embed):
    def run(*arguments):
        done = embed(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_json_of_the_commands_from_a_sample_to_a_match(said, embed, tmp_path):
    found = said("sample", ".", "--items", "4", "--photos", "8", "--queries", "3", "--size", "32")
    assert found == {"items": 4, "photos": 8, "queries": 3}
    found = said("train", "catalogue", "--size", "32", "--epochs", "1")
    assert found["epochs"] == 1 and found["items"] == 4
    assert len(found["fingerprint"]) == 64
    (tmp_path / "catalogue" / "sku-000001" / "bad.jpg").write_bytes(b"no photo")
    found = said("build-index", "catalogue")
    (bad,) = found["unreadable"]
    assert bad["photo"].endswith("bad.jpg") and bad["reason"]
    assert (found["items"], found["photos"], found["embedded"]) == (4, 32, 32)
    found = said("add", "new", "photos")
    assert found == {"photos": 3, "unreadable": [], "replaced": False}
    assert said("calibrate", "catalogue")["photos"] == 32
    found = said("verify")
    assert found["index"]["problems"] == found["model_problems"] == []
    assert found["index"]["items"] == 5
    assert said("remove", "new") == {"removed": 1}
    found = said("match", "--candidates", "ids.txt", "photos")
    assert len(found["matches"]) == 3
    as_format = embed("match", "--candidates", "ids.txt", "photos", "--format", "json")
    assert found == json.loads(as_format.stdout)
    assert said("evaluate", "catalogue")["kinds"]["asked"] > 0


def test_verify_says_what_is_damaged_in_json_too(embed, tmp_path, random_model):
    (tmp_path / "items.index").write_bytes(b"something else")
    done = embed("verify", "--model", random_model, "--json")
    assert done.returncode == 1
    assert "items.index" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_and_another_format_at_once_are_refused(embed):
    done = embed("match", "--candidates", "ids.txt", "photos", "--json", "--format", "csv")
    assert done.returncode == 2
    assert "expected --json or --format csv, found both" in done.stderr
