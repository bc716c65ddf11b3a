"""What Keras does not distribute as one would expect, refused before it goes wrong silently."""

from __future__ import annotations

from embedder.backend import keras
from embedder.errors import TrainingError

_INSTEAD = "use `embed train` (docs/howto/workers.md), which gathers the embeddings of all replicas"


def refuse_data_parallel() -> None:
    """Refuse `keras.distribution` on TensorFlow, where Keras 3 takes it and leaves it at that.

    Raises:
        TrainingError: a distribution is set.
    """
    distribution = keras.distribution.distribution()
    if distribution is not None and keras.backend.backend() == "tensorflow":
        raise TrainingError(
            f"expected no keras.distribution, found {type(distribution).__name__}: on TensorFlow "
            f"it does nothing; {_INSTEAD}"
        )


def refuse_fit_of_workers() -> None:
    """Refuse to make a loss for a `fit` that would fail at its first batch.

    So does Keras 3's with `MultiWorkerMirroredStrategy`. A model that was saved with a loss may be
    loaded with other strategies, so these are refused when it is used.

    Raises:
        TrainingError: such a strategy is in scope, or `refuse_data_parallel` does.
    """
    refuse_data_parallel()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            _refuse_replicas()


def refuse_replicas() -> None:
    """Refuse a loss that `fit` gives the photos of one replica alone, which is all it can give.

    Raises:
        TrainingError: a strategy of TensorFlow's with several replicas is in scope, or
            `refuse_data_parallel` does.
    """
    refuse_data_parallel()
    if keras.backend.backend() == "tensorflow":
        _refuse_replicas()


def _refuse_replicas() -> None:
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1:
        raise TrainingError(
            f"expected one replica, found {strategy.num_replicas_in_sync} "
            f"({type(strategy).__name__}): in `fit` a loss sees the photos of its own replica "
            f"alone; {_INSTEAD}"
        )
