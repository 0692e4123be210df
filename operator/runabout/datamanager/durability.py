"""When a commit is acknowledged: once etcd has it, or once the object storage has it, too."""

import asyncio
from contextlib import suppress
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count

from runabout.datamanager.errors import StoreError, Unavailable, Unknown
from runabout.datamanager.sealer import Sealer
from runabout.datamanager.transaction import BatchId
from runabout.etcd import EtcdError
from runabout.ost import OstError

CLOSING_SECONDS = 1.0
"""How long a store that is closed goes on sealing for those who wait."""


class Durability(StrEnum):
    """What an acknowledged transaction outlives."""

    ETCD = "etcd"
    """Any crash of ours, of the object storage, and of a minority of etcd's members."""
    OBJECT = "object"
    """The loss of all of etcd besides: it is sealed before it is acknowledged."""


class SealedFirst:
    """Holds acknowledgements back until what they are for is sealed."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._waiting: list[tuple[int, int, asyncio.Future[str]]] = []
        """A heap, by sequence; in between stands in which order they came. They hear why not, or "": it is sealed."""
        self._order = count()
        self._over = ""
        sealer.tell = self._sealed

    async def wait(self, sequence: int, *, batch: BatchId, seconds: float) -> None:
        """Return once a batch that etcd has is on the object storage, too.

        Raises:
            Unknown: not in so many seconds, or nothing is sealed any more: it may be lost with etcd.
        """
        why_not = await self._why_not(sequence, seconds=seconds)
        if why_not:
            raise Unknown(why_not, batch=batch)

    async def _why_not(self, sequence: int, *, seconds: float | None) -> str:
        """Return once a batch is on the object storage, or say why it is not."""
        if self._sealer.sealed >= sequence or self._over:
            return "" if self._sealer.sealed >= sequence else self._over
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (sequence, next(self._order), future))
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            trouble = self._sealer.trouble
            why = "sealing takes long" if trouble is None else str(trouble)
            return f"sequence {sequence} is in etcd, and not yet on the object storage: {why}"

    async def settled(self, sequence: int) -> None:
        """Return once a batch is on the object storage, or nothing is sealed any more."""
        await self._why_not(sequence, seconds=None)

    def end(self, error: StoreError) -> None:
        """Tell those who wait that nothing is sealed any more."""
        self._over = f"the writer ended before what etcd has was on the object storage: {error}"
        while self._waiting:
            _, _, future = heappop(self._waiting)
            if not future.done():
                future.set_result(self._over)

    async def close(self) -> None:
        """Seal what is committed, for a moment; those for whom that did not work are told so."""
        with suppress(StoreError, OstError, EtcdError, TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._sealer.seal()
        self.end(Unavailable("the store was closed"))

    def _sealed(self, last: int) -> None:
        while self._waiting and self._waiting[0][0] <= last:
            _, _, future = heappop(self._waiting)
            if not future.done():
                future.set_result("")
