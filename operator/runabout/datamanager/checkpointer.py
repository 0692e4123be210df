"""Writing down what the sealed log makes, so that opening a store need not read all of it.

What always holds: a checkpoint is made from segments alone, and only of those that etcd says are sealed; every object
is new; etcd is told of it by a compare on the owner of the store and on the manifest before; and what the manifest
covers only grows. No commit and no seal waits for any of this, and whatever it leaves behind when it dies is collected.
"""

import asyncio
import uuid
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from runabout.datamanager.batch import APPEND, DELETE, Batch
from runabout.datamanager.collector import Collector
from runabout.datamanager.datafile import MAX_FILE, ROW_GROUP
from runabout.datamanager.datawriting import DataFilesWriter, Sizes
from runabout.datamanager.documents import Documents
from runabout.datamanager.errors import BrokenLog, Damaged, Fenced, StorageFailed, StoreError, Unavailable
from runabout.datamanager.head import Head, Keys, Meta, Sealed, owner_value
from runabout.datamanager.indexed import Indexed
from runabout.datamanager.indexwriting import IndexWriter
from runabout.datamanager.loading import Base, load_history
from runabout.datamanager.manifest import IndexFiles, Manifest, Pointer, decode_pointer, nothing_covered
from runabout.datamanager.memory import give_back
from runabout.datamanager.objects import Breather, batches, list_segments, read_segments
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.sealer import FIRST_PAUSE, LONGEST_PAUSE, Sealer
from runabout.datamanager.tables import NO_TABLES, Tables
from runabout.etcd import Compare, Etcd, EtcdError, Put
from runabout.ost import ObjectStore, OstError, WriteFailedError
from runabout.runindex import MAX_ROWS

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """When checkpoints are made, of what size, and what is kept; times in seconds, sizes in bytes."""

    interval: float = 900.0
    """How long sealed batches wait for a checkpoint."""
    target: int = 64 * 1024 * 1024
    """Segments of this size do not wait."""
    memory: int = 64 * 1024 * 1024
    """Documents that are in memory because no checkpoint covers them: so many bytes do not wait."""
    runs: int = 50_000
    """Runs that were changed, each some 1.5 KiB of memory until it is in a file: so many do not wait."""
    most_changes: int = 64 * 1024 * 1024
    """Documents that one checkpoint takes into memory; if there are more, another one follows."""
    file: int = MAX_FILE
    """The largest data file."""
    small: int = MAX_FILE // 4
    """Smaller ones are merged with their neighbours."""
    group: int = ROW_GROUP
    """A row group."""
    rows: int = MAX_ROWS
    """Runs in an index file."""
    keep: int = 3
    """Manifests before the newest that stay in any case."""
    keep_seconds: float = 24 * HOUR
    """How long others, and segments that they cover, stay for those who read them."""
    orphan_seconds: float = HOUR
    """How long objects stay that no manifest names."""
    collect_interval: float = HOUR


@dataclass(slots=True)
class _Changes:
    """What segments make of documents, and where they end."""

    sealed: Sealed
    size: int = 0
    types: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def apply(self, batch: Batch) -> None:
        for transaction in batch.transactions:
            for entry in transaction:
                documents = self.types.setdefault(entry.type, {})
                documents[entry.key] = None if entry.op == DELETE else entry.body
                self.size += entry.size
                if entry.op == APPEND:
                    self.numbers[entry.type] = int(entry.key, 16)


