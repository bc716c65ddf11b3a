"""Tests of the errors, and of the names that the package exports."""

import inspect

import pytest

import embedder
from embedder import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


def test_every_error_can_be_caught_as_one():
    assert len(CLASSES) == 8
    assert all(issubclass(each, errors.EmbedError) for each in CLASSES)
    assert not any(
        issubclass(one, other)
        for one in CLASSES
        for other in CLASSES
        if other not in (one, errors.EmbedError)
    )


def test_all_is_sorted_and_names_what_is_exported():
    exported = {
        name
        for name, value in vars(embedder).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert embedder.__all__ == sorted(exported | {"__version__"})


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
