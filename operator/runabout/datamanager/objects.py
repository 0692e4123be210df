"""Reading the object storage: any object twice if need be, and the segments of the log in order, each one verified."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

from runabout.datamanager.batch import Batch, decode_batch
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Head, Keys, Sealed, number_of
from runabout.datamanager.log import read_log
from runabout.datamanager.segment import MAX_SEGMENT, Segment, decode_segment
from runabout.etcd import Etcd
from runabout.ost import ByteRange, CorruptError, NotFoundError, ObjectStore, iterate

T = TypeVar("T")
LONGEST_WORK = 0.01
"""Seconds after which others are let work; one batch may take as long again."""
AHEAD = 8
"""Segments that are fetched at once: at most 64 MiB."""


async def read_object(ost: ObjectStore, key: str, most: int, check: Callable[[bytes], T]) -> T:
    """Return what `check` makes of an object's bytes (one more than `most` at most).

    They are read once more if it raises BrokenLog.

    Raises:
        BrokenLog: the object is missing, or is damaged when it is read again. Errors of the object storage.
    """
    part = ByteRange(0, most + 1)
    try:
        return check(await ost.read(key, part))
    except (BrokenLog, CorruptError):
        pass  # perhaps on the way only
    except NotFoundError as error:
        raise BrokenLog(f"the object {key} is missing") from error
    try:
        return check(await ost.read(key, part))
    except (BrokenLog, CorruptError, NotFoundError) as error:
        raise BrokenLog(f"the object {key} is damaged: {error}") from error


async def list_segments(ost: ObjectStore, keys: Keys, *, after: int = 0) -> list[int]:
    """Return the first sequences of all segments that begin after a sequence; raises errors of the object storage."""
    start_after = keys.segment(after) if after else ""
    found = [number_of(each.key, keys.segments) async for each in iterate(ost, keys.segments, start_after=start_after)]
    return [first for first in found if first is not None]


async def last_epoch(ost: ObjectStore, keys: Keys, *, after: int) -> int:
    """Return the highest epoch that has a marker, `after` if none is higher; raises errors of the object storage."""
    highest = after
    async for each in iterate(ost, keys.epochs, start_after=keys.epoch(after)):
        highest = max(highest, number_of(each.key, keys.epochs) or 0)
    return highest


async def was_opened(ost: ObjectStore, keys: Keys) -> bool:
    """Return whether any opening of a store may have been finished, so that somebody may have been told of a commit.

    One that did not finish leaves the identity and the marker of its epoch, and nothing else before it seals. Those of
    a store without an object storage leave no marker, but a gap before the next one. Raises errors of the object
    storage.
    """
    epochs: list[int] = []
    async for each in iterate(ost, keys.prefix):
        epoch = number_of(each.key, keys.epochs)
        if epoch is not None:
            epochs.append(epoch)
        elif each.key != keys.identity:
            return True
    return epochs != list(range(1, len(epochs) + 1))


async def read_segment(ost: ObjectStore, keys: Keys, first: int) -> tuple[Segment, Sealed]:
    """Return a segment, read twice if the first time it is damaged, and what a sealed key says of it.

    Raises:
        BrokenLog: it is damaged, or there is none. Errors of the object storage.
    """
    key = keys.segment(first)
    try:
        return await _read_once(ost, key, first)
    except (BrokenLog, CorruptError):
        pass  # perhaps on the way only
    except NotFoundError as error:
        raise BrokenLog(f"the object {key} is missing") from error
    try:
        return await _read_once(ost, key, first)
    except (NotFoundError, CorruptError) as error:
        raise BrokenLog(f"the object {key} is damaged: {error}") from error


async def _read_once(ost: ObjectStore, key: str, first: int) -> tuple[Segment, Sealed]:
    data = await ost.read(key, ByteRange(0, MAX_SEGMENT + 1))
    segment = decode_segment(data, where=key)
    if segment.first != first:
        raise BrokenLog(f"the object {key} holds the segment that begins with {segment.first}")
    digest = hashlib.sha256(data).digest()
    return segment, Sealed(segment.first, segment.last, segment.chain, len(data), digest)


async def read_segments(
    ost: ObjectStore, keys: Keys, firsts: Sequence[int], *, store_id: bytes, after: int, chain: bytes
) -> AsyncGenerator[tuple[Segment, Sealed], None]:
    """Return segments in order; the first one continues sequence `after`, whose chain is `chain`, and so on.

    Raises:
        BrokenLog: one is missing, damaged, of another store or of another history. Errors of the object storage.
    """
    waiting = deque(firsts)
    fetching: deque[asyncio.Task[tuple[Segment, Sealed]]] = deque()
    try:
        while waiting or fetching:
            while waiting and len(fetching) < AHEAD:
                fetching.append(asyncio.create_task(read_segment(ost, keys, waiting.popleft())))
            segment, sealed = await fetching[0]
            fetching.popleft()
            where = keys.segment(segment.first)
            if segment.store_id != store_id:
                raise BrokenLog(f"the object {where} is of another store, {segment.store_id.hex()}")
            if segment.first != after + 1:
                raise BrokenLog(f"the object {keys.segment(after + 1)} is missing: the next one is {where}")
            if segment.previous != chain:
                raise BrokenLog(f"the object {where} does not continue the one before it: it is of another history")
            yield segment, sealed
            after, chain = segment.last, segment.chain
    finally:
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)


def batches(segment: Segment, keys: Keys, *, after: int = 0) -> Iterator[Batch]:
    """Return the batches of a segment that come after a sequence.

    Raises:
        BrokenLog: one cannot be decoded.
    """
    where = keys.segment(segment.first)
    for value, found in segment.values:
        if found.sequence > after:
            yield decode_batch(value, where=f"batch {found.sequence} in {where}", known=found)


class Breather:
    """Lets others work now and then, while much is computed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def breathe(self) -> None:
        """Let others work, if that was long ago."""
        if self._loop.time() - self._since > LONGEST_WORK:
            await asyncio.sleep(0)
            self._since = self._loop.time()


async def read_history(
    etcd: Etcd, ost: ObjectStore | None, keys: Keys, *, after: int, chain: bytes, head: Head
) -> AsyncGenerator[Batch, None]:
    """Return the batches after a sequence up to the head: those that etcd no longer has from the object storage.

    Raises:
        BrokenLog: as `read_log` and `read_segments`. Errors of etcd and of the object storage.
    """
    while ost is not None and after < head.sequence:
        page = await etcd.range(keys.wal(after + 1), keys.wal(after + 2))
        if page.items:
            break
        firsts = await list_segments(ost, keys)
        at = max((place for place, first in enumerate(firsts) if first <= after + 1), default=None)
        if at is None:
            break  # nowhere: reading etcd says which key is missing
        begun = after
        for first in firsts[at:]:
            segment, _ = await read_segment(ost, keys, first)
            for batch in batches(segment, keys, after=after):
                if batch.sequence > head.sequence:
                    return
                if batch.sequence != after + 1 or batch.previous != chain:
                    raise BrokenLog(f"batch {batch.sequence} in {keys.segment(first)} does not continue the log")
                yield batch
                after, chain = batch.sequence, batch.chain
        if after == begun:
            break
    async with aclosing(read_log(etcd, keys, after=after, chain=chain, head=head)) as log:
        async for batch in log:
            yield batch
