"""Writes of a training on a disk that fails: started with the library of `faults.c` preloaded.

Prints a line of JSON for each call that failed: what was written, what became of it, and whether
what was there before, or the new, is whole; and whether it can be written afterwards.
"""

import ctypes
import errno
import json
import sys
from pathlib import Path

import numpy as np

from embedder import Embedder, EmbedError, read_catalogue, saving
from embedder.checkpoints import Progress, load_checkpoint, save_checkpoint
from embedder.model_files import Architecture, ModelInfo
from embedder.networks import build_network
from embedder.photo_cache import open_cache
from embedder.saving import save_model

FAULTS = ctypes.CDLL(None)
FAULTS.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
ARCHITECTURE = Architecture(size=32)


def model_writes(folder):
    network = build_network(ARCHITECTURE)
    photos = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    content = saving.litert_model(network, ARCHITECTURE)
    answers = network.predict(photos.astype(np.float32), verbose=0)
    # Both take long, and are the same each time.
    saving.litert_model = lambda *_: content
    network.predict = lambda *_, **__: answers

    def write(number):
        save_model(network, ModelInfo(ARCHITECTURE, number), photos, folder / "items.model")

    def read():
        embedder = Embedder.open(folder / "items.model")
        embedder.warm_up()
        return embedder.info.temperature

    return write, read


def checkpoint_writes(folder):
    folder.mkdir()

    def write(number):
        save_checkpoint(folder, "settings", Progress(epoch=number), {"best": [np.zeros(9)]})

    def read():
        progress, _ = load_checkpoint(folder, "settings")
        return progress.epoch

    return write, read


def cache_writes(folder, catalogue):
    def write(number):
        open_cache(catalogue, 32 + number, folder / "cache", masks=True)

    def read():  # what is left may be made anew, but must never be taken for whole
        pixels = np.array(open_cache(catalogue, 33, folder / "cache", masks=True).pixels)
        assert pixels.shape[1] == 33
        assert pixels.any(axis=(1, 2, 3)).all()
        return 1

    return write, read


def attempts(name, folder, write, read, codes, modes):
    write(1)
    FAULTS.faults_arm(str(folder).encode(), 0, 0, 0)
    write(2)
    calls = FAULTS.faults_count()
    for code in codes:
        for mode in modes:
            for at in range(1, calls + 1):
                FAULTS.faults_arm(b"", 0, 0, 0)
                write(1)
                FAULTS.faults_arm(str(folder).encode(), at, code, mode)
                said = ""
                try:
                    write(2)
                except EmbedError as error:
                    said = str(error)
                FAULTS.faults_arm(b"", 0, 0, 0)
                found = read()
                write(2)
                left = sorted(path.name for path in folder.iterdir())
                result = {"what": name, "at": at, "code": code, "said": said, "found": found}
                sys.stdout.write(json.dumps(result | {"left": left}) + "\n")


def main():
    root, many = Path(sys.argv[1]), sys.argv[3] == "many"
    codes = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS][: 4 if many else 2]
    modes = range(3 if many else 1)
    catalogue = read_catalogue(sys.argv[2])
    for name in ("model", "checkpoint", "cache"):
        (root / name).mkdir()
    attempts("model", root / "model", *model_writes(root / "model"), codes, modes)
    folder = root / "checkpoint" / "training"
    attempts("checkpoint", folder, *checkpoint_writes(folder), codes, modes)
    attempts("cache", root / "cache", *cache_writes(root / "cache", catalogue), codes, modes)


if __name__ == "__main__":
    main()
