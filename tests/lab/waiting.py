"""Waiting for a condition, with a deadline and without a guess at how long it takes."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

SECONDS = 90
PAUSE = 0.1
T = TypeVar("T")


def eventually(look: Callable[[], T], reached: Callable[[T], bool], *, seconds: float = SECONDS) -> T:
    """Return the first thing seen that is `reached`; fail with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if reached(found):
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s; the last seen: {json.dumps(found, indent=1, default=str)[:4000]}")
        time.sleep(PAUSE)
