"""Calls that are tried again: with growing, random delays, until a deadline."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runabout.ost.errors import RetryableOstError
from runabout.ost.waits import Wait

T = TypeVar("T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


def delay(attempt: int) -> float:
    """Return how long to wait after the given attempt (1, 2, …), in seconds: anything up to a bound that doubles."""
    bound = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt - 1, 10))
    return random.uniform(bound / 10, bound)  # noqa: S311 - jitter, not a secret


async def retried(call: Callable[[bool], Awaitable[T]], *, seconds: float, wait: Wait | None = None) -> T:
    """Return what `call` returns; it is told whether an earlier attempt may have had an effect.

    `wait` is told how an attempt failed.

    Raises:
        RetryableOstError: the last attempt's, when the next one would begin after `seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    attempt = 0
    while True:
        attempt += 1
        try:
            return await call(attempt > 1)
        except RetryableOstError as error:
            if wait is not None:
                wait.failed = error
            pause = delay(attempt)
            if loop.time() + pause >= deadline:
                raise
        await asyncio.sleep(pause)
