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
LATER_TICK_SECONDS = 30.0
"""Between two lines of a step that has lasted for a minute already, where lines cannot be overwritten."""
SCREEN_TICK_SECONDS = 1.0


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


def duration(seconds: float) -> str:
    """A time as a person says it: `9.3 s`, `2 min 05 s`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


@contextmanager
def step(title: str, *, detail: Callable[[], str] | None = None, quiet: bool = False) -> Iterator[None]:
    """Say what is being done, how long it has lasted while it lasts, and how long it took.

    `detail` is asked each time and may add what is known about the progress. A `quiet` step speaks only if it lasts.
    What stands in brackets in the title is said once.
    On a terminal the progress is one line that is overwritten, elsewhere it is a line now and then.
    """
    if not quiet:
        say(f"· {title} …")
    begin = time.monotonic()
    over = threading.Event()
    on_screen = sys.stderr.isatty()

    def tick() -> None:
        wait = FIRST_TICK_SECONDS if quiet or on_screen else TICK_SECONDS
        while not over.wait(wait):
            elapsed = int(time.monotonic() - begin)
            more = f" · {detail()}" if detail else ""
            line = f"    {f'{title}: ' if quiet else ''}{elapsed // 60}:{elapsed % 60:02d}{more}"
            if on_screen:
                wait = SCREEN_TICK_SECONDS
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            else:
                wait = TICK_SECONDS if elapsed < 60 else LATER_TICK_SECONDS  # noqa: PLR2004 - a minute
                say(line)
        if on_screen:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    done = False
    try:
        yield
        done = True
    finally:
        over.set()
        ticker.join()
        took = time.monotonic() - begin
        if not quiet or took > FIRST_TICK_SECONDS:
            say(f"  {title.partition(' (')[0]}: {'done in' if done else 'ended after'} {duration(took)}")
