"""Photos embedded in other processes, as `embed serve` has them, against the embedder itself."""

import gc
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from bombs import large_png
from networks import save_onnx
from waiting import until

from embedder import Embedder, EmbedError, PhotoError
from embedder import photos as reading
from embedder.litert import load_trained
from service.line import Line
from service.refusals import RefusedError

PIXELS = 50_000_000


@pytest.fixture
def line(random_embedder):
    found = Line(random_embedder, 2, PIXELS)
    found.warm_up()
    yield found
    found.close()


def started():
    return [one for one in multiprocessing.active_children() if one.name == "photos"]


def assert_alike(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, PhotoError):
            assert isinstance(one, PhotoError) and str(one) == str(other)
        else:
            np.testing.assert_array_equal(one, other)


def test_vectors_and_errors_are_those_of_the_embedder(line, random_embedder, catalogue):
    some = [*list(catalogue.paths())[:20], b"rubbish", np.zeros((9, 9, 3), np.uint8)]
    some.insert(3, "nowhere.jpg")
    assert_alike(list(line.embed(some)), list(random_embedder.embed(some)))
    assert list(line.embed([])) == []
    (refused,) = line.embed([large_png(51)])
    assert "expected at most 50,000,000 pixels" in refused.reason


def test_large_photos_take_turns_and_come_through(line, random_embedder):
    some = [large_png(31), large_png(32), large_png(33), large_png(1)]
    assert_alike(list(line.embed(some)), list(random_embedder.embed(some)))


def test_a_turn_is_taken_for_each_large_photo(monkeypatch):
    class Turns:
        taken = 0

        def __enter__(self):
            self.taken += 1

        def __exit__(self, *exception):
            pass

    turns = Turns()
    monkeypatch.setattr(reading, "_one_large", reading._one_large)  # put back afterwards
    reading.take_turns(turns)
    for size in (31, 1, 32):
        reading.prepare(large_png(size), 32)
    assert turns.taken == 2


def test_a_network_of_somebody_else_is_run_there(tmp_path, catalogue):
    model = Embedder.open(save_onnx(tmp_path / "tiny.onnx"))
    some = list(catalogue.paths())[:7]
    expected = list(model.embed(some))
    line = Line(model, 2, PIXELS)
    try:
        line.warm_up()
        assert_alike(list(line.embed(some)), expected)
    finally:
        line.close()


def end(processes):
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def test_a_lost_process_costs_one_request(line, catalogue):
    some = list(catalogue.paths())[:9]
    expected = list(line.embed(some))
    before = started()
    for process in before:
        os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(line.embed(some)))
        time.sleep(0.2)
        end(before)
        with pytest.raises(RefusedError, match="was lost"):
            waiting.result(timeout=60)
    assert_alike(list(line.embed(some)), expected)
    end(started())  # nobody waits for them: they are found to be lost
    assert_alike(list(line.embed(some)), expected)


def test_processes_end_when_nobody_has_the_line(random_embedder):
    line = Line(random_embedder, 2, PIXELS)
    line.warm_up()
    assert len(started()) == 2
    del line
    gc.collect()
    until(lambda: not started())


def test_a_model_that_cannot_be_loaded_leaves_no_process(random_embedder):
    info = random_embedder.info
    broken = Embedder(info, partial(load_trained, b"rubbish", info.architecture, "model.tflite"))
    with pytest.raises(EmbedError, match=r"model\.tflite: LiteRT cannot load the model"):
        Line(broken, 2, PIXELS).warm_up()
    gc.collect()
    until(lambda: not started())
