"""How long a server takes to refuse photos that are made to cost much.

    python benchmarks/serving_bombs.py INDEX MODEL

Starts `embed serve` with them, sends each bomb of the tests by itself, ten times, and prints the
slowest answer of each: over HTTP, to the last byte. Fails if one takes 0.1 s or more.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests" / "made"))

from bombs import bombs, heif_bombs

EMBED = Path(sysconfig.get_path("scripts")) / "embed"
ROUNDS, MOST_SECONDS = 10, 0.1


def asked(url: str, photo: bytes) -> tuple[float, str]:
    """Search for one photo: seconds, and why it was not read."""
    head = b'--BOUNDARY\r\nContent-Disposition: form-data; name="photos"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=BOUNDARY"}
    body = head + photo + b"\r\n--BOUNDARY--\r\n"
    request = urllib.request.Request(f"{url}/v1/search", body, headers)
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        (found,) = json.load(answer)["photos"]
    return time.perf_counter() - began, found["reason"]


def main() -> None:
    """Run it on the index and the model named on the command line."""
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/serving_bombs.py INDEX MODEL")
    command = [EMBED, "serve", "--port", "0", "--index", sys.argv[1], "--model", sys.argv[2]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            url = re.search(r"http://\S+", line)
            if url is None:
                sys.exit(line + server.stderr.read())
            slowest = 0.0
            print(f"{'bomb':<40} {'bytes':>8} {'slowest':>9}  reason")
            for name, photo in itertools.chain(bombs(), heif_bombs()):
                answers = [asked(url[0], photo) for _ in range(ROUNDS)]
                seconds = max(second for second, _ in answers)
                slowest = max(slowest, seconds)
                reason = answers[0][1]
                if not reason:
                    sys.exit(f"{name}: expected it to be refused, found it read")
                print(f"{name:<40} {len(photo):>8,} {1000 * seconds:>6.1f} ms  {reason[:80]}")
        finally:
            server.terminate()
    print(f"the slowest of {ROUNDS} each: {1000 * slowest:.1f} ms")
    if slowest >= MOST_SECONDS:
        sys.exit(f"expected less than {1000 * MOST_SECONDS:.0f} ms")


if __name__ == "__main__":
    main()
