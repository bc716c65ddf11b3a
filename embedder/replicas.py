"""Training on several devices and hosts at once, with TensorFlow's strategies.

Each replica embeds its share of a batch. The embeddings are gathered on all of them, with their
gradients, so that triplets are mined in the whole batch, as on one device. Batch normalisation
takes its averages over the whole batch too. So the same steps are made however many replicas there
are, but for rounding.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import TrainingError, in_one_line
from embedder.workers import VARIABLE, Workers

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Replicas:
    """The copies of a network that learn together.

    Attributes:
        strategy: of TensorFlow's.
        workers: the hosts; None for this one alone.
        here: numbers of the copies in this process, among all.
    """

    strategy: Any
    workers: Workers | None
    here: tuple[int, ...]

    @property
    def count(self) -> int:
        """Copies on all hosts."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes checkpoints and the model."""
        return self.workers is None or self.workers.number == 0

    def share(self, batch: int) -> slice:
        """The part of a batch of so many photos that this process embeds."""
        first, last = self.of_copy(batch, self.here[0]), self.of_copy(batch, self.here[-1])
        return slice(first.start, last.stop)

    def of_copy(self, batch: int, number: int) -> slice:
        """The part of a batch that one of all copies embeds."""
        ends = np.linspace(0, batch, self.count + 1).round().astype(int)
        return slice(int(ends[number]), int(ends[number + 1]))


def one_replica() -> Replicas:
    """No distribution."""
    return Replicas(tf.distribute.get_strategy(), None, (0,))


def replicas_of(
    workers: Workers | None, devices: list[str] | None = None, most: int | None = None
) -> Replicas:
    """A replica on each GPU of each worker; on the processor where there is none.

    Args:
        workers: that have met; None for this host alone.
        devices: of this host, such as "CPU:0"; its GPUs unless given.
        most: GPUs of one host, where a batch has no more photos.

    Raises:
        TrainingError: TensorFlow cannot work with others any more.
    """
    if workers is not None:
        strategy = _strategy_of(workers)
    else:
        gpus = len(tf.config.list_physical_devices("GPU"))
        devices = devices or [f"GPU:{number}" for number in range(min(gpus, most or gpus))]
        if len(devices) < 2:
            return one_replica()
        strategy = tf.distribute.MirroredStrategy(devices)
    numbers = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    return Replicas(strategy, workers, tuple(int(at) for at in _local(strategy, numbers)))


def _strategy_of(workers: Workers) -> Any:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = workers.variable  # which is all that the engine looks at
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def refuse_used_engine() -> None:
    """See that TensorFlow can still be set up to work with other hosts.

    Raises:
        TrainingError: it was used in this process before.
    """
    threading = tf.config.threading
    before = threading.get_inter_op_parallelism_threads()
    try:
        threading.set_inter_op_parallelism_threads(before + 1)  # refused once it is in use
    except RuntimeError as error:
        raise TrainingError(
            "expected a process that has not used TensorFlow yet, which has to be set up first to "
            "train on several hosts: start another one"
        ) from error
    threading.set_inter_op_parallelism_threads(before)


def _local(strategy: Any, values: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = strategy.experimental_local_results(values)
    return found


def gathered(vectors: Any) -> Any:
    """The vectors (batch, dim) of all replicas, from those of one, in a step that all run.

    The slope of what is made of them comes back summed over the replicas.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return vectors
    return tf.distribute.get_replica_context().all_gather(vectors, axis=0)


def on_each(replicas: Replicas, step: Callable[[Any, Any], tuple[Any, ...]]) -> Callable[..., Any]:
    """A compiled function that runs a step on all replicas, and gives what the first here found.

    Args:
        replicas: those.
        step: takes a replica's photos and the labels of the whole batch.

    Returns:
        A function of this process' share of the photos, and the labels of the whole batch.
    """
    if replicas.count == 1:
        alone: Callable[..., Any] = tf.function(step, reduce_retracing=True)
        return alone
    strategy = replicas.strategy

    def steps(photos: Any, labels: Any) -> Any:
        return strategy.run(step, args=(photos, labels))

    compiled = tf.function(steps, reduce_retracing=True)

    def run(photos: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Any, ...]:
        first = replicas.share(len(labels)).start

        def part(context: Any) -> Any:
            own = replicas.of_copy(len(labels), context.replica_id_in_sync_group)
            return tf.constant(photos[own.start - first : own.stop - first])

        parts = strategy.experimental_distribute_values_from_function(part)
        return tuple(_local(strategy, found)[0] for found in compiled(parts, labels))

    return run


def agreement(replicas: Replicas) -> Callable[[Array], Array]:
    """A function of an array that gives that of worker 0, float64 or int64 of the same shape.

    What all workers decide by it is then the same, whatever the last digits are on each.
    """
    if replicas.workers is None:
        return lambda array: array
    strategy = replicas.strategy

    def first(own: Any) -> Any:
        context = tf.distribute.get_replica_context()
        given = own if context.replica_id_in_sync_group == 0 else tf.zeros_like(own)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, given)

    compiled = tf.function(lambda own: strategy.run(first, args=(own,)))

    def agreed(array: Array) -> Array:
        found: Array = _local(strategy, compiled(tf.constant(array)))[0].numpy()
        return found

    return agreed


@contextmanager
def errors_of_others(workers: Workers | None) -> Iterator[None]:
    """Say in one line that another worker is lost, which the engine says in many.

    Raises:
        TrainingError: it is.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if workers is None or isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        said = str(error)
        numbers = [int(found) for found in re.findall(r"remote target \S*/task:(\d+)", said)]
        others = {*range(len(workers.addresses))} - {workers.number}
        known = [at for at in numbers if at in others] or [*others][: len(others) == 1]
        who = workers.name(known[0]) if known else "another worker"
        # What went wrong stands between the place in the graph and what grpc adds.
        why = re.search(r"^Collective ops is aborted by: (.*)", said, re.MULTILINE)
        raise TrainingError(
            f"lost {who} ({in_one_line(why[1] if why else said, 100)}): see what it says; start "
            "all workers again with the same command, and they go on from the last checkpoint of "
            "worker 0"
        ) from error
