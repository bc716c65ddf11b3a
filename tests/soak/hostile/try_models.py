"""Opens models whose files were changed at random, in children that may crash; its own program.

Arguments: a model folder, a folder to work in, what to change, and how many times. Prints a line of
JSON for each: number, whether the checksum was made to fit, and what came of it.
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import traceback
from pathlib import Path

import mutants
import numpy as np
from ai_edge_litert.interpreter import Interpreter  # noqa: F401  (before the forks)

from embedder import Embedder, EmbedError
from embedder.checkpoints import Progress, load_checkpoint, refuse_other_arrays, save_checkpoint
from embedder.labelled_vectors import LabelledVectors
from embedder.model_files import HELD_OUT, LITERT, MODEL_JSON, WEIGHTS, read_checked
from embedder.probing import probe

CHECKPOINT = "checkpoint.safetensors"
SECONDS = 5
MOST_BYTES = 1 << 30  # beside what this program takes already
CHILDREN_TOGETHER = 200
PROBED = int(os.environ.get("PROBED", "3"))
ARRAYS = {
    "network": [np.ones((3, 4), np.float32), np.zeros(5, np.float32)],
    "optimizer": [np.array(7, np.int64), np.zeros((2, 0), np.float32)],
    "best": [np.ones((3, 4), np.float32)],
}


def prepare(model: Path, folder: Path) -> dict[str, bytes]:
    """The files of a model that has all that a model can have, and a checkpoint."""
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    vectors = np.random.default_rng(0).normal(size=(30, 100)).astype(np.float32)
    files[HELD_OUT] = LabelledVectors(vectors, tuple(f"item {n}" for n in range(30))).to_bytes()
    save_checkpoint(folder, "settings", Progress(2, 1, 1, losses=[0.7, 0.6]), ARRAYS)
    files[CHECKPOINT] = (folder / CHECKPOINT).read_bytes()
    return fitting(files, HELD_OUT)


def fitting(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    """The same with the checksum of a file made to fit."""
    document = json.loads(files[MODEL_JSON])
    document["sha256"][name] = hashlib.sha256(files[name]).hexdigest()
    return {**files, MODEL_JSON: json.dumps(document).encode()}


def mutant(files: dict[str, bytes], name: str, number: int, spots: list[int]) -> tuple[bool, dict]:
    chance = random.Random(f"{name} {number}")
    fit = number % 2 == 0
    if name == MODEL_JSON and fit:
        return fit, {**files, name: mutants.changed_json(files[name], chance)}
    changed = {**files, name: mutants.changed_bytes(files[name], chance, spots)}
    return fit, fitting(changed, name) if fit and name in (LITERT, WEIGHTS, HELD_OUT) else changed


def use(folder: Path, name: str) -> None:
    """Do with a model, or a checkpoint, all that a command does with it."""
    if name == CHECKPOINT:
        stored = load_checkpoint(folder, "settings")
        assert stored is not None
        refuse_other_arrays(folder, stored[1], ARRAYS)
        return
    embedder = Embedder.open(folder)
    assert len(embedder.info.fingerprint) == 64
    held_out = embedder.held_out()
    assert held_out is None or np.isfinite(held_out.vectors).all()
    read_checked(folder, WEIGHTS, embedder.info)
    size = embedder.info.architecture.size
    embedder.warm_up()
    for shade in (0, 124):
        vector = embedder.embed_pixels(np.full((size, size, 3), shade, np.uint8))
        assert vector.shape == (embedder.info.architecture.dim,)
        assert np.isfinite(vector).all()


def outcome(folder: Path, name: str) -> str:
    signal.alarm(SECONDS)
    try:
        use(folder, name)
    except EmbedError as error:
        said = str(error)
        # Of a model.json that was changed the checksum of any file can be wrong.
        files = [name] if name == CHECKPOINT else [LITERT, WEIGHTS, HELD_OUT, MODEL_JSON]
        named = any(str(folder / file) in said for file in files)
        named |= name == CHECKPOINT and said.startswith(f"{folder}: holds an unfinished training")
        return "refused" if named and said.isprintable() and len(said) < 600 else f"odd: {said!r}"
    except BaseException:
        return f"not ours: {traceback.format_exc()}"
    return "works"


def put(folder: Path, changed: dict[str, bytes], name: str) -> None:
    for file in {name, MODEL_JSON}:
        (folder / file).write_bytes(changed[file])


def in_children(folder: Path, name: str, numbers: list[int], get) -> dict[int, str]:
    """What comes of each: of those that kill a child, by which signal."""
    found = {}
    while numbers:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * 4096 + MOST_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for number in numbers:
                put(folder, get(number), name)
                line = json.dumps([number, outcome(folder, name)])
                os.write(writer, line.encode() + b"\n")
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            found |= dict(map(json.loads, lines))
        _, status = os.waitpid(child, 0)
        left = [number for number in numbers if number not in found]
        if left:
            code = os.waitstatus_to_exitcode(status)
            found[left[0]] = f"crash: {signal.Signals(-code).name if code < 0 else code}"
        numbers = left[1:]
    return found


def probed(folder: Path) -> str:
    try:
        probe(folder)
    except EmbedError as error:
        return f"refused: {error}"
    return "works"


def main() -> None:
    model, folder, name, times = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    files = prepare(model, folder)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    assert outcome(folder, name) == "works"
    signal.alarm(0)
    spots = mutants.small_numbers(files[name]) if name == LITERT else []
    crashes = 0
    # What was made to fit runs, and may harm the process it runs in: each in its own.
    together = 1 if name == LITERT else CHILDREN_TOGETHER
    for first in range(0, times, together):
        numbers = list(range(first, min(first + together, times)))
        found = in_children(folder, name, numbers, lambda n: mutant(files, name, n, spots)[1])
        for number, what in found.items():
            line = {"number": number, "fit": number % 2 == 0, "outcome": what}
            if what.startswith("crash") and crashes < PROBED:
                put(folder, mutant(files, name, number, spots)[1], name)
                line["probe"] = probed(folder)
                crashes += 1
            sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
