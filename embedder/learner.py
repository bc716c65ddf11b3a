"""What a training teaches, and what it feeds it with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

import numpy.typing as npt

from embedder.networks import build_network
from embedder.photo_cache import PhotoCache
from embedder.replicas import Replicas
from embedder.sampling import Indices
from embedder.training_batches import LookAlikes, batches
from embedder.training_options import TrainingOptions

Batches = Generator[tuple[npt.NDArray[Any], Indices], None, None]


class Learner(NamedTuple):
    """A network, or a part of one, with what it learns from.

    Attributes:
        network: a Keras model, as it is trained, on several replicas perhaps.
        asked: the same as it is judged, perhaps for photos of another size.
        whole: from photos to embeddings, what is kept in the end; `asked` or around it.
        views: how many views of each photo there are to learn from; an epoch passes over all.
        batches: takes (usable, steps, epoch, look-alikes) as `training_batches.batches`, and yields
            what `network` takes, with labels.
        plain: takes photos int64 (rows,), and gives what `asked` takes of them as they are.
    """

    network: Any
    asked: Any
    whole: Any
    views: int
    batches: Callable[[Indices, int, int, LookAlikes | None], Batches]
    plain: Callable[[Indices], npt.NDArray[Any]]


def learner_of_photos(
    options: TrainingOptions, cache: PhotoCache, network: Any, replicas: Replicas
) -> Learner:
    """All of a network learns from photos that are varied anew each time they are used.

    Args:
        options: how to train.
        cache: the photos.
        network: of `build_network`, for photos of the side trained at.
        replicas: that it learns on.
    """
    asked = network
    if options.side_trained_at != options.architecture.size or replicas.count > 1:
        asked = build_network(options.architecture)
    drawn = partial(batches, options, cache, share=replicas.share)
    return Learner(network, asked, asked, 1, drawn, lambda rows: cache.pixels[rows])
