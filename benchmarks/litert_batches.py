"""Photos a second through LiteRT by batch size: one interpreter a thread against one with threads.

Run it as `python benchmarks/litert_batches.py`. Why `Embedder` runs batches of one.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from embedder.backend import keras, ops
from embedder.model_files import Architecture
from embedder.networks import build_network
from embedder.saving import litert_from_keras

PHOTOS = 4096


def model(network: object, size: int, batch: int) -> bytes:
    """The network as a LiteRT file with a fixed batch."""
    photos = keras.Input(batch_shape=(batch, size, size, 3), dtype="uint8")
    return litert_from_keras(keras.Model(photos, network(ops.cast(photos, "float32"))))


def rate(content: bytes, batch: int, size: int, interpreters: int, threads: int) -> float:
    """Photos a second with so many interpreters, of so many threads each."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)

    def work() -> None:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]["index"]
        for _ in range(PHOTOS // interpreters // batch):
            interpreter.set_tensor(entry, pixels)
            interpreter.invoke()

    workers = [threading.Thread(target=work) for _ in range(interpreters)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return PHOTOS / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    print(f"{cores} cores; photos/s, {cores} interpreters of 1 thread / 1 of {cores} threads")
    for architecture in (Architecture(), Architecture("MobileNet", 0.25, 160)):
        network = build_network(architecture)
        for batch in (1, 8, 32):
            content = model(network, architecture.size, batch)
            several = rate(content, batch, architecture.size, cores, 1)
            single = rate(content, batch, architecture.size, 1, cores)
            name = f"{architecture.backbone} {architecture.size} px"
            print(f"{name:<18} batch {batch:>2}: {several:>7,.0f} / {single:>7,.0f}", flush=True)


if __name__ == "__main__":
    main()
