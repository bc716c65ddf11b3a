"""What `embed export` gives: bytes, milliseconds, cosines, and right matches.

Run it as `python benchmarks/exports.py --model DIR --catalogue .../grocery/train --queries
.../grocery/val`.

Every export is made as `embed export` makes it, calibrated with photos of the catalogue. The photos
of the queries are only measured: cosines to model.tflite, and accuracy over seeded draws of 10
candidates with one photo each (`grocery.py`), of the export's vectors against an index of its own
vectors of the catalogue and against the index of the model itself. Times are of the network alone,
on prepared photos, one at a time on one thread, all exports by turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
from grocery import embedded, measure_vectors, versions

from embedder import Catalogue, Embedder, read_catalogue
from embedder.export import drawn_evenly, export_model
from embedder.model_files import LITERT, ModelInfo
from embedder.onnx_files import INPUT, OUTPUT
from embedder.photos import Pixels, prepare
from embedder.quantising import rounded_to_int8
from embedder.quiet import native_output_silenced
from index import Matcher, build_index

Vectors = npt.NDArray[np.float32]
Run = Callable[[Pixels], Vectors]

KINDS = (("tflite", "float32"), ("tflite", "float16"), ("tflite", "int8"), ("onnx", "float32"))
TIMED = 60  # photos, each of them
TIMES = 5  # times, the first of which does not count


class Exported(Embedder):
    """An embedder that runs an export instead of the model's own file."""

    def __init__(self, model: Path, info: ModelInfo, content: bytes, run: Run) -> None:
        # The index of one export is not that of another.
        sha256 = {**info.sha256, LITERT: hashlib.sha256(content).hexdigest()}
        super().__init__(replace(info, sha256=sha256), content, model)
        self.run, self.lock = run, Lock()

    def embed_pixels(self, pixels: Pixels) -> Vectors:
        """As the embedder of the model does, one after the other."""
        with self.lock:
            return self.run(pixels)


def litert(content: bytes) -> Run:
    """A function from a prepared photo to its vector, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    with native_output_silenced():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def run(pixels: Pixels) -> Vectors:
        interpreter.set_tensor(given, pixels[None])
        interpreter.invoke()
        vector: Vectors = interpreter.get_tensor(result)[0]
        return vector

    return run


def onnx(content: bytes) -> Run:
    """The same of an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels[None]})[0][0]


def timed(runs: dict[str, Run], photos: list[Pixels]) -> dict[str, list[float]]:
    """Milliseconds of each run, by turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for pixels in photos:
        for name, run in runs.items():
            for at in range(TIMES):
                started = time.perf_counter()
                run(pixels)
                if at:
                    found[name].append(1000 * (time.perf_counter() - started))
    return found


def exports(model: Path, catalogue: Catalogue) -> dict[str, bytes]:
    """All exports, and int8 as it is with biases as they were."""
    found = {}
    for format, precision in KINDS:
        found[f"{format} {precision}"] = export_model(model, format, precision, catalogue).content
    drawn = drawn_evenly(catalogue, 200)
    size = Embedder.open(model).info.architecture.size
    original = (model / LITERT).read_bytes()
    plain = rounded_to_int8(original, [prepare(path, size) for path in drawn])
    return found | {"int8, biases as they were": plain}


def accuracies(
    index: Path, vectors: Vectors, truth: list[str], ids: list[str]
) -> tuple[float, float]:
    """Of 10 candidates, each photo by itself and one to one."""
    with Matcher.open(index) as matcher:
        figures = measure_vectors(matcher, vectors, truth, ids)
    return tuple(value for name, value in figures.items() if "candidates" in name)


def main() -> None:
    """Export, run, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--catalogue", type=Path, required=True, help="calibrates, and is indexed")
    parser.add_argument("--queries", type=Path, required=True, help="other photos of its items")
    arguments = parser.parse_args()
    names = ("ai-edge-quantizer", "tf2onnx", "onnxruntime")
    others = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{versions()}, {others}", flush=True)
    catalogue, queries = read_catalogue(arguments.catalogue), read_catalogue(arguments.queries)
    ids = list(queries.items)
    truth = [item for item, photos in queries.items.items() for _ in photos]
    own = Embedder.open(arguments.model)
    contents = exports(arguments.model, catalogue)
    runs = {name: (onnx if "onnx" in name else litert)(of) for name, of in contents.items()}
    photos = [prepare(path, own.info.architecture.size) for path in queries.paths()]
    spent = timed(runs, [photos[at] for at in np.linspace(0, len(photos) - 1, TIMED).astype(int)])
    expected = embedded(own, queries)
    with tempfile.TemporaryDirectory() as folder:
        build_index(catalogue, own, Path(folder) / "items.index")
        for number, (name, run) in enumerate(runs.items()):
            embedder = Exported(arguments.model, own.info, contents[name], run)
            vectors = embedded(embedder, queries)
            build_index(catalogue, embedder, Path(folder) / f"{number}.index")
            cosines = (vectors * expected).sum(axis=1)
            print(f"{name}: {len(contents[name]):,} bytes", flush=True)
            print(f"  ms: median {np.median(spent[name]):.2f}, least {min(spent[name]):.2f}")
            print(f"  cosine: mean {cosines.mean():.5f}, lowest {cosines.min():.4f}")
            for whose, index in (("own", f"{number}.index"), ("the model's", "items.index")):
                alone, jointly = accuracies(Path(folder) / index, vectors, truth, ids)
                print(f"  10 candidates, {whose} index: {alone:.2%}, one to one {jointly:.2%}")


if __name__ == "__main__":
    main()