class Checkpointer:
    """Makes the checkpoints of one writer, whose head is `head`, and collects what they make superfluous."""

    def __init__(
        self,
        etcd: Etcd,
        ost: ObjectStore,
        keys: Keys,
        *,
        meta: Meta,
        head: Head,
        base: Base | None,
        in_etcd: bytes | None,
        segment_bytes: int,
        sealer: Sealer,
        documents: Documents,
        tables: Tables = NO_TABLES,
        policy: CheckpointPolicy,
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._meta = meta
        self._epoch = head.epoch
        self._owner = owner_value(head)
        self._base = base
        self._in_etcd = in_etcd
        self._hopeless: set[tuple[Pointer, str]] = set()
        """Objects that are damaged and of which there is no other copy, with the manifest that named them."""
        self._damaged: dict[str, str] = {}
        """Data files that did not hold, and how."""
        self._fell_back = False
        """Whether the base is older than what etcd says, since that did not hold."""
        self._tried: dict[bytes, Base] = {}
        """What was asked for since then without a definite answer."""
        self._sealer = sealer
        self._tables = tables
        self._documents = documents
        self._index = documents.index
        self._policy = policy
        self._collector = Collector(
            etcd,
            ost,
            keys,
            epoch=head.epoch,
            owner=self._owner,
            keep=policy.keep,
            keep_seconds=policy.keep_seconds,
            orphan_seconds=policy.orphan_seconds,
        )
        now = asyncio.get_running_loop().time()
        self._made_at = self._collected_at = now
        self._bytes_at = sealer.sealed_bytes - segment_bytes
        self._trouble: Exception | None = None
        self._damage: tuple[str, ...] = ()
        self._working = asyncio.Lock()
        self.changed = asyncio.Condition()

    @property
    def covers(self) -> int:
        """The last sequence that need not be read from the log."""
        return 0 if self._base is None else self._base.manifest.covers

    @property
    def manifest(self) -> Manifest | None:
        """The newest one."""
        return None if self._base is None else self._base.manifest

    @property
    def waiting_bytes(self) -> int:
        """Bytes of segments that an opening would have to read."""
        return self._sealer.sealed_bytes - self._bytes_at

    @property
    def trouble(self) -> Exception | None:
        """Why the last attempt failed, None if it did not."""
        return self._trouble

    @property
    def damage(self) -> tuple[str, ...]:
        """What on the object storage did not hold when a checkpoint needed it; something else said the same."""
        return self._damage

    async def run(self) -> None:
        """Make checkpoints for ever.

        Raises:
            Fenced: another writer has taken over. StorageFailed: what was written may be lost.
        """
        pause = FIRST_PAUSE
        while True:
            await self._due()
            try:
                await self.checkpoint()
                now = asyncio.get_running_loop().time()
                if now - self._collected_at >= self._policy.collect_interval:
                    await self.collect()
                    self._collected_at = now
            except WriteFailedError as error:
                raise StorageFailed(f"the object storage's device failed: {error}") from error
            except (OstError, EtcdError, BrokenLog, Unavailable) as error:
                if isinstance(error, Damaged) and self._needs(error.object) and await self.fall_back(error):
                    continue
                self._observer.failed("checkpoint", error)
                # Damage stops no commit: the log has everything. It is seen here, and when the store is opened.
                self._trouble = error
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._trouble = None
                pause = FIRST_PAUSE

    async def _due(self) -> None:
        """Return when there is something to cover, and it is large or old enough."""
        loop = asyncio.get_running_loop()
        async with self._sealer.changed:
            while True:
                something = self._sealer.sealed > self.covers
                if something and self._fell_back:
                    return
                left = self._made_at + self._policy.interval - loop.time()
                if something and (left <= 0 or self._enough()):
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(left if something else None):
                        await self._sealer.changed.wait()

    def _enough(self) -> bool:
        """Whether what is sealed, or memory, should not wait."""
        if self.waiting_bytes >= self._policy.target or self._documents.memory >= self._policy.memory:
            return True
        unstored = self._base is not None and self._base.indexed is not None and bool(self._base.indexed.unstored)
        return self._index is not None and (unstored or self._index.changed >= self._policy.runs)

    async def checkpoint(self) -> None:
        """Cover all that is sealed now; one call works at a time.

        Raises:
            Fenced: another writer has taken over. BrokenLog: an object is missing or damaged. Errors of etcd and of the
                object storage: try again later.
        """
        async with self._working:
            until, size = self._sealer.sealed, self._sealer.sealed_bytes
            while self.covers < until:
                begin = asyncio.get_running_loop().time()
                changes = await self._read(until)
                index, indexed = await self._write_index(changes)
                await self._publish(replace(await self._merge(changes), index=index), indexed)
                self._observer.covered(covers=self.covers, seconds=asyncio.get_running_loop().time() - begin)
            give_back()
            self._bytes_at = size
            self._made_at = asyncio.get_running_loop().time()

    async def fall_back(self, damage: Damaged) -> bool:
        """Go on from an older manifest and the log after it, if they say the same as an object that does not hold.

        The next checkpoint, which is due at once, then writes what the object should have under another name.

        Returns:
            whether reading again finds something else than this object.
        """
        async with self._working:
            if self._base is None or not self._needs(damage.object):
                return True  # somebody was quicker
            refused = self._base.pointer, damage.object
            if refused in self._hopeless:
                return False
            self._damaged[damage.object] = str(damage)
            try:
                older = await load_history(
                    self._ost,
                    self._keys,
                    self._meta.store_id,
                    pointer=self._base.pointer,
                    index=None if self._index is None else self._index.source,
                    reader=self._documents.reader,
                    without=self._damaged,
                )
                if older.end.last < self.covers:
                    raise BrokenLog(f"the segments end at {older.end.last}")
                owner = await self._etcd.get(self._keys.owner)
            except (OstError, EtcdError, Unavailable):
                return False
            except StoreError:
                self._hopeless.add(refused)
                return False
            if owner != self._owner:
                return False  # what was loaded may be of the next writer
            self._documents.fall_back(older.documents)
            self._base = older.base
            self._bytes_at = self._sealer.sealed_bytes - older.segment_bytes
            self._damage = tuple(dict.fromkeys((*self._damage, *older.damage)))
            self._fell_back = True
        async with self._sealer.changed:
            self._sealer.changed.notify_all()
        return True

    def _needs(self, key: str) -> bool:
        """Whether the newest manifest names an object."""
        return self._base is not None and key in self._base.manifest.objects

    async def collect(self) -> None:
        """Delete what no reader needs any more, if the newest manifest is one of this writer's.

        Raises:
            Fenced: another writer has taken over. BrokenLog. Errors of etcd and of the object storage.
        """
        async with self._working:
            if self._base is not None and self._base.manifest.epoch == self._epoch:
                await self._collector.collect(self._base)

    async def _read(self, until: int) -> _Changes:
        """Return what the next segments change, up to the bounds of memory."""
        end = self._start().sealed
        changes, breather = _Changes(end), Breather()
        firsts = await list_segments(self._ost, self._keys, after=end.first)
        segments = read_segments(
            self._ost,
            self._keys,
            [first for first in firsts if first <= until],
            store_id=self._meta.store_id,
            after=end.last,
            chain=end.chain,
        )
        async with aclosing(segments):
            async for segment, sealed in segments:
                for batch in batches(segment, self._keys):
                    changes.apply(batch)
                    await breather.breathe()
                changes.sealed = sealed
                # Covers never goes back, also when the newest manifest was damaged and an older one is the base.
                if changes.size >= self._policy.most_changes and sealed.last > self._pointed_at():
                    break
        if changes.sealed == end:
            raise BrokenLog(f"the object {self._keys.segment(end.last + 1)} is missing: {until} is said to be sealed")
        return changes

    def _pointed_at(self) -> int:
        if self._in_etcd is None:
            return 0
        return decode_pointer(self._in_etcd, where=self._keys.manifest.decode()).covers

    def _start(self) -> Manifest:
        if self._base is None:
            return nothing_covered(self._meta.store_id, self._meta.incarnation)
        return self._base.manifest

    async def _merge(self, changes: _Changes) -> Manifest:
        """Write the data files of a new manifest."""
        start, policy = self._start(), self._policy
        sizes = Sizes(policy.file, policy.small, policy.group)
        writer = DataFilesWriter(
            self._ost, self._keys, self._tables, sizes, epoch=self._epoch, covers=changes.sealed.last
        )
        files = await writer.write(start, changes.types)
        return replace(
            start,
            epoch=self._epoch,
            incarnation=self._meta.incarnation,
            sealed=changes.sealed,
            numbers={**start.numbers, **changes.numbers},
            files=files,
            previous=None if self._base is None else self._base.pointer,
        )

    async def _write_index(self, changes: _Changes) -> tuple[IndexFiles | None, Indexed | None]:
        """Write the index files of a new manifest, if there is an index."""
        if self._index is None:
            return None, None
        before = Indexed() if self._base is None or self._base.indexed is None else self._base.indexed
        writer = IndexWriter(
            self._ost, self._keys, self._index.source, self._start(), before, self._epoch, self._policy.rows
        )
        made = await writer.write(changes.types)
        self._damage = tuple(dict.fromkeys((*self._damage, *writer.damage)))
        return made

    async def _publish(self, manifest: Manifest, indexed: Indexed | None) -> None:
        """Store a manifest and make it the newest, unless somebody else has the store.

        If it turns out that an earlier one is, of which this writer has not heard, that one is the base from now on.
        """
        data = manifest.encode()
        pointer = manifest.pointer(data, uuid.uuid4().bytes)
        await self._ost.write(self._keys.manifests + pointer.name, data, size=len(data), persist=True, create_only=True)
        keys, value = self._keys, pointer.encode()
        self._tried[value] = Base(manifest, pointer, indexed)
        result = await self._etcd.txn(
            [
                Compare(keys.owner, self._owner),
                Compare(keys.meta, self._meta.encode()),
                Compare(keys.manifest, self._in_etcd),
            ],
            [Put(keys.manifest, value)],
            otherwise=[keys.owner, keys.meta, keys.manifest],
        )
        if not result.succeeded:
            owner, meta, found = result.values
            if owner != self._owner or meta != self._meta.encode():
                raise Fenced("the store was opened by another writer, or etcd was wiped or set back")
            if found is None or found not in self._tried:
                raise Fenced(f"{keys.manifest.decode()} was changed by somebody else than this writer")
            value = found
        self._in_etcd, self._base = value, self._tried[value]
        self._tried.clear()
        self._documents.install(self._base.manifest)
        if self._index is not None and self._base.indexed is not None:
            self._index.install(self._base.indexed, covers=self.covers)
        self._fell_back = False
        await self._documents.trim()
        async with self.changed:
            self.changed.notify_all()
