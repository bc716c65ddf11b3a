"""Training on several devices and hosts at once, with TensorFlow's strategies.

Each replica embeds its share of a batch. The embeddings are gathered on all of them, with their
gradients, so that triplets are mined in the whole batch, as on one device. Batch normalisation
takes its averages over the whole batch too. So the same steps are made however many replicas there
are, but for rounding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import TrainingError
from embedder.workers import Workers

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

Pair = tuple[float, float]


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

    def share(self, batch: int, copies: tuple[int, ...] | None = None) -> slice:
        """The part of a batch that this process embeds, or some of its copies do."""
        copies = copies or self.here
        ends = np.linspace(0, batch, self.count + 1).round().astype(int)
        return slice(int(ends[copies[0]]), int(ends[copies[-1] + 1]))


def one_replica() -> Replicas:
    """No distribution."""
    return Replicas(tf.distribute.get_strategy(), None, (0,))


def replicas_of(workers: Workers | None, devices: list[str] | None = None) -> Replicas:
    """A replica on each GPU of each worker; on the processor where there is none.

    Args:
        workers: that have met; None for this host alone.
        devices: of this host, such as "CPU:0"; all of its GPUs unless given.
    """
    if workers is not None:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif devices or len(tf.config.list_physical_devices("GPU")) > 1:
        strategy = tf.distribute.MirroredStrategy(devices)
    else:
        return one_replica()
    numbers = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    return Replicas(strategy, workers, tuple(int(at) for at in _local(strategy, numbers)))


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
            own = replicas.share(len(labels), (context.replica_id_in_sync_group,))
            return tf.constant(photos[own.start - first : own.stop - first])

        parts = strategy.experimental_distribute_values_from_function(part)
        return tuple(_local(strategy, found)[0] for found in compiled(parts, labels))

    return run


def agreement(replicas: Replicas) -> Callable[[Pair], Pair]:
    """A function of two numbers that gives those of worker 0.

    What all workers decide by them is then the same, whatever the last digits are on each.
    """
    if replicas.workers is None:
        return lambda numbers: numbers
    strategy = replicas.strategy

    def first(numbers: Any) -> Any:
        context = tf.distribute.get_replica_context()
        own = numbers if context.replica_id_in_sync_group == 0 else tf.zeros_like(numbers)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    compiled = tf.function(lambda numbers: strategy.run(first, args=(numbers,)))

    def agreed(numbers: Pair) -> Pair:
        found = _local(strategy, compiled(tf.constant(numbers, tf.float64)))[0].numpy()
        return float(found[0]), float(found[1])

    return agreed


@contextmanager
def errors_of_others(replicas: Replicas, epoch: int) -> Iterator[None]:
    """Say in one line that another worker is lost, which the engine says in many.

    Args:
        replicas: that learn together.
        epoch: finished ones.

    Raises:
        TrainingError: a worker is lost.
    """
    try:
        yield
    except tf.errors.OpError as error:
        workers = replicas.workers
        if workers is None or isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        task = re.search(r"task:(\d+)", str(error))
        known = task is not None and int(task[1]) < len(workers.addresses)
        kept = f"from epoch {epoch}, of which worker 0 has the checkpoint" if epoch else "anew"
        raise TrainingError(
            f"lost {workers.name(int(task[1])) if task and known else 'another worker'} in epoch "
            f"{epoch + 1}: see what it says; start all workers again with the same command, and "
            f"training begins {kept}"
        ) from error
