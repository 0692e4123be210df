"""Where the time of commits goes: etcd's answers, encoding, or neither; and what both processes compute for it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.places import Place
from benchmarks.process import cpu_seconds
from runabout.datamanager.observing import Nobody

FLUSHER = "store flusher"
"""The task that sends batches, by whose name its calls to etcd are told from others'."""


@dataclass
class Shares(Nobody):
    """Watches commits; seconds."""

    transactions: int = 0
    committing: float = 0.0
    """From a batch's encoding until it is applied."""
    asking: float = 0.0
    """Of that, until etcd's answer."""
    watched: float = 0.0
    """In all, waiting for callers included."""
    ours: float = 0.0
    """CPU of this process"""
    theirs: float = 0.0
    """CPU of etcd"""
    _asked: float = field(default=0.0, init=False)
    _watching: bool = field(default=False, init=False)

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        """See `Observer.committed`."""
        del size
        if self._watching:
            self.transactions += transactions
            self.committing += seconds

    @contextmanager
    def watch(self, place: Place) -> Iterator[None]:
        """Take note of what happens meanwhile."""
        counting, now = place.calls, time.perf_counter

        async def call(name: str, when: str) -> None:
            await counting(name, when)
            task = asyncio.current_task()
            if task is not None and task.get_name() == FLUSHER:
                if when == "before":
                    self._asked = now()
                else:
                    self.asking += now() - self._asked

        place.etcd.fault, self._watching = call, True
        begin, ours, theirs = now(), time.process_time(), cpu_seconds(place.server)
        try:
            yield
        finally:
            self.watched += now() - begin
            self.ours += time.process_time() - ours
            self.theirs += cpu_seconds(place.server) - theirs
            place.etcd.fault, self._watching = counting, False

    @property
    def answers(self) -> float:
        """The share of the time in which etcd's answer to a batch was waited for."""
        return self.asking / max(self.watched, 1e-9)

    def text(self) -> str:
        """Say the rest in one line."""
        each, whole = max(1, self.transactions) / 1e6, max(self.watched, 1e-9)
        return (
            f"encoding and applying {(self.committing - self.asking) / whole:.0%}, "
            f"between batches {max(0.0, self.watched - self.committing) / whole:.0%}; "
            f"CPU of a transaction: store {self.ours / each:.0f} µs, etcd {self.theirs / each:.0f} µs"
        )
