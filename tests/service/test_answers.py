"""What `embed serve` answers, beside what the command line says of the same photos."""

import json
import subprocess

import httpx


def sent(paths, **fields):
    """A form of photos and fields."""
    files = [("photos", (f"../{path.name}", path.read_bytes())) for path in paths]
    return {"files": files, "data": fields}


def test_a_match_is_what_the_command_says(server, sample, embed_path):
    photos = sorted((sample / "photos").iterdir())
    ids = (sample / "ids.txt").read_text()
    answer = httpx.post(f"{server.url}/v1/match", **sent(photos, candidates=ids), timeout=60)
    assert answer.status_code == 200
    command = [embed_path, "match", "--candidates", sample / "ids.txt", "--format", "json"]
    done = subprocess.run([*command, *photos], cwd=server.folder, capture_output=True, check=True)
    expected = json.loads(done.stdout)
    for number, match in enumerate(expected["matches"], start=1):
        match["photo"] = f"photo {number}"
    assert answer.json() == expected
