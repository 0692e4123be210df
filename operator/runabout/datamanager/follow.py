"""A store opened for reading only, by any number of processes, while somebody else writes it.

What always holds: the view is the one after some batch of the log, and it never goes back; every batch was checked to
continue the one before it. News come by a watch, but nothing is concluded from its silence: the head is read at least
once in each `interval`, and what the watch did not show is read from the log. What cannot be continued is a stop with
a reason (:attr:`Follower.failed`), never a repair; the caller may then open another follower.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from runabout.datamanager.batch import NO_CHAIN, Batch, decode_batch
from runabout.datamanager.datareader import DataReader, ReadPolicy
from runabout.datamanager.documents import Documents, Row
from runabout.datamanager.errors import BrokenLog, Damaged, StoreError, Unavailable
from runabout.datamanager.head import Head, Keys, decode_head
from runabout.datamanager.indexed import IndexSource, Runs
from runabout.datamanager.indexloading import newer_index
from runabout.datamanager.loading import load_history, read_manifest
from runabout.datamanager.manifest import decode_pointer
from runabout.datamanager.memory import give_back, use_plain_memory
from runabout.datamanager.numbered import numbered_from
from runabout.datamanager.objects import read_history
from runabout.datamanager.opening import read_state
from runabout.datamanager.transaction import Sequence
from runabout.etcd import Etcd, EtcdError, UnavailableError, WatchEvent
from runabout.ost import ObjectStore, OstError

INTERVAL = 1.0
"""Seconds between two reads of the head: the most that a silent watch can hide."""
RETRY_SECONDS = 0.1
MOST_RUNS = 50_000
"""Changed runs that are held in memory before newer index files are looked for; each takes some 1.5 KiB."""
MAX_EVENTS = 64
"""Events of the watch that may wait to be applied: at most 64 MiB."""


class Follower:
    """One reader of one store; made by :func:`follow_store`. Reads go on, ever older, while etcd is away."""

    def __init__(
        self,
        etcd: Etcd,
        ost: ObjectStore | None,
        keys: Keys,
        *,
        interval: float,
        index: IndexSource | None = None,
        most_runs: int = MOST_RUNS,
        reads: ReadPolicy | None = None,
    ) -> None:
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._interval = interval
        self._source = index
        self._most_runs = most_runs
        self._files_cover = 0
        self._store_id = b""
        self._damaged: dict[str, str] = {}
        """Data files that did not hold, and how."""
        self._reads = reads or ReadPolicy()
        self._reader = None if ost is None else DataReader(ost, self._reads)
        self._documents = Documents(index, self._reader)
        self._documents.mend = self._mend
        self._head: Head | None = None
        self._sequence = 0
        self._chain = NO_CHAIN
        self._true_at = 0.0
        self._next_look = 0.0
        self._failed: StoreError | None = None
        self._news = asyncio.Condition()
        self._events: asyncio.Queue[WatchEvent | EtcdError] = asyncio.Queue(MAX_EVENTS)
        self._task: asyncio.Task[None] | None = None

    # reading

    @property
    def sequence(self) -> Sequence:
        """The last applied batch."""
        return Sequence(self._sequence)

    @property
    def stale_seconds(self) -> float:
        """How old the view is at most: all that was acknowledged longer ago than this is in it."""
        return asyncio.get_running_loop().time() - self._true_at

    @property
    def failed(self) -> StoreError | None:
        """Why this reader had to stop, None while it works."""
        return self._failed

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return a document as of a batch between this call and its answer; errors as for `Store.get`."""
        return await self._documents.get(kind, key)

    async def scan(
        self, kind: str, *, prefix: str = "", after: str | None = None, limit: int | None = None
    ) -> list[Row]:
        """Return documents by key, all as of one batch; as `Store.scan`."""
        return await self._documents.scan(kind, prefix=prefix, after=after, limit=limit)

    async def scan_back(self, kind: str, *, before: str | None = None, limit: int | None = None) -> list[Row]:
        """Return documents by key, the highest first; as `Store.scan_back`."""
        return await self._documents.scan_back(kind, before=before, limit=limit)

    async def last_key(self, kind: str) -> str | None:
        """Return the highest key of a type; errors as for `get`."""
        return await self._documents.last_key(kind)

    def numbered(self, kind: str, *, after: int | None = None) -> AsyncGenerator[tuple[int, bytes], None]:
        """Return the appended documents of a type from number `after` + 1 on, then new ones as they are seen here.

        As `Store.numbered`; it ends when this reader has stopped, and another one can go on behind the last number.
        """
        return numbered_from(self._documents, self._news, lambda: self._failed is not None, kind, after=after)

    @property
    def runs(self) -> Runs:
        """Which runs there are, as of the last applied batch.

        Raises:
            LookupError: this reader was opened without an index.
        """
        return self._documents.runs

    async def reached(self, sequence: Sequence, *, seconds: float) -> Sequence:
        """Return once a batch is applied: a writer gives its sequence to readers who must see what it wrote.

        Raises:
            Unavailable: not within `seconds`. What stopped this reader.
        """
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self._sequence >= sequence or self._failed is not None)
        except TimeoutError as error:
            raise Unavailable(
                f"sequence {sequence} is not here after {seconds:g} s: the last one is {self._sequence}, "
                f"the view is {self.stale_seconds:.1f} s old"
            ) from error
        if self._sequence < sequence and self._failed is not None:
            raise self._failed
        return self.sequence

    async def sync(self, *, seconds: float) -> Sequence:
        """Return after everything that was acknowledged by anybody before this call is applied here.

        Raises:
            Unavailable: not within `seconds`, or etcd does not answer. What stopped this reader.
        """
        if self._failed is not None:
            raise self._failed
        known = self._head
        try:
            async with asyncio.timeout(seconds):
                value = await self._etcd.get(self._keys.head)
        except (EtcdError, TimeoutError) as error:
            raise Unavailable(f"the head cannot be read: {error!r}") from error
        head = self._checked(value, known)
        return await self.reached(Sequence(head.sequence), seconds=seconds)

    async def broken(self) -> StoreError:
        """Return why this reader had to stop, once it has."""
        async with self._news:
            await self._news.wait_for(lambda: self._failed is not None)
        return self._failed or Unavailable("the follower was closed")

    async def close(self) -> None:
        """Stop; waiters get `Unavailable`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._reader is not None:
            await self._reader.close()
        await self._stop(Unavailable("the follower was closed"))

    # following

    async def start(self) -> None:
        """Read the log up to its head, then follow it.

        Raises:
            BrokenLog. Errors of etcd and of the object storage.
        """
        use_plain_memory()
        if self._ost is not None:
            await self._load(self._ost)
            give_back()
        revision = await self._look()
        self._task = asyncio.create_task(self._follow(revision), name="store follower")

    async def _load(self, ost: ObjectStore) -> None:
        """Begin with what the object storage has, if there is a checkpoint; the log says the rest."""
        state = await read_state(self._etcd, self._keys)
        if state.life is None or state.manifest is None:
            return
        self._store_id = state.life.meta.store_id
        loaded = await load_history(
            ost, self._keys, self._store_id, pointer=state.manifest, index=self._source, reader=self._reader
        )
        self._documents, self._sequence, self._chain = loaded.documents, loaded.end.last, loaded.end.chain
        self._files_cover = self._documents.covers
        self._documents.mend = self._mend

    async def _follow(self, revision: int) -> None:
        try:
            while True:
                try:
                    await self._watch(revision)
                except (EtcdError, OstError):
                    # Compacted, cut or refused: the log itself says what the watch did not.
                    await asyncio.sleep(RETRY_SECONDS)
                revision = await self._look_until_answered()
        except StoreError as error:
            await self._stop(error)
        except Exception as error:
            await self._stop(BrokenLog(f"the store's reader failed: {error!r}"))
            raise

    async def _look_until_answered(self) -> int:
        while True:
            try:
                return await self._look()
            except (EtcdError, OstError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, revision: int) -> None:
        """Apply what the watch shows from a revision on, until a batch is not the next one; look now and then."""
        self._events = asyncio.Queue(MAX_EVENTS)
        pump = asyncio.create_task(self._pump(revision), name="store watch")
        loop = asyncio.get_running_loop()
        try:
            while not (pump.done() and self._events.empty()):
                try:
                    async with asyncio.timeout_at(self._next_look):
                        event = await self._events.get()
                except TimeoutError:
                    await self._look()
                    continue
                if isinstance(event, EtcdError):
                    raise event
                if not await self._applied(event):
                    return
                if loop.time() >= self._next_look:
                    await self._look()
            pump.result()
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, revision: int) -> None:
        try:
            async with aclosing(self._etcd.watch(self._keys.wal(0), self._keys.wal_end, revision=revision)) as events:
                async for event in events:
                    await self._events.put(event)
            raise UnavailableError("etcd ended the watch")
        except EtcdError as error:
            await self._events.put(error)

    async def _applied(self, event: WatchEvent) -> bool:
        """Apply a batch that the watch shows; return False if it leaves a gap."""
        if event.value is None or event.key <= self._keys.wal(self._sequence):
            return True  # a trimmed log, or known from reading it
        if event.key != self._keys.wal(self._sequence + 1):
            return False
        where = event.key.decode()
        batch = decode_batch(event.value, where=where)
        if batch.sequence != self._sequence + 1 or batch.previous != self._chain:
            raise BrokenLog(f"{where} does not continue the log: its sequence or its chain is another one's")
        await self._apply(batch)
        return True

    async def _apply(self, batch: Batch) -> None:
        self._documents.apply(batch)
        with suppress(Unavailable, BrokenLog):  # labels that are in no row yet come with a newer index
            await self._documents.complete()
        self._sequence, self._chain = batch.sequence, batch.chain
        async with self._news:
            self._news.notify_all()

    async def _look(self) -> int:
        """Read the head and all of the log up to it; return the revision from which a watch misses nothing.

        Raises:
            BrokenLog. Errors of etcd and of the object storage.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        page = await self._etcd.range(self._keys.head, self._keys.head + b"\x00")
        head = self._checked(page.items[0].value if page.items else None, self._head)
        if head.sequence < self._sequence:
            raise BrokenLog(self._set_back(head, self._sequence))
        async with aclosing(
            read_history(self._etcd, self._ost, self._keys, after=self._sequence, chain=self._chain, head=head)
        ) as log:
            async for batch in log:
                await self._apply(batch)
        self._head, self._true_at = head, begin
        self._next_look = loop.time() + self._interval
        await self._slim()
        return page.revision + 1

    async def _slim(self) -> None:
        """Read what newer files have from there, when much of it is in memory; without them, go on as before."""
        index = self._documents.index
        many = index is not None and index.changed >= self._most_runs
        if self._ost is not None and (many or self._documents.memory >= self._reads.recent):
            await self._take_newer(self._ost)

    async def _mend(self, damage: Damaged) -> bool:
        """Go on from a newer manifest than the one that names an object, or from an older one and the log after it."""
        ost = self._ost
        if ost is None:
            return False
        try:
            if await self._take_newer(ost):
                return True
            self._damaged[damage.object] = str(damage)
            older = await load_history(
                ost, self._keys, self._store_id, pointer=None, reader=self._reader, without=self._damaged
            )
        except (EtcdError, OstError, StoreError):
            return False
        if not self._documents.covers <= older.end.last <= self._sequence:
            return False
        self._documents.fall_back(older.documents)
        self._files_cover = older.documents.covers
        return True

    async def _take_newer(self, ost: ObjectStore) -> bool:
        """Read from the files of the newest manifest from now on; return whether there was one that can be used."""
        value = await self._etcd.get(self._keys.manifest)
        pointer = None if value is None else decode_pointer(value, where=self._keys.manifest.decode())
        # Documents are not the ones of a manifest that covers more: it is asked for again when they are further.
        if pointer is None or not self._files_cover < pointer.covers <= self._sequence:
            return False
        index = self._documents.index
        try:
            base = await read_manifest(ost, self._keys, pointer.name)
            if base.pointer != pointer:
                return False
            indexed = None if index is None else await newer_index(ost, index.source, base.manifest, index.archive)
        except (BrokenLog, Unavailable, OstError):
            return False
        self._files_cover = pointer.covers
        self._documents.install(base.manifest)
        if index is not None and indexed is not None:
            index.install(indexed, covers=pointer.covers)
        await self._documents.trim()
        async with self._news:
            self._news.notify_all()
        return True

    def _checked(self, value: bytes | None, known: Head | None) -> Head:
        """Return the head in `value`, read after `known`, if both are of one history."""
        where = self._keys.head.decode()
        if value is None:
            raise BrokenLog(f"{where} is not in etcd: nobody has opened the store for writing, or it was wiped")
        head = decode_head(value, where=where)
        if known is not None and head.incarnation != known.incarnation:
            raise BrokenLog(f"{where} is of another incarnation: the store was made anew")
        if known is not None and (head.epoch < known.epoch or head.sequence < known.sequence):
            raise BrokenLog(self._set_back(head, known.sequence))
        return head

    def _set_back(self, head: Head, sequence: int) -> str:
        where = self._keys.head.decode()
        return f"{where} says sequence {head.sequence}, epoch {head.epoch} after {sequence} was seen: etcd was set back"

    async def _stop(self, error: StoreError) -> None:
        self._failed = self._failed or error
        async with self._news:
            self._news.notify_all()


async def follow_store(
    etcd: Etcd,
    *,
    ost: ObjectStore | None = None,
    number: int = 0,
    interval: float = INTERVAL,
    index: IndexSource | None = None,
    most_runs: int = MOST_RUNS,
    reads: ReadPolicy | None = None,
) -> Follower:
    """Open a store for reading; it must have been opened for writing once. `interval` is in seconds.

    `ost` is the object storage that it is written with; with `index`, `Follower.runs` answers,
    and when so many runs have changed, they are read from newer index files. `reads` is what is kept of data files.

    Raises:
        BrokenLog: there is no store, or its log cannot be continued. Unavailable: etcd does not answer.
    """
    follower = Follower(etcd, ost, Keys(number), interval=interval, index=index, most_runs=most_runs, reads=reads)
    try:
        await follower.start()
    except (EtcdError, OstError) as error:
        raise Unavailable(str(error)) from error
    return follower
