"""Whether a model folder is whole, and whether it runs."""

from __future__ import annotations

import os
from pathlib import Path

from embedder.errors import ModelError
from embedder.inference import Embedder
from embedder.model_files import current_folder, read_checked, read_model_info
from embedder.probing import probe


def model_problems(folder: str | os.PathLike[str]) -> list[str]:
    """What is wrong with a model folder: a line each, none if it is whole.

    Every file is checked against model.json. Only then does the model run, in another process, on
    one photo.
    """
    path = current_folder(Path(folder))
    try:
        info = read_model_info(path)
    except ModelError as error:
        return [str(error)]
    problems = []
    for name in info.sha256:
        try:
            read_checked(path, name, info)
        except ModelError as error:
            problems.append(str(error))
    if problems:
        return problems
    try:
        Embedder.open(path).held_out()
        probe(path)
    except ModelError as error:
        return [str(error)]
    return []
