"""One external call of a process, to etcd or to the object storage, that meets a fault."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from lab.stores import Stores
from runabout import etcd, ost

T = TypeVar("T")

KINDS = (
    "fails",
    "loses its reply",
    "is refused",
    "is done and called refused",
    "crashes before",
    "crashes after",
    "is paused before",
    "is paused after",
)
_AFTER = {"loses its reply", "is done and called refused", "crashes after", "is paused after"}


class Trouble:
    """Lets the call number `at`, of all that a process makes, meet a fault of a kind; `at` 0 only counts.

    Set it as the fault of whatever the process calls. A process that crashes makes no further call. One that is paused
    makes none either, until `go_on` is set; then the call goes on where it was.
    """

    def __init__(self, at: int, kind: str) -> None:
        assert kind in KINDS
        self.at = at
        self.kind = kind
        self.met = asyncio.Event()
        self.go_on = asyncio.Event()
        self.names: list[str] = []
        """Of the calls so far."""
        self._numbers: dict[asyncio.Task[object] | None, int] = {}

    @property
    def stops(self) -> bool:
        """Whether the process makes no further call after it."""
        return self.kind.startswith(("crashes", "is paused"))

    async def __call__(self, call: str, when: str) -> None:
        # Several calls are under way at once, each in a task of its own.
        task = asyncio.current_task()
        if self.met.is_set() and self.stops:
            await self.go_on.wait()
        if when == "before":
            self.names.append(call)
            self._numbers[task] = len(self.names)
        wanted = "after" if self.kind in _AFTER else "before"
        if self.met.is_set() or when != wanted or self._numbers.get(task) != self.at:
            return
        self.met.set()
        error = _error(call, self.kind)
        if error is not None:
            raise error
        await self.go_on.wait()


async def until_met(trouble: Trouble, process: Coroutine[None, None, T]) -> "asyncio.Task[T]":
    """Begin a process; return it when it has met its fault, which it must."""
    running = asyncio.ensure_future(process)
    met = asyncio.ensure_future(trouble.met.wait())
    await asyncio.wait((running, met), return_when=asyncio.FIRST_COMPLETED)
    assert trouble.met.is_set(), f"call {trouble.at}, the last one was {trouble.names[-1:]}, was never made"
    return running


async def kill(running: "asyncio.Task[T]", stores: Stores) -> None:
    """End a process where it is, with all stores that it has opened."""
    running.cancel()
    await asyncio.wait((running,))
    await stores.crash()


def _error(call: str, kind: str) -> Exception | None:
    """Return what the caller sees, None if it sees nothing for a while or for ever."""
    stored = call.startswith("ost")
    if kind == "fails":
        return ost.UnavailableError("nobody listens") if stored else etcd.UnavailableError("nobody listens")
    if kind == "loses its reply":
        return ost.UnavailableError("no answer") if stored else etcd.UnknownOutcomeError("no answer")
    if kind == "is refused":
        return ost.DeniedError("not you") if stored else etcd.PermanentEtcdError("not you")
    if kind == "is done and called refused":
        return ost.WriteFailedError("the device failed") if stored else etcd.FullError("no space")
    return None
