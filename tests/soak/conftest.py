"""Tests that try to break things at random: short with `make test`, long with `make soak`."""

import os
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def rounds() -> Callable[[int, int], int]:
    """How often to try: the first number, or with `make soak` the second."""
    return lambda short, long: long if os.environ.get("EMBED_SOAK") else short
