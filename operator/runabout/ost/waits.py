"""Saying what is waited for: a call that takes long is told of while it lasts, not only when it has ended.

A server that does not answer is given the time of a request, and tries are made for a minute: without this, whoever
looks at a process that begins sees nothing for that long.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runabout.ost.errors import RetryableOstError

AFTER_SECONDS = 3.0
AGAIN_SECONDS = 15.0


def nobody(_sentence: str) -> None:
    """Hear nothing."""


class Waits:
    """Tells of the long calls of one store: one sentence at a time, however many calls there are."""

    def __init__(
        self, tell: Callable[[str], None] = nobody, *, after: float = AFTER_SECONDS, again: float = AGAIN_SECONDS
    ) -> None:
        self._tell = tell
        self._after = after
        self._again = again
        self._quiet_until = 0.0
        self.long = 0
        """How many calls are under way that have taken longer than `after`, told of or not."""

    @contextmanager
    def on(self, what: str) -> Iterator["Wait"]:
        """Tell of what is done inside if it takes longer than `after`, and again each `again`, in seconds.

        `what` begins the sentence: what is done and where.
        """
        loop = asyncio.get_running_loop()
        wait = Wait(what, loop.time())
        wait.timer = loop.call_later(self._after, self._say, wait)
        try:
            yield wait
        finally:
            wait.timer.cancel()
            self.long -= wait.long

    def _say(self, wait: "Wait") -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not wait.long:
            wait.long = True
            self.long += 1
        if now >= self._quiet_until:
            self._quiet_until = now + self._again
            self._tell(wait.sentence(now))
        wait.timer = loop.call_at(self._quiet_until, self._say, wait)


class Wait:
    """One call that is waited for, since some time by the loop's clock."""

    timer: asyncio.TimerHandle

    def __init__(self, what: str, since: float) -> None:
        self.failed: RetryableOstError | None = None
        """Why the last attempt failed, None before one did."""
        self.long = False
        """Whether it has taken long by now."""
        self._what = what
        self._since = since

    def sentence(self, now: float) -> str:
        """Say what is waited for, and why."""
        failed = "" if self.failed is None else f"; the last attempt failed: {self.failed}"
        return f"{self._what}: waited for since {int(now - self._since)} s{failed}"
