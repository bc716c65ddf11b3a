"""Who may ask and who may write, and what the command says where it cannot start."""

import os
import socket
import subprocess

import httpx
import numpy as np
import pytest
from raw_http import END, part, posted, status

from index import build_from_vectors
from service import settings

TOKEN, WRITE_TOKEN = "readers-know-this-one", "writers-know-another-one"
OPEN = ["/", "/page.js", "/page.css", "/healthz", "/readyz", "/openapi.json"]
READING = [
    ("GET", "/v1/index"),
    ("POST", "/v1/match"),
    ("POST", "/v1/search"),
    ("POST", "/v1/report"),
    ("GET", "/v1/items/x"),
    ("GET", "/v1/pictures/x"),
    ("GET", "/metrics"),
]
WRITING = [("POST", "/v1/items"), ("DELETE", "/v1/items/x")]


@pytest.fixture(scope="module")
def guarded(start, served, tmp_path_factory):
    """A server with both tokens that other machines reach."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    options = ("--host", "0.0.0.0", "--token-file", str(file))
    with start(served, *options, EMBED_WRITE_TOKEN=WRITE_TOKEN) as running:
        yield running


def asked(server, method, path, given=None, host=None):
    headers = {} if given is None else {"Authorization": given}
    headers |= {} if host is None else {"Host": host}
    return httpx.request(method, f"http://127.0.0.1:{server.port}{path}", headers=headers)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        b"Bearer \xff\xfe",
        "Bearer " + "x" * 10_000,
    ],
)
def test_without_the_token_nothing_is_said(guarded, given):
    for method, path in [*READING, *WRITING]:
        answer = asked(guarded, method, path, given)
        assert answer.status_code == 401, (path, answer.text)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert list(answer.json()) == ["error"] and TOKEN not in answer.text
    for path in OPEN:
        assert asked(guarded, "GET", path, given).status_code == 200, path


def test_with_it_everything_is_but_writing(guarded):
    for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer {WRITE_TOKEN}"):
        statuses = [asked(guarded, *one, given).status_code for one in READING]
        assert statuses == [200, 415, 415, 415, 404, 404, 200]
    for one in WRITING:
        answer = asked(guarded, *one, f"Bearer {TOKEN}")
        assert answer.status_code == 401 and "for writing" in answer.json()["error"]
    statuses = [asked(guarded, *one, f"Bearer {WRITE_TOKEN}").status_code for one in WRITING]
    assert statuses == [415, 404]


def test_a_body_without_the_token_is_not_held(guarded):
    body = part("photos", b"x" * 30_000_000) + END
    assert status(guarded.say(posted("/v1/match", body))) == 401
    assert asked(guarded, "GET", "/metrics", f"Bearer {TOKEN}").text.count("bytes_held 0.0") == 1


def test_writing_is_not_enabled_unless_asked_for(server):
    for method, path in WRITING:
        for given in (None, f"Bearer {WRITE_TOKEN}", "Bearer None"):
            answer = asked(server, method, path, given)
            assert answer.status_code == 403 and "\n" not in answer.json()["error"]
    assert httpx.get(f"{server.url}/v1/index").json()["writable"] is False


@pytest.mark.parametrize(
    "host",
    ["attacker.example", "localhost.attacker.example", "10.0.0.1:80", "", "[::2]", "0.0.0.0"],
)
def test_a_name_made_to_lead_here_is_not_answered(server, guarded, host):
    for path in (*OPEN, "/v1/index", "/nothing"):
        answer = asked(server, "GET", path, host=host)
        assert answer.status_code == 400 and "localhost" in answer.json()["error"]
    # Where a token is wanted, a page from elsewhere does not have it.
    assert asked(guarded, "GET", "/v1/index", f"Bearer {TOKEN}", host).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "127.8.9.1"])
def test_this_machine_by_any_name_is_answered(server, host):
    assert asked(server, "GET", "/v1/index", host=host).status_code == 200


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    real = settings.hmac.compare_digest
    monkeypatch.setattr(
        settings.hmac, "compare_digest", lambda *two: (compared.append(two), real(*two))[1]
    )
    assert settings.is_token(TOKEN, TOKEN) and not settings.is_token("\xe9", TOKEN)
    assert not settings.is_token("", None)
    assert compared == [(TOKEN.encode(), TOKEN.encode()), ("\xe9".encode(), TOKEN.encode())]


def test_every_answer_has_the_policy(guarded):
    answers = [asked(guarded, "GET", path) for path in [*OPEN, "/nothing", "/v1/index"]]
    answers += [asked(guarded, "BREW", "/"), asked(guarded, "POST", "/")]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "server" not in answer.headers


def test_nothing_secret_is_logged_or_counted(guarded):
    for given in (f"Bearer {TOKEN}", f"Bearer {WRITE_TOKEN}", "Bearer secret-of-somebody"):
        for path in ("/v1/items/private-id", "/private-path", "/metrics"):
            asked(guarded, "GET", path, given)
    guarded.say(b"secret-of-somebody\r\n\r\n")
    counts = asked(guarded, "GET", "/metrics", f"Bearer {TOKEN}").text
    said = counts + "".join(guarded.log)
    for secret in (TOKEN, WRITE_TOKEN, "secret-of", "private-", str(guarded.folder)):
        assert secret not in said
    assert guarded.log == []


@pytest.fixture
def refused(embed_path, served, tmp_path):
    """Run `embed serve` where it cannot start; the line it says."""

    def run(*options, folder=served, code=1, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")} | environment
        done = subprocess.run(
            [embed_path, "serve", "--port", "0", *map(str, options)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        *usage, line = done.stderr.splitlines()
        assert line.startswith("Error: ")
        # Click says how the command is used where it was used wrongly.
        assert all(one.startswith(("Usage: ", "Try ", " ")) or not one for one in usage), usage
        assert "Traceback" not in done.stderr and (code == 2 or not usage)
        return line

    return run


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "", "0"])
def test_no_token_no_other_machines(refused, host):
    line = refused("--host", host, code=2)
    assert "expected a token for" in line and "--token-file" in line
    # Writing alone does not make reading safe.
    assert "expected a token" in refused("--host", host, code=2, EMBED_WRITE_TOKEN=WRITE_TOKEN)


@pytest.mark.parametrize("weak", ["", "short", "x" * 15, "with blanks in between it", "é" * 20])
def test_a_token_that_can_be_guessed_is_refused(refused, tmp_path, weak):
    file = tmp_path / "token"
    file.write_text(weak)
    for name in ("--token-file", "--write-token-file"):
        assert f"Error: {file}: expected a token of " in refused(name, file)
    assert "Error: EMBED_TOKEN: expected" in refused(EMBED_TOKEN=weak)
    assert not weak or weak not in refused(EMBED_WRITE_TOKEN=weak)


def test_a_token_file_that_cannot_be_read_is_named(refused, tmp_path):
    assert str(tmp_path / "none") in refused("--token-file", tmp_path / "none")
    assert str(tmp_path) in refused("--write-token-file", tmp_path)
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    assert "ASCII" in refused("--token-file", tmp_path / "bytes")


def test_a_place_where_it_cannot_listen_is_named(refused):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("--port", port)
    assert f"127.0.0.1, port {port}" in line and "in use" in line and "--port" in line
    with_token = {"EMBED_TOKEN": TOKEN}
    for host in ("192.0.2.1", "x" * 300, "a..b", "1.2.3.4.5", "::zz"):
        assert "cannot listen at" in refused("--host", host, **with_token), host
    assert "--port" in refused("--port", "70000", code=2)


def test_what_it_cannot_serve_is_named(refused, served, tmp_path):
    assert "items.index: expected an index file, found none" in refused(folder=tmp_path)
    assert f"{tmp_path}: expected an index file" in refused("--index", tmp_path)
    (tmp_path / "items.index").write_bytes(b"garbage" * 100)
    assert "items.index" in refused(folder=tmp_path)
    (tmp_path / "items.index").write_bytes((served / "items.index").read_bytes())
    assert "items.model" in refused(folder=tmp_path)
    (tmp_path / "items.model").mkdir()
    (tmp_path / "items.model" / "model.json").write_text("{")
    assert "items.model" in refused(folder=tmp_path)
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    build_from_vectors(vectors, list("ab") * 20, tmp_path / "items.index")
    assert "built from vectors" in refused(folder=tmp_path)
