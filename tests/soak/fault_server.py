"""Runs `embed` commands on a disk that fails: started with the library of `faults.c` preloaded.

Reads a request a line from standard input, as JSON: arguments, folder, at, code, mode. Each runs in
a child that is forked from here, where all is imported already. Writes a line of JSON for each:
exit status (negative: the signal), what the child said, and how many calls it counted.
"""

import ctypes
import gc
import json
import os
import sys
import tempfile

# What the commands import, before children are forked.
import ai_edge_litert.interpreter  # noqa: F401
import rich.progress  # noqa: F401
import scipy.optimize  # noqa: F401
from PIL import Image

import cli.add
import cli.build_index
import cli.calibrate
import cli.main
import cli.optimize
import cli.photos_given
import cli.remove
import embedder.quiet  # noqa: F401
import index.optimizing  # noqa: F401
from embedder import Embedder
from index import Matcher, add_item, build_index, calibrate_index  # noqa: F401

FAULTS = ctypes.CDLL(None)


def child(request, said, counted):
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(request["folder"])
    arm = FAULTS.faults_arm
    arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    arm(request["folder"].encode(), request["at"], request["code"], request["mode"])
    try:
        cli.main.main(request["arguments"], prog_name="embed")
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os.pwrite(counted, str(FAULTS.faults_count()).encode(), 0)
    os._exit(status)


def run(request):
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as counted:
        number = os.fork()
        if not number:
            child(request, said.fileno(), counted.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        said.seek(0)
        counted.seek(0)
        return {
            "status": status,
            "said": said.read().decode(errors="replace"),
            "count": int(counted.read() or 0),
        }


def main():
    Embedder.open(sys.argv[1])
    Image.preinit()
    gc.freeze()  # a child would copy the memory of all that it only looks through
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
