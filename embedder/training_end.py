"""The end of a training: its best weights judged once more, and written as a model."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from embedder import validation
from embedder.backend import keras
from embedder.labelled_vectors import LabelledVectors
from embedder.model_files import ModelInfo
from embedder.sampling import evenly
from embedder.saving import save_model
from embedder.training_run import Run, gallery_and_queries
from embedder.training_step import embedding_function
from embedder.version import __version__

import tensorflow as tf  # isort: skip  (after embedder.backend, which names the extra)

_COMPARED = 200  # photos, in LiteRT with the network


def write_trained(run: Run, model: Path) -> ModelInfo:
    """Write the model folder of a training that is done.

    Raises:
        TrainingError: the LiteRT model disagrees with the network.
        OSError: it cannot be written.
    """
    learner = run.learner
    learner.asked.set_weights(run.best)
    temperature, whitened_temperature = validation.DEFAULT_TEMPERATURE, None
    accuracy: tuple[float | None, float | None] = (None, None)
    whitened_accuracy, judged, held_out = accuracy, 0, None
    if run.held.any():
        items, known, labels, asked, truth = gallery_and_queries(
            run, embedding_function(learner.asked)
        )
        judged = len(items)
        held_out = LabelledVectors(asked, tuple(items[item] for item in truth.tolist()))
        plain, whitened = validation.judge_spaces(
            known, labels, asked, truth, judged, run.options.seed
        )
        temperature = plain.temperature
        accuracy = (round(run.progress.best_score[0], 4), round(run.progress.best_score[1], 4))
        if whitened is not None:
            whitened_accuracy = (round(whitened.candidate_accuracy, 4), round(whitened.top1, 4))
            if whitened.better_than(plain):
                whitened_temperature = whitened.temperature
    facts = {
        "items": len(run.cache.items),
        "judged_items": judged,
        "photos": int((~run.held).sum()),
        "held_out_photos": int(run.held.sum()),
        "unreadable_photos": len(run.cache.unreadable),
        "epochs": run.progress.epoch,
        "best_epoch": run.progress.best_epoch,
        "candidate_accuracy": accuracy[0],
        "top1": accuracy[1],
        "whitened_candidate_accuracy": whitened_accuracy[0],
        "whitened_top1": whitened_accuracy[1],
        "seconds": round(run.progress.seconds, 1),
        "options": asdict(
            replace(
                run.options,
                weights=_file_name(run.options.weights),
                backgrounds=_file_name(run.options.backgrounds),
            )
        ),
        "versions": {
            "embed": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
    some = run.cache.pixels[evenly(len(run.cache.labels), _COMPARED)]
    info = ModelInfo(
        run.options.architecture, temperature, facts, whitened_temperature=whitened_temperature
    )
    return save_model(learner.whole, info, some, model, held_out)


def _file_name(path: str | None) -> str | None:
    return Path(path).name if path else None
