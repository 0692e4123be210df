"""A store opened for writing: transactions in groups, each group one compare-and-put in etcd.

What always holds: a transaction is applied only after etcd has it, and acknowledged only then, or, if the store was
opened for that, after the object storage has it, too; the head's value is compared in every commit, so of two writers
one stops; a reply that was lost is asked for again with the same transaction until the answer is definite, and can take
effect at most once.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass

from runabout.datamanager.batch import APPEND, DELETE, PUT, Batch, Entry, Link, encode_batch, next_chain
from runabout.datamanager.checkpointer import Checkpointer
from runabout.datamanager.documents import Documents, Row
from runabout.datamanager.durability import Durability, SealedFirst
from runabout.datamanager.errors import (
    BrokenLog,
    Conflict,
    Fenced,
    ReadOnly,
    StoreError,
    Unavailable,
    Unknown,
)
from runabout.datamanager.groups import Groups
from runabout.datamanager.head import Head, Keys, decode_head, who_has
from runabout.datamanager.indexed import Runs
from runabout.datamanager.numbered import numbered_from
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.opening import Opened
from runabout.datamanager.outcome import Outcome, id_of_batch, outcome_of
from runabout.datamanager.putting import BatchPutter
from runabout.datamanager.recovery import Recovery
from runabout.datamanager.sealer import Sealer
from runabout.datamanager.space import SpaceWatch
from runabout.datamanager.transaction import Append, BatchId, Committed, Put, Sequence, Transaction
from runabout.datamanager.waiting import Queue, Waiting
from runabout.etcd import Etcd, EtcdError
from runabout.ost import ObjectStore
from runabout.records import RunId

COMPLETE_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Prepared:
    waiting: Waiting
    entries: tuple[Entry, ...]
    appended: tuple[int, ...]


class Store:
    """One writer of one store; made by `joining.open_store`."""

    def __init__(
        self,
        etcd: Etcd,
        keys: Keys,
        opened: Opened,
        *,
        ost: ObjectStore | None,
        deadline: float,
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._etcd = etcd
        self._ost = ost
        self._keys = keys
        self._head = opened.head
        self._deadline = deadline
        self._queue = Queue()
        self._putter = BatchPutter(etcd, keys, self._queue, deadline=deadline)
        self._documents = opened.documents
        self._recovery = opened.recovery
        self._damage = opened.damage
        self._wake = asyncio.Event()
        self._groups = Groups(horizon=opened.head.sequence)
        self._failed: StoreError | None = None
        self._closing = False
        self._news = asyncio.Condition()
        self._sealer: Sealer | None = None
        self._checkpointer: Checkpointer | None = None
        self._sealed_first: SealedFirst | None = None
        self._space: SpaceWatch | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []

    # reading

    @property
    def sequence(self) -> Sequence:
        """The last applied batch."""
        return Sequence(self._head.sequence)

    @property
    def epoch(self) -> int:
        """The number of this opening of the store; a later one fences this writer."""
        return self._head.epoch

    @property
    def head(self) -> Head:
        """The head as this writer knows it: after the last applied batch."""
        return self._head

    @property
    def failed(self) -> StoreError | None:
        """Why this writer had to stop, None while it works."""
        return self._failed

    @property
    def stuck_seconds(self) -> float:
        """For how long etcd has not given a definite answer; 0 while it does."""
        return self._putter.stuck_seconds

    @property
    def recovery(self) -> Recovery | None:
        """What had to be set right when the store was opened, None if nothing had to be."""
        return self._recovery

    @property
    def sealer(self) -> Sealer | None:
        """What moves the log to the object storage, None without one."""
        return self._sealer

    @property
    def checkpointer(self) -> Checkpointer | None:
        """What keeps openings short, None without an object storage."""
        return self._checkpointer

    @property
    def space(self) -> SpaceWatch | None:
        """What looks after etcd's space, None if nobody does."""
        return self._space

    @property
    def queued(self) -> int:
        """Transactions that wait for etcd."""
        return len(self._queue)

    @property
    def damage(self) -> tuple[str, ...]:
        """What on the object storage did not hold when it was needed; something else said the same."""
        return (*self._damage, *(() if self._checkpointer is None else self._checkpointer.damage))

    @property
    def runs(self) -> Runs:
        """Which runs there are, as of the last applied batch.

        Raises:
            LookupError: the store was opened without an index.
        """
        return self._documents.runs

    @property
    def changed_runs(self) -> int:
        """How many runs are newer than the index files: each takes some 1.5 KiB of memory until a checkpoint."""
        return 0 if self._documents.index is None else self._documents.index.changed

    @property
    def unreadable(self) -> frozenset[RunId]:
        """Runs whose record cannot be read, and which so are not among the runs."""
        return frozenset() if self._documents.index is None else self._documents.index.unreadable

    @property
    def documents(self) -> Documents:
        """What is read; what it says of memory is for those who watch over that."""
        return self._documents

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return a document as of a batch between this call and its answer.

        Raises:
            Unreadable: the object storage does not answer. Damaged: what it has is damaged or gone, and nothing else
                says the same.
        """
        return await self._documents.get(kind, key)

    async def scan(
        self, kind: str, *, prefix: str = "", after: str | None = None, limit: int | None = None
    ) -> list[Row]:
        """Return documents by key, all as of one batch; without a limit all there are, so mind the memory.

        They begin with `prefix` and come after `after`, the first `limit` ones. Errors as for `get`.
        """
        return await self._documents.scan(kind, prefix=prefix, after=after, limit=limit)

    async def scan_back(self, kind: str, *, before: str | None = None, limit: int | None = None) -> list[Row]:
        """Return documents by key, the highest first, those before `before`; otherwise as `scan`."""
        return await self._documents.scan_back(kind, before=before, limit=limit)

    async def last_key(self, kind: str) -> str | None:
        """Return the highest key of a type; errors as for `get`."""
        return await self._documents.last_key(kind)

    async def indexed(self) -> None:
        """Return when `runs` says all of what the documents say.

        It always does, but for the labels of a run whose record is written without them, long after they were.
        """
        index = self._documents.index
        async with self._news:
            await self._news.wait_for(lambda: index is None or not index.incomplete or self._failed is not None)

    async def sync(self) -> Sequence:
        """Return after everything that was acknowledged by anybody before this call is applied here.

        Raises:
            Fenced: somebody else writes this store now. Unavailable: etcd does not answer. What stopped this writer.
        """
        if self._failed is not None:
            raise self._failed
        try:
            value = await self._etcd.get(self._keys.head)
        except EtcdError as error:
            raise Unavailable(str(error)) from error
        if value is None:
            raise Fenced(who_has(value, self._keys, self._head))
        head = decode_head(value, where=self._keys.head.decode())
        if (head.incarnation, head.epoch) != (self._head.incarnation, self._head.epoch):
            raise Fenced(who_has(value, self._keys, self._head))
        try:
            async with asyncio.timeout(self._deadline), self._news:
                await self._news.wait_for(lambda: self._head.sequence >= head.sequence or self._failed is not None)
        except TimeoutError as error:
            raise Unavailable(f"sequence {head.sequence} of the log was not applied in {self._deadline:g} s") from error
        if self._failed is not None:
            raise self._failed
        return self.sequence

    def numbered(self, kind: str, *, after: int | None = None) -> AsyncGenerator[tuple[int, bytes], None]:
        """Return the appended documents of a type from number `after` + 1 on, then new ones as they are committed.

        It ends when this writer has ended.

        Args:
            kind: the type.
            after: the last number that is known already; None: begin with the oldest that there is.

        Raises:
            Gone: there is no next one any more, or it was removed before it was asked for. Errors as for `get`.
        """
        return numbered_from(
            self._documents, self._news, lambda: self._failed is not None or self._closing, kind, after=after
        )

    # writing

    async def commit(self, transaction: Transaction) -> Committed:
        """Write a transaction; returns when it is as durable as the store was opened for, and reads here see it.

        Raises:
            Conflict, TooLarge, Unavailable (nothing was written; ReadOnly: for want of room), Unknown, Fenced,
            BrokenLog
            ValueError: a type or key that no batch can hold.
        """
        committed = await self._commit(transaction)
        if self._sealed_first is not None:
            await self._sealed_first.wait(committed.sequence, batch=committed.batch, seconds=self._deadline)
        return committed

    async def _commit(self, transaction: Transaction) -> Committed:
        if self._failed is not None:
            raise self._failed
        if self._closing:
            raise Unavailable("the store is being closed")
        if self._space is not None and self._space.refusal:
            raise ReadOnly(self._space.refusal)
        if self._sealer is not None and self._sealer.full:
            raise Unavailable(
                f"{self._sealer.waiting_bytes} bytes of the log wait for the object storage: {self._sealer.trouble}"
            )
        future = self._queue.add(transaction)
        self._wake.set()
        return await future

    async def settled(self) -> None:
        """Return when no transaction is under way: after `Unknown`, reads and `outcome` then say what is true."""
        async with self._news:
            await self._news.wait_for(lambda: not self._putter.stuck or self._failed is not None)
        if self._sealed_first is not None:
            await self._sealed_first.settled(self.sequence)

    async def outcome(self, batch: BatchId) -> Outcome:
        """Return what became of a batch, of this writer or an earlier one; waits as `settled` does.

        Raises:
            Fenced: somebody else writes this store now: ask there. Unavailable: etcd or the object storage does not
                answer. BrokenLog: the segment that should have it is damaged. What stopped this writer.
            ValueError: this is no batch's id.
        """
        await self.settled()
        await self.sync()
        return await outcome_of(self._etcd, self._ost, self._keys, batch, end=self._head.sequence)

    async def broken(self) -> StoreError:
        """Return why this writer had to stop, once it has."""
        async with self._news:
            await self._news.wait_for(lambda: self._failed is not None)
        return self._failed or Unavailable("the store was closed")

    async def close(self) -> None:
        """Write what waits, for at most a second, and stop."""
        self._closing = True
        self._wake.set()
        if self._flusher is not None:
            await asyncio.wait((self._flusher,), timeout=1)
        if self._sealed_first is not None:
            await self._sealed_first.close()
        await self.halt()
        self._queue.fail(Unavailable("the store was closed"))
        async with self._news:
            self._news.notify_all()

    async def halt(self) -> None:
        """Stop where we are, as a process does that is killed: nothing is sent any more, nobody is told anything."""
        tasks = [*self._beside, *([] if self._flusher is None else [self._flusher])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._documents.reader is not None:
            await self._documents.reader.close()

    def start(self) -> None:
        """Begin to write."""
        self._flusher = asyncio.create_task(self._flush(), name="store flusher")
        if self._documents.index is not None:
            self._beside.append(asyncio.create_task(self._work("index", self._complete()), name="store index"))

    def watch_space(self, space: SpaceWatch) -> None:
        """Have somebody look after etcd's space from now on."""
        self._space = self._putter.space = space
        self._beside.append(asyncio.create_task(self._work("space watch", space.run()), name="store space watch"))

    async def join(self, sealer: Sealer, checkpointer: Checkpointer, durability: Durability) -> None:
        """Begin to write with a batch of our own, seal it, and go on sealing and making checkpoints.

        Raises:
            SplitHistory: the object storage was continued by somebody else. What `commit` raises. Errors of etcd and of
                the object storage.
        """
        self.start()
        self._sealer, self._checkpointer = sealer, checkpointer
        self._documents.mend = checkpointer.fall_back
        await self._commit(Transaction(()))
        await sealer.seal()
        self._sealed_first = SealedFirst(sealer) if durability is Durability.OBJECT else None
        for name, work in (("sealer", sealer.run()), ("checkpointer", checkpointer.run())):
            self._beside.append(asyncio.create_task(self._work(name, work), name=f"store {name}"))

    async def _complete(self) -> None:
        """Read what rows of the index lack, for ever: hardly ever anything."""
        index = self._documents.index
        while index is not None:
            async with self._news:
                await self._news.wait_for(lambda: bool(index.incomplete))
            try:
                await self._documents.complete()
            except (Unavailable, BrokenLog):
                await asyncio.sleep(COMPLETE_AGAIN_SECONDS)  # the next checkpoint may do it, too
            async with self._news:
                self._news.notify_all()

    async def _work(self, name: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except StoreError as error:
            self._stop(error)
        except Exception as error:
            self._stop(BrokenLog(f"the store's {name} failed: {error!r}"))
            raise
        finally:
            async with self._news:
                self._news.notify_all()

    async def _flush(self) -> None:
        try:
            while True:
                if not self._queue:
                    if self._closing:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._flush_one()
        except StoreError as error:
            self._stop(error)
        except Exception as error:
            self._stop(BrokenLog(f"the store's writer failed: {error!r}"))
            raise
        finally:
            async with self._news:
                self._news.notify_all()

    async def _flush_one(self) -> None:
        prepared = self._prepare()
        if not prepared:
            return
        sequence = self._head.sequence + 1
        transactions = tuple(item.entries for item in prepared)
        batch_id, begin = secrets.token_bytes(16), asyncio.get_running_loop().time()
        batch = id_of_batch(sequence, batch_id)
        try:
            value = encode_batch(
                sequence=sequence, previous=self._head.chain, batch_id=batch_id, transactions=transactions
            )
            head = Head(self._head.incarnation, self._head.epoch, sequence, next_chain(self._head.chain, value))
            await self._putter.put([item.waiting for item in prepared], value, self._head, head, batch=batch)
            self._documents.apply(Batch(sequence, self._head.chain, head.chain, batch_id, transactions))
        except Unavailable as error:
            await self._answer(prepared, batch, error)
            return
        except Fenced as error:
            await self._answer(prepared, batch, error)
            raise
        except BaseException:
            ended = Unknown("the writer ended before it had taken note of a definite answer", batch=batch)
            await self._answer(prepared, batch, ended)
            raise
        before, self._head = self._head, head
        for item in prepared:
            self._groups.remember(item.waiting.transaction.groups, sequence)
        if self._sealer is not None:
            self._sealer.added(value, Link(sequence, before.chain, head.chain))
        if self._space is not None:
            self._space.added(len(value))
        seconds = asyncio.get_running_loop().time() - begin
        self._observer.committed(transactions=len(prepared), size=len(value), seconds=seconds)
        await self._answer(prepared, batch, None)

    async def _answer(self, prepared: list[_Prepared], batch: BatchId, error: StoreError | None) -> None:
        """Tell those in a batch what became of it, and all others that there is news."""
        for item in prepared:
            if error is not None:
                item.waiting.fail(error)
            else:
                item.waiting.succeed(Committed(Sequence(self._head.sequence), item.appended, batch))
        async with self._news:
            self._news.notify_all()

    def _prepare(self) -> list[_Prepared]:
        """Take what fits into one batch from the queue; conflicting ones get their error."""
        prepared: list[_Prepared] = []
        numbers: dict[str, int] = {}
        written: set[str] = set()
        for waiting in self._queue.take():
            transaction = waiting.transaction
            group = self._groups.conflict(transaction, written)
            if group is not None:
                waiting.fail(Conflict(f"group {group} was written after sequence {transaction.read_at}"))
                continue
            prepared.append(self._resolve(waiting, numbers))
            written |= transaction.groups
        return prepared

    def _resolve(self, waiting: Waiting, numbers: dict[str, int]) -> _Prepared:
        entries: list[Entry] = []
        appended: list[int] = []
        for action in waiting.transaction.actions:
            if isinstance(action, Append):
                number = numbers.get(action.type, self._documents.number(action.type)) + 1
                numbers[action.type] = number
                appended.append(number)
                entries.append(Entry(APPEND, action.type, f"{number:016x}", action.body))
            elif isinstance(action, Put):
                entries.append(Entry(PUT, action.type, action.key, action.body))
            else:
                entries.append(Entry(DELETE, action.type, action.key))
        return _Prepared(waiting, tuple(entries), tuple(appended))

    def _stop(self, error: StoreError) -> None:
        self._failed = self._failed or error
        self._queue.fail(error)
        if self._sealed_first is not None:
            self._sealed_first.end(error)
