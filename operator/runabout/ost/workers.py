"""Threads for calls that block, with a time-out on each.

What always holds: at most `threads` calls are under way; a caller never waits longer than its time-out, whatever the
call does; the threads never keep the process from ending, so a dead file server cannot either. A call that timed out or
whose caller was cancelled goes on in its thread and its outcome is dropped.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from runabout.ost.errors import UnavailableError

T = TypeVar("T")


class Workers:
    """Up to `threads` daemon threads, started when they are needed."""

    def __init__(self, name: str, *, threads: int, timeout: float) -> None:
        if threads < 1:
            raise ValueError(f"at least one thread is needed, not {threads}")
        self._name = name
        self._timeout = timeout
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        # Unbounded by itself; each entry is a caller that waits, and one that gave up is skipped in no time.
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed = False

    async def run(self, call: Callable[[], T], what: str, *, seconds: float | None = None) -> T:
        """Return what `call` returns in a thread, or raise what it raises.

        Raises:
            UnavailableError: it took longer than `seconds` (default: the workers'); `what` says whose.
        """
        seconds = self._timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(self._submit(call))
        except TimeoutError as error:
            raise UnavailableError(f"{what}: no answer within {seconds:g} seconds") from error

    def run_later(self, call: Callable[[], None]) -> None:
        """Have `call` done some time, without anybody waiting: cleaning up. What it raises as OSError is dropped."""

        def quietly() -> None:
            with contextlib.suppress(OSError):
                call()

        if self._closed:
            quietly()
        else:
            self._submit(quietly)

    def close(self) -> None:
        """Let the threads end after what is queued."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def _submit(self, call: Callable[[], T]) -> "Future[T]":
        if self._closed:
            raise UnavailableError(f"{self._name}: closed")
        future: Future[T] = Future()

        def perform() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        self._queue.put(perform)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def _work(self) -> None:
        while True:
            perform = self._queue.get()
            if perform is None:
                return
            perform()
            del perform  # keep no caller's data alive while waiting
            self._idle.release()
