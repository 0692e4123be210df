"""What a person sees: the only module that prints.

Everything goes to stderr except `answer`, so that `$(hack/cluster kubeconfig)` holds a path and nothing else.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_TICK_SECONDS = 3.0
TICK_SECONDS = 10.0


class LocalClusterError(Exception):
    """Something a person has to know: what is wrong, where, and what to do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n  {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


def say(line: str) -> None:
    """Write one line for a person."""
    print(line, file=sys.stderr, flush=True)


def answer(line: str) -> None:
    """Write one line for a program."""
    print(line, flush=True)


@contextmanager
def step(title: str, *, detail: Callable[[], str] | None = None, quiet: bool = False) -> Iterator[None]:
    """Say what is being done, repeat it with the elapsed time while it lasts, and say how long it took.

    `detail` is asked at every repetition and may add what is known about the progress. A `quiet` step speaks only if
    it lasts.
    """
    if not quiet:
        say(f"· {title} …")
    begin = time.monotonic()
    over = threading.Event()

    def tick() -> None:
        wait = FIRST_TICK_SECONDS if quiet else TICK_SECONDS
        while not over.wait(wait):
            wait = TICK_SECONDS
            more = f" ({detail()})" if detail else ""
            say(f"    {title}: {time.monotonic() - begin:.0f} s{more}")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()
    took = time.monotonic() - begin
    if not quiet or took > FIRST_TICK_SECONDS:
        say(f"  {title}: done in {took:.1f} s")
