"""Looking at what etcd has: the small keys, and the log up to the head."""

from collections.abc import Callable
from typing import TypeVar

from runabout.datamanager.audit.seen import Part, Seen
from runabout.datamanager.batch import NO_CHAIN, decode_batch, link
from runabout.datamanager.errors import BROKEN_OR_NEWER
from runabout.datamanager.head import (
    Head,
    Keys,
    decode_head,
    decode_meta,
    decode_sealed,
    number_of,
    owner_value,
)
from runabout.datamanager.log import PAGE
from runabout.datamanager.manifest import decode_pointer
from runabout.datamanager.progress import Progress, Step
from runabout.etcd import Etcd, KeyValue

T = TypeVar("T")


async def look_at_state(etcd: Etcd, seen: Seen) -> None:
    """Read meta, head, owner, sealed and manifest at one moment; raises errors of etcd."""
    keys = seen.keys
    page = await etcd.range(keys.head, keys.sealed + b"\x00")
    known = (keys.head, keys.manifest, keys.meta, keys.owner, keys.sealed)
    seen.raw = {item.key: item.value for item in page.items if item.key in known}
    seen.meta = _decoded(seen, keys.meta, decode_meta, Part.STATE)
    seen.head = _decoded(seen, keys.head, decode_head, Part.STATE)
    seen.sealed = _decoded(seen, keys.sealed, decode_sealed, Part.SEALED)
    seen.pointer = _decoded(seen, keys.manifest, decode_pointer, Part.POINTER)
    if seen.sealed is not None and seen.head is not None and seen.sealed.last > seen.head.sequence:
        what = f"says that {seen.sealed.last} is sealed, the head says that {seen.head.sequence} is the last one"
        seen.add(Part.SEALED, keys.sealed, what)
        seen.sealed = None
    for key, other in ((keys.meta, keys.head), (keys.head, keys.meta)):
        if key not in seen.raw and other in seen.raw:
            seen.add(Part.STATE, key, "is missing, the other half of the store is there")
    if seen.meta is not None and seen.head is not None and seen.meta.incarnation != seen.head.incarnation:
        seen.add(Part.STATE, keys.head, f"is of another life of the store than {keys.meta.decode()}")
    elif seen.head is not None and seen.raw.get(keys.owner) != owner_value(seen.head):
        what = "is missing" if keys.owner not in seen.raw else "names another writer than the head does"
        seen.add(Part.OWNER, keys.owner, what)


def _decoded(seen: Seen, key: bytes, decode: Callable[..., T], part: Part) -> T | None:
    value = seen.raw.get(key)
    if value is None:
        return None
    try:
        return decode(value, where=key.decode())
    except BROKEN_OR_NEWER as error:
        seen.fail(part, key, error)
        return None


async def read_head(etcd: Etcd, keys: Keys) -> Head | None:
    """Return the head as it is now, None if it is not there or cannot be read; raises errors of etcd."""
    value = await etcd.get(keys.head)
    try:
        return None if value is None else decode_head(value, where="")
    except BROKEN_OR_NEWER:
        return None


class Log:
    """One pass over the log in etcd; what segments end with is compared on the way."""

    def __init__(self, etcd: Etcd, seen: Seen, progress: Progress) -> None:
        self._etcd = etcd
        self._seen = seen
        self._progress = progress
        self._ends = {each.last: each.chain for each in seen.segments.values()}
        self._first: int | None = None
        self._at = 0
        self._chain: bytes | None = None

    async def look(self) -> None:
        """Read all batches up to the head that is there now; raises errors of etcd."""
        seen, keys = self._seen, self._seen.keys
        head = await read_head(self._etcd, keys)
        if head is None:
            return
        seen.head_now = head
        start = keys.wal(0)
        while True:
            page = await self._etcd.range(start, keys.wal(head.sequence + 1), limit=PAGE)
            for item in page.items:
                self._take(item)
            begin = self._at if self._first is None else self._first - 1
            self._progress(Step("checking the log in etcd", self._at - begin, head.sequence - begin, "batches"))
            if not page.more:
                break
            start = page.items[-1].key + b"\x00"
        await self._compare(head)
        page = await self._etcd.range(keys.wal(head.sequence + 1), keys.wal_end, limit=PAGE)
        now = await read_head(self._etcd, keys)
        for item in page.items:
            if now is not None and item.key > keys.wal(now.sequence):
                seen.add(Part.SURPLUS, item.key, f"is there, but the head says {now.sequence}")

    def _take(self, item: KeyValue) -> None:
        seen, keys, where = self._seen, self._seen.keys, item.key.decode(errors="replace")
        number = number_of(where, keys.wal(0).decode()[:-16])
        if number is None:
            seen.notes.append(f"{where} in etcd is nothing of ours")
            return
        if self._first is None:
            self._first = number
        elif number > self._at + 1:
            self._missing(self._at + 1, number - 1, f"is missing: the next one is {where}")
        expected, self._chain, self._at = self._chain, None, number
        try:
            found = link(item.value, where=where)
            decode_batch(item.value, where=where, known=found)
        except BROKEN_OR_NEWER as error:
            seen.fail(Part.BATCH, where, error, first=number, last=number)
            return
        known, part = self._ends.get(number), Part.BATCH
        if found.sequence != number:
            what = f"holds the batch with sequence {found.sequence}"
        elif expected is not None and found.previous != expected:
            what = "does not continue the one before it: it is of another history"
        elif number == 1 and found.previous != NO_CHAIN:
            what = "is not the beginning of a log: it continues something else"
        elif known is not None and known != found.chain:
            what = "is not the batch with which a segment on the object storage ends: it is of another history"
            part = Part.FOREIGN
        elif number - 1 in self._ends and self._ends[number - 1] != found.previous:
            what = "does not continue the segment before it on the object storage: it is of another history"
            part = Part.FOREIGN
        else:
            seen.etcd.add(number, number)
            seen.batches += 1
            self._chain = found.chain
            return
        seen.add(part, where, what, first=number, last=number)

    def _missing(self, first: int, last: int, what: str) -> None:
        self._chain = None
        self._seen.add(Part.BATCH, self._seen.keys.wal(first), what, first=first, last=last)

    async def _compare(self, head: Head) -> None:
        """Compare the log's beginning and end with what is sealed now and with the head that was read before."""
        seen, keys = self._seen, self._seen.keys
        value = await self._etcd.get(keys.sealed)
        try:
            sealed = None if value is None else decode_sealed(value, where="")
        except BROKEN_OR_NEWER:
            sealed = None
        needed = (seen.end if sealed is None else sealed.last) + 1
        if head.sequence >= needed and (self._first is None or self._first > needed):
            last = (self._first or head.sequence + 1) - 1
            self._missing(needed, last, f"is missing: the head says {head.sequence}, and nothing later is sealed")
            self._at = max(self._at, last)
        elif self._first is not None and self._at < head.sequence:
            self._missing(self._at + 1, head.sequence, f"is missing: the head says {head.sequence}")
        chain = self._chain if self._at == head.sequence else self._ends.get(head.sequence)
        if head.sequence == 0:
            chain = NO_CHAIN
        if chain is not None and chain != head.chain:
            seen.add(Part.STATE, keys.head, f"has another chain than the log at sequence {head.sequence}")
