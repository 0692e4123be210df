"""Who may ask next, where many want to ask somebody who must not be asked too much at once.

Those who are known go first, and have turns that no stranger takes. Among each, the places they come from take turns,
so a flood from one of them delays the others by one question each. What waits is bounded: where it is too much, the
place that has most of it loses its latest.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runabout.gateway.errors import TooManyError

WAITING = 256
"""Of each kind."""
SECONDS = 5.0
"""For which one waits."""


class _Line:
    """Who waits, by where they come from, each of them with a future that tells them to go on."""

    def __init__(self, what: str, waiting: int) -> None:
        self._what = what
        self._most = waiting
        self._length = 0
        self._sources: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def join(self, source: str) -> asyncio.Future[None]:
        """Return what is to be waited for.

        Raises:
            TooManyError: nobody else has more in the line, which is full.
        """
        mine = self._sources.get(source, ())
        if self._length >= self._most:
            longest = max(self._sources, key=lambda each: len(self._sources[each]))
            if len(self._sources[longest]) <= len(mine) + 1:
                raise too_many(self._what)
            latest = self._take(longest, last=True)
            if not latest.done():  # else they have given up, and are only not gone yet
                latest.set_exception(too_many(self._what))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sources.setdefault(source, deque()).append(place)
        self._length += 1
        return place

    def leave(self, source: str, place: asyncio.Future[None]) -> None:
        """Forget who waits no more."""
        places = self._sources.get(source)
        if places is not None and place in places:
            places.remove(place)
            self._length -= 1
            if not places:
                del self._sources[source]

    def next(self) -> asyncio.Future[None] | None:
        """Take out who is next, None if nobody waits."""
        if not self._sources:
            return None
        source = next(iter(self._sources))
        self._sources.move_to_end(source)
        return self._take(source, last=False)

    def _take(self, source: str, *, last: bool) -> asyncio.Future[None]:
        places = self._sources[source]
        place = places.pop() if last else places.popleft()
        self._length -= 1
        if not places:
            del self._sources[source]
        return place


class Turns:
    """At most `at_once` at a time, of whom `strangers` may be strangers; who waits longer than `seconds` is refused.

    `what` there is too much of then is said to whom is refused.
    """

    def __init__(
        self,
        what: str,
        *,
        at_once: int,
        strangers: int = 0,
        waiting: int = WAITING,
        seconds: float = SECONDS,
    ) -> None:
        self._free = at_once
        self._free_for_strangers = strangers
        self._seconds = seconds
        self._what = what
        self._known, self._strangers = _Line(what, waiting), _Line(what, waiting)

    @asynccontextmanager
    async def turn(self, source: str, *, known: bool = True) -> AsyncIterator[None]:
        """Wait for a turn, and have it; `source` is where one comes from, `known` who is no stranger.

        Raises:
            TooManyError: too many wait, or it took too long.
        """
        line = self._known if known else self._strangers
        place = line.join(source)
        self._go_on()
        try:
            await self._called(place)
            yield
        finally:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._free += 1
                self._free_for_strangers += not known
            line.leave(source, place)
            self._go_on()

    async def _called(self, place: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await place
        except TimeoutError as error:
            raise too_many(self._what) from error

    def _go_on(self) -> None:
        while self._free:
            known = True
            place = self._known.next()
            if place is None and self._free_for_strangers:
                known, place = False, self._strangers.next()
            if place is None:
                return
            if not place.done():
                self._free -= 1
                self._free_for_strangers -= not known
                place.set_result(None)


def too_many(what: str) -> TooManyError:
    """Return what is said to whom has no turn."""
    return TooManyError(f"too many {what} at once: come again")
