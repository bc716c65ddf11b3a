"""Tests of the errors, and of the names that the package exports."""

import ast
import inspect
import pickle
import sys
from pathlib import Path

import pytest

import embedder
from embedder import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


def test_every_error_can_be_caught_as_one():
    assert len(CLASSES) == 11
    assert all(issubclass(each, errors.EmbedError) for each in CLASSES)
    assert not any(
        issubclass(one, other)
        for one in CLASSES
        for other in CLASSES
        if other not in (one, errors.EmbedError) and one is not errors.IndexBusyError
    )


def test_all_is_sorted_and_names_what_is_imported_for_others():
    tree = ast.parse(Path(embedder.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("embedder.")
        for alias in node.names
    }
    assert embedder.__all__ == sorted(imported)


@pytest.mark.parametrize("name", embedder.__all__)
def test_every_name_can_be_imported(name: str):
    value = getattr(embedder, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name
        assert getattr(sys.modules[value.__module__], name) is value


def test_no_other_name_can_be_imported():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = embedder.Nothing


def test_every_error_is_exported():
    assert {each.__name__ for each in CLASSES} <= set(embedder.__all__)


def test_photo_error_names_photo_and_reason():
    error = errors.PhotoError("shelf/1.jpg", "no such file")
    assert str(error) == "shelf/1.jpg: no such file"
    assert (error.photo, error.reason) == ("shelf/1.jpg", "no such file")


@pytest.mark.parametrize("extra", ["train", "other"])
def test_missing_extra_says_how_to_install_it(extra: str):
    message = str(errors.MissingExtraError("training", extra))
    assert message == f"training needs the extra [{extra}]: pip install 'embed-match[{extra}]'"


def test_errors_of_photos_come_back_from_other_processes():
    error = pickle.loads(pickle.dumps(errors.PhotoError("shelf/1.jpg", "no such file")))
    assert (error.photo, error.reason) == ("shelf/1.jpg", "no such file")
    assert str(error) == "shelf/1.jpg: no such file"
