"""A measurement in an event loop that Ctrl-C or SIGTERM ends in order: what it has started and stored goes with it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what comes of it.

    Raises:
        asyncio.CancelledError: SIGTERM came. KeyboardInterrupt: Ctrl-C.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        return uvloop.run(_cancellable(work))
    finally:
        signal.signal(signal.SIGTERM, before)  # which a loop that is closed leaves at what it is without anybody


async def _cancellable(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
