"""The commands with an index in a database, named as a file is."""

import json
import os

import pytest


@pytest.fixture
def run(embed, database, tmp_path):
    """A command with the database for an index; a password that nobody asks for is in the URL."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
    url = database.replace("postgres@", "postgres:s3cret@")
    environment = known | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments, variable=False, status=0, **options):
        if variable:
            options["env"] = environment | {"EMBED_INDEX": url}
        else:
            arguments, options["env"] = (*arguments, "--index", url), environment
        done = embed(*arguments, **options)
        assert done.returncode == status, done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_every_command_takes_a_database_for_an_index(run, embed, place, ids, database):
    (place / "ids.txt").write_text("\n".join(ids))
    shown = database.replace("%2F", "/")
    done = run("build-index", "catalogue")
    assert done.stderr.splitlines()[-1] == f"{shown}: 12 items, 144 photos (144 embedded now)"
    assert "(0 embedded now)" in run("build-index", "catalogue", variable=True).stderr
    match = ("match", "--candidates", "ids.txt", "photos", "--format", "json")
    expected = json.loads(embed(*match).stdout)
    assert json.loads(run(*match).stdout) == expected
    assert json.loads(run(*match, variable=True).stdout) == expected
    search = ("search", "photos", "--format", "json", "--top", "3")
    assert run(*search).stdout == embed(*search).stdout
    photos = sorted((place / "catalogue" / ids[0]).iterdir())[:3]
    assert run("add", "new", *photos).stderr == f"{shown}: new added, 3 photo(s)\n"
    assert "already" in run("add", "new", *photos, status=1).stderr
    assert json.loads(run(*search).stdout) != expected
    assert run("remove", "new").stderr == f"{shown}: 1 item(s) removed\n"
    assert "no such item: 'new'" in run("remove", "new", status=1).stderr
    assert f"{shown}: whole, 12 items" in run("verify").stdout
    run("export", "out.npz")
    assert (place / "out.npz").stat().st_size > 0
    assert "few enough" in run("optimize").stderr
    run("match", "--candidates", "ids.txt", "photos", "--report", "report.html")
    page = (place / "report.html").read_text(encoding="utf-8")
    assert f"{shown.replace('&', '&amp;')}, of " in page
    assert "s3cret" not in page


def test_what_is_wrong_is_said_in_a_line(run, place, embed):
    done = run("match", "--candidates", "-", "photos", input="a\n", status=1)
    assert len(done.stderr.splitlines()) == 1
    assert "expected an index in the database, found none" in done.stderr
    for url, said in {
        "postgresql://u:s3cret@127.0.0.1:1/db": "postgresql://u@127.0.0.1:1/db: the database",
        "postgresql://u:s3cret": "postgresql://...: expected a URL like",
    }.items():
        for command in (("verify",), ("build-index", "catalogue"), ("remove", "a")):
            done = embed(*command, "--index", url)
            assert done.returncode == 1
            assert done.stderr.startswith(f"Error: {said}")
            assert len(done.stderr.splitlines()) == 1
            assert "s3cret" not in done.stderr
