"""Putting aside what etcd has of another history, before it is replaced by the one on the object storage."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from runabout.datamanager.batch import Link, link
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Head, Keys, Meta, number_of
from runabout.datamanager.log import PAGE
from runabout.datamanager.objects import list_segments, read_segment
from runabout.datamanager.segment import TARGET_SEGMENT, encode_segment
from runabout.etcd import Etcd
from runabout.ost import ObjectStore

Stored = list[tuple[int, int, str]]
"""First and last sequence of what was put aside, and the object in which it is."""


async def put_aside(etcd: Etcd, ost: ObjectStore, keys: Keys, meta: Meta, head: Head) -> Stored:
    """Store the batches in etcd, up to its head, that the segments do not have.

    Where the segments are gone, since a checkpoint covers them, nothing can be compared: what is there is put aside
    too, unless a later batch shows that it was of this history.

    Raises:
        BrokenLog: etcd says two things. Errors of etcd and the object storage.
    """
    aside = _Aside(ost, keys, meta, head)
    async with aclosing(_values(etcd, keys, head)) as values:
        known: AsyncGenerator[Link, None] | None = None
        here: Link | None = None
        try:
            async for value, found in values:
                if known is None:
                    known = _known(ost, keys, since=found.sequence)
                    here = await anext(known, None)
                while here is not None and here.sequence < found.sequence:
                    here = await anext(known, None)
                if here is not None and (here.sequence, here.chain) == (found.sequence, found.chain):
                    aside.forget(found)
                else:
                    await aside.add(value, found)
        finally:
            if known is not None:
                await known.aclose()
    await aside.store()
    return aside.stored


class _Aside:
    """Collects batches into objects; those that continue each other share one."""

    def __init__(self, ost: ObjectStore, keys: Keys, meta: Meta, head: Head) -> None:
        self._ost = ost
        self._keys = keys
        self._meta = meta
        self._head = head
        self._values: list[bytes] = []
        self._links: list[Link] = []
        self.stored: Stored = []

    async def add(self, value: bytes, found: Link) -> None:
        """Take a batch."""
        if self._links and (self._links[-1].chain != found.previous or sum(map(len, self._values)) >= TARGET_SEGMENT):
            await self.store()
        self._values.append(value)
        self._links.append(found)

    def forget(self, known: Link) -> None:
        """Let go of what a batch of the history continues: its chain says that it is of the history, too."""
        if self._links and self._links[-1].chain == known.previous:
            self._values.clear()
            self._links.clear()

    async def store(self) -> None:
        """Write what was taken."""
        if not self._values:
            return
        first, last = self._links[0], self._links[-1]
        data = encode_segment(
            self._values,
            store_id=self._meta.store_id,
            first=first.sequence,
            epoch=self._head.epoch,
            incarnation=self._head.incarnation,
            previous=first.previous,
            chain=last.chain,
        )
        key = self._keys.quarantine(self._head.epoch, first.sequence)
        await self._ost.write(key, data, persist=True, create_only=True)
        self.stored.append((first.sequence, last.sequence, key))
        self._values.clear()
        self._links.clear()


async def _values(etcd: Etcd, keys: Keys, head: Head) -> AsyncGenerator[tuple[bytes, Link], None]:
    """Return all batches in etcd up to the head, whether or not they fit together."""
    start = keys.wal(0)
    while True:
        page = await etcd.range(start, keys.wal(head.sequence + 1), limit=PAGE)
        for item in page.items:
            where = item.key.decode()
            found = link(item.value, where=where)
            if number_of(where, keys.wal(0).decode()[:-16]) != found.sequence:
                raise BrokenLog(f"{where} holds sequence {found.sequence}")
            yield item.value, found
        if not page.more:
            return
        start = page.items[-1].key + b"\x00"


async def _known(ost: ObjectStore, keys: Keys, *, since: int) -> AsyncGenerator[Link, None]:
    """Return what the segments have, from a sequence on or a little before it."""
    firsts = await list_segments(ost, keys)
    at = max((place for place, first in enumerate(firsts) if first <= since), default=0)
    for first in firsts[at:]:
        segment, _ = await read_segment(ost, keys, first)
        for _, found in segment.values:
            yield found
