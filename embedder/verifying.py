"""Whether a model is whole, and whether it runs."""

from __future__ import annotations

import os
from pathlib import Path

from embedder.errors import ModelError
from embedder.inference import Embedder
from embedder.model_files import current_folder, is_network, read_checked, read_model_info
from embedder.probing import probe


def model_problems(model: str | os.PathLike[str]) -> list[str]:
    """What is wrong with a model: a line each, none if it is whole.

    Every file of a model folder is checked against model.json. Only then does the model run, in
    another process, on one photo. So does a network in a file, of which only the index knows the
    hash.
    """
    path = current_folder(Path(model))
    return _folder_problems(path) if not is_network(path) else _network_problems(path)


def fingerprint_of(model: str | os.PathLike[str]) -> str:
    """What an index is bound to, without loading the model.

    Raises:
        ModelError: there is none, or its description is damaged.
    """
    path = current_folder(Path(model))
    if not is_network(path):
        return read_model_info(path).fingerprint
    from embedder.network_files import read_network

    return read_network(path).fingerprint


def _network_problems(path: Path) -> list[str]:
    try:
        fingerprint_of(path)
        probe(path)
    except ModelError as error:
        return [str(error)]
    return []


def _folder_problems(path: Path) -> list[str]:
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
