"""Waiting for what comes about by itself, in another thread or process."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object]) -> None:
    """Look every twentieth of a second whether it holds, for half a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in half a minute")
