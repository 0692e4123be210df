"""Moving the log from etcd to the object storage, segment by segment, behind the writer's back.

What always holds: a segment holds batches that etcd has acknowledged, is created under a name that two histories would
share, and is never overwritten; etcd is told of it by a compare on what it knew before; and a batch is removed from
etcd only by a transaction that says it is sealed. No commit needs any of this: while the object storage is away, what
is committed waits in etcd.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from runabout.datamanager.batch import Link
from runabout.datamanager.errors import BrokenLog, Fenced, MissingBatch, SplitHistory, StorageFailed
from runabout.datamanager.head import Head, Keys, Meta, Sealed, decode_head, decode_meta, decode_sealed
from runabout.datamanager.log import read_values
from runabout.datamanager.objects import read_segment
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.segment import TARGET_SEGMENT, encode_segment
from runabout.etcd import Compare, Etcd, EtcdError, KeyRange, PermanentEtcdError, Put
from runabout.ost import AlreadyExistsError, ObjectStore, OstError, WriteFailedError

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
KEPT = 2 * TARGET_SEGMENT
"""Bytes of batches that stay in memory until they are sealed; what is older is read from etcd."""
MARK_SECONDS = 1.0
"""How exactly it is known how long batches have been waiting."""


@dataclass(frozen=True, slots=True)
class SealPolicy:
    """How the log moves; times in seconds, sizes in bytes of batches."""

    interval: float = 1.0
    """How long a batch waits for others to share its segment."""
    target: int = TARGET_SEGMENT
    """A segment of this size does not wait."""
    keep: int = 1000
    """Sealed batches that stay in etcd, for readers that are a little behind."""
    compact_interval: float = 300.0
    """How often etcd forgets what was removed or replaced."""
    most_waiting: int = 256 * 1024 * 1024
    """What may wait in etcd; beyond it commits are refused."""


class Sealer:
    """Seals the log of one writer; `head` returns the last batch that it has applied."""

    def __init__(
        self,
        etcd: Etcd,
        ost: ObjectStore,
        keys: Keys,
        *,
        meta: Meta,
        sealed: Sealed,
        in_etcd: bytes | None,
        waiting: int,
        head: Callable[[], Head],
        policy: SealPolicy,
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._meta = meta
        self._sealed = sealed
        self._in_etcd = in_etcd
        self._waiting = waiting
        self._sealed_bytes = 0
        self._told = sealed.last
        self._head = head
        self._policy = policy
        self._news = asyncio.Event()
        self._enough = asyncio.Event()
        self._sealing = asyncio.Lock()
        self._trouble: Exception | None = None
        self._failed: StorageFailed | None = None
        self._failing_since: float | None = None
        self._marks: deque[tuple[float, int]] = deque()
        """When some batches came, by the loop's clock; others came between two of them."""
        self._kept: deque[tuple[bytes, Link]] = deque()
        """The last batches that etcd has taken, without gaps."""
        self._kept_bytes = 0
        self._revisions: deque[tuple[float, int]] = deque()
        self._compacted_at = asyncio.get_running_loop().time()
        self.changed = asyncio.Condition()
        self.tell: Callable[[int], None] = lambda _: None
        """Is called with each last sequence of what has been sealed, once etcd knows it."""
        if waiting or self._pointed_at() < sealed.last:
            self._news.set()
            self._mark()

    @property
    def sealed(self) -> int:
        """The last sequence on the object storage, as far as etcd knows."""
        return self._told

    @property
    def sealed_bytes(self) -> int:
        """Bytes of the segments that this writer has sealed."""
        return self._sealed_bytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes of batches that are in etcd alone."""
        return self._waiting

    @property
    def trouble(self) -> Exception | None:
        """Why the last attempt failed, None if it did not."""
        return self._trouble

    @property
    def failing_seconds(self) -> float:
        """Since when every attempt has failed; 0 if the last one did not."""
        return 0.0 if self._failing_since is None else asyncio.get_running_loop().time() - self._failing_since

    @property
    def lag_seconds(self) -> float:
        """For how long the oldest batch that is not sealed has been waiting; 0 if there is none."""
        while len(self._marks) > 1 and self._marks[1][1] <= self._told + 1:
            self._marks.popleft()
        if not self._marks or self._head().sequence <= self._told:
            return 0.0
        return asyncio.get_running_loop().time() - self._marks[0][0]

    @property
    def most_waiting(self) -> int:
        """Bytes of batches that may wait."""
        return self._policy.most_waiting

    @property
    def full(self) -> bool:
        """Whether more waits in etcd than may."""
        return self._waiting >= self._policy.most_waiting

    def added(self, value: bytes, link: Link) -> None:
        """Take note of a new batch, which etcd has taken: its bytes, and its place in the log."""
        self._waiting += len(value)
        self._kept.append((value, link))
        self._kept_bytes += len(value)
        while self._kept_bytes > KEPT:
            self._kept_bytes -= len(self._kept.popleft()[0])
        self._mark()
        self._news.set()
        if self._waiting >= self._policy.target:
            self._enough.set()

    def _mark(self) -> None:
        now, last = asyncio.get_running_loop().time(), self._head().sequence
        if self._marks and self._marks[-1][1] <= self._told:
            self._marks.clear()
        if not self._marks or now - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((now, last))

    async def run(self) -> None:
        """Seal what comes, for ever.

        Raises:
            Fenced: another writer has taken over. BrokenLog: the object storage has another history, or is damaged.
            StorageFailed: what was written there may be lost.
        """
        pause = FIRST_PAUSE
        while True:
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.interval):
                    await self._enough.wait()
            try:
                await self.seal()
                await self._compact()
            except (OstError, EtcdError) as error:
                self._trouble = error
                self._failing_since = self._failing_since or asyncio.get_running_loop().time()
                self._observer.failed("seal", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._trouble = self._failing_since = None
                pause = FIRST_PAUSE

    async def seal(self) -> None:
        """Seal all that is committed now; one call works at a time.

        Raises:
            Fenced, BrokenLog, StorageFailed: for good. Errors of etcd and of the object storage: try again later.
        """
        async with self._sealing:
            if self._failed is not None:
                raise self._failed
            self._news.clear()
            self._enough.clear()
            try:
                await self._seal_up_to_now()
            except WriteFailedError as error:
                self._failed = StorageFailed(f"the object storage's device failed: {error}")
                self._news.set()
                self._enough.set()
                raise self._failed from error
            except BaseException:
                self._news.set()
                self._enough.set()  # it has waited long enough
                raise

    async def _seal_up_to_now(self) -> None:
        until = self._head().sequence  # not further: what is committed meanwhile would make an object of each batch
        while True:
            head = self._head()
            if self._pointed_at() < self._sealed.last:
                await self._point(self._sealed)
            elif self._sealed.last < until:
                await self._check_owner()
                try:
                    await self._seal_one(head)
                except MissingBatch:
                    await self._check_owner()  # whoever has taken over meanwhile may have moved it
                    raise
            else:
                return

    async def _seal_one(self, head: Head) -> None:
        begin = asyncio.get_running_loop().time()
        values: list[bytes] = []
        links: list[Link] = []
        size = 0
        before = self._sealed
        async with aclosing(self._log(head)) as log:
            async for value, found in log:
                values.append(value)
                links.append(found)
                size += len(value)
                if size >= self._policy.target:
                    break
        data, sha256 = await asyncio.to_thread(self._encoded, values, before, head, links[-1].chain)
        sealed = Sealed(before.last + 1, links[-1].sequence, links[-1].chain, len(data), sha256)
        key = self._keys.segment(sealed.first)
        try:
            await self._ost.write(key, data, size=len(data), persist=True, create_only=True)
        except AlreadyExistsError:
            sealed, size = await self._adopt(head)
        # From here on: if etcd's answer to what follows is lost, it may have removed the batches all the same.
        self._sealed = sealed
        self._sealed_bytes += sealed.size
        self._waiting = max(0, self._waiting - size)
        while self._kept and self._kept[0][1].sequence <= sealed.last:
            self._kept_bytes -= len(self._kept.popleft()[0])
        await self._point(sealed)
        seconds = asyncio.get_running_loop().time() - begin
        self._observer.sealed(batches=sealed.last - before.last, size=sealed.size, seconds=seconds)

    async def _log(self, head: Head) -> AsyncGenerator[tuple[bytes, Link], None]:
        """Return the batches after the last segment up to a head; raises what `read_values` does."""
        before = self._sealed
        kept = [each for each in self._kept if before.last < each[1].sequence <= head.sequence]
        if kept and (kept[0][1].sequence, kept[0][1].previous) == (before.last + 1, before.chain):
            for each in kept:
                yield each
            return
        log = read_values(self._etcd, self._keys, after=before.last, chain=before.chain, head=head)
        async with aclosing(log):
            async for value, found in log:
                yield value, found

    def _encoded(self, values: list[bytes], before: Sealed, head: Head, chain: bytes) -> tuple[bytes, bytes]:
        """Return a segment and its SHA-256; takes some 20 ms, so it is called in a thread."""
        data = encode_segment(
            values,
            store_id=self._meta.store_id,
            first=before.last + 1,
            epoch=head.epoch,
            incarnation=head.incarnation,
            previous=before.chain,
            chain=chain,
        )
        return data, hashlib.sha256(data).digest()

    async def _check_owner(self) -> None:
        """Find out whether this writer's log is still the one in etcd."""
        where, mine = self._keys.head.decode(), self._head()
        page = await self._etcd.range(self._keys.head, self._keys.head + b"\x00")
        if not page.items:
            raise Fenced(f"{where} is gone from etcd")
        head = decode_head(page.items[0].value, where=where)
        if (head.incarnation, head.epoch) != (mine.incarnation, mine.epoch):
            raise Fenced(f"the store was opened by another writer (epoch {head.epoch}, ours is {mine.epoch})")
        if head.sequence < mine.sequence:
            raise Fenced(f"{where} says sequence {head.sequence} after {mine.sequence}: etcd was set back")
        self._revisions.append((asyncio.get_running_loop().time(), page.revision))

    async def _adopt(self, head: Head) -> tuple[Sealed, int]:
        """Return the segment that is in the place of the next one, and its bytes of batches, if it is of this history.

        An earlier attempt wrote it, or an earlier writer that has not noticed yet that it is none any more.
        """
        before = self._sealed
        await self._check_owner()  # whoever has the store now says so better than its segments
        segment, sealed = await read_segment(self._ost, self._keys, before.last + 1)
        where = self._keys.segment(segment.first)
        if segment.store_id != self._meta.store_id:
            raise BrokenLog(f"the object {where} is of another store, {segment.store_id.hex()}")
        if segment.last > head.sequence or segment.previous != before.chain:
            raise _split(where)
        log = read_values(self._etcd, self._keys, after=before.last, chain=before.chain, head=head)
        async with aclosing(log):
            async for _, found in log:
                if found.sequence == segment.last:
                    if found.chain != segment.chain:
                        raise _split(where)
                    break
        return sealed, sum(len(value) for value, _ in segment.values)

    async def _point(self, sealed: Sealed) -> None:
        """Tell etcd what is sealed, and remove from it what nobody needs there any more; never point back."""
        keys, value = self._keys, sealed.encode()
        old = sealed.last - self._policy.keep
        while self._pointed_at() < sealed.last:
            result = await self._etcd.txn(
                [Compare(keys.sealed, self._in_etcd), Compare(keys.meta, self._meta.encode())],
                [Put(keys.sealed, value)],
                deletes=[KeyRange(keys.wal(0), keys.wal(old + 1))] if old > 0 else [],
                otherwise=[keys.sealed, keys.meta],
            )
            if result.succeeded:
                self._in_etcd = value
                break
            # Our own attempt without an answer, or another sealer; what that one sealed is judged by its objects.
            found, meta = result.values
            if meta is None or decode_meta(meta, where=keys.meta.decode()) != self._meta:
                raise Fenced("etcd was wiped or set back, or the store was made anew, under this writer")
            self._in_etcd = found
        self._told = sealed.last
        self.tell(sealed.last)
        async with self.changed:
            self.changed.notify_all()

    def _pointed_at(self) -> int:
        if self._in_etcd is None:
            return 0
        return decode_sealed(self._in_etcd, where=self._keys.sealed.decode()).last

    async def _compact(self) -> None:
        """Have etcd forget what was replaced or removed longer ago than an interval."""
        now = asyncio.get_running_loop().time()
        if now - self._compacted_at < self._policy.compact_interval:
            return
        self._compacted_at = now
        old = 0
        while self._revisions and self._revisions[0][0] <= now - self._policy.compact_interval:
            old = self._revisions.popleft()[1]
        if old:
            with suppress(PermanentEtcdError):  # done already, or not this user's business
                await self._etcd.compact(old)


def _split(where: str) -> SplitHistory:
    return SplitHistory(
        f"the object {where} is of another history of this store: two logs were continued from one place"
    )
