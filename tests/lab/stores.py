"""Stores in tests: opened as often as a test likes, closed at its end, looked at from outside."""

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Self

from lab.etcds import Lab
from lab.faulty_etcd import Fault, FaultyEtcd
from lab.faulty_ost import FaultyOst
from runabout.datamanager import (
    Append,
    CheckpointPolicy,
    Committed,
    Delete,
    Durability,
    Follower,
    IndexSource,
    Put,
    ReadPolicy,
    SealPolicy,
    Sequence,
    Store,
    StoreError,
    Tables,
    Transaction,
    open_store,
)
from runabout.datamanager.batch import NO_CHAIN, Batch
from runabout.datamanager.head import Head, Keys, decode_head
from runabout.datamanager.objects import read_history
from runabout.datamanager.observing import NOBODY, Observer
from runabout.etcd import Etcd
from runabout.etcd import Put as EtcdPut
from runabout.ost import ObjectStore

View = dict[str, dict[str, bytes]]
"""Documents by type and key."""

DOC = "doc"
NOTE = "note"


class Stores:
    """All openings of one store; use as an async context manager."""

    def __init__(
        self,
        lab: Lab,
        number: int,
        *,
        ost: ObjectStore | None = None,
        policy: SealPolicy | None = None,
        checkpoints: CheckpointPolicy | None = None,
        tables: Tables | None = None,
        index: IndexSource | None = None,
        reads: ReadPolicy | None = None,
        durability: Durability = Durability.ETCD,
    ) -> None:
        self.lab = lab
        self.ost = ost
        self.faulty = FaultyEtcd(lab.etcd)
        self.faulty_ost = None if ost is None else FaultyOst(ost)
        self._policy = policy
        self._checkpoints = checkpoints
        self._tables = tables or {}
        self.index = index
        self._reads = reads
        self.durability = durability
        self.observer: Observer = NOBODY
        self.keys = Keys(number)
        self._stack = AsyncExitStack()
        self._opened: list[Store] = []

    def meet(self, fault: Fault) -> None:
        """Have the calls of all openings go through a fault from now on."""
        assert self.faulty_ost is not None
        self.faulty.fault = self.faulty_ost.fault = fault

    def beside(self) -> "Stores":
        """Return the same store as another machine has it, whose calls meet faults of their own."""
        other = Stores(
            self.lab,
            self.keys.store,
            ost=self.ost,
            policy=self._policy,
            checkpoints=self._checkpoints,
            tables=self._tables,
            index=self.index,
            durability=self.durability,
        )
        other.observer = self.observer
        self._stack.push_async_callback(other.__aexit__)
        return other

    async def open(self, *, etcd: Etcd | None = None, deadline: float = 30.0) -> Store:
        """Open the store once more, as another process would; with an `etcd` of its own no call fails."""
        ost = self.faulty_ost if etcd is None else self.ost
        store = await open_store(
            etcd or self.faulty,
            ost=ost,
            number=self.keys.store,
            deadline=deadline,
            policy=self._policy,
            checkpoints=self._checkpoints,
            tables=self._tables,
            index=self.index,
            reads=self._reads,
            durability=self.durability,
            observer=self.observer,
        )
        self._stack.push_async_callback(store.close)
        self._opened.append(store)
        return store

    async def crash(self) -> None:
        """End all openings where they are: nothing is sent any more, nothing is told to anybody."""
        for store in self._opened:
            await store.halt()

    async def head(self) -> Head:
        """Return the head as it is in etcd."""
        value = await self.lab.etcd.get(self.keys.head)
        assert value is not None
        return decode_head(value, where="head")

    async def log(self) -> list[Batch]:
        """Return all batches; the chain is checked from the first one to the head."""
        head = await self.head()
        log = read_history(self.lab.etcd, self.ost, self.keys, after=0, chain=NO_CHAIN, head=head)
        return [batch async for batch in log]

    async def wipe(self) -> None:
        """Lose what etcd has, as with a volume that is gone."""
        await self.lab.etcd.delete(b"store/%d/" % self.keys.store, b"store/%d0" % self.keys.store)

    async def snapshot(self) -> dict[bytes, bytes]:
        """Return what etcd has, to set it back to."""
        page = await self.lab.etcd.range(b"store/%d/" % self.keys.store, b"store/%d0" % self.keys.store)
        return {item.key: item.value for item in page.items}

    async def set_back(self, snapshot: dict[bytes, bytes]) -> None:
        """Have etcd as it was, as after the restore of a backup."""
        await self.wipe()
        for key, value in snapshot.items():
            await self.lab.etcd.txn((), [EtcdPut(key, value)])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def put(key: str, body: bytes = b"", *, group: str | None = None, read_at: Sequence | None = None) -> Transaction:
    """Return a transaction of one document."""
    return Transaction((Put(DOC, key, body),), frozenset({group} if group else ()), read_at)


def note(body: bytes) -> Transaction:
    """Return a transaction that appends one document."""
    return Transaction((Append(NOTE, body),))


def delete(key: str) -> Transaction:
    """Return a transaction that removes a document."""
    return Transaction((Delete(DOC, key),))


async def view(store: Store | Follower, kinds: tuple[str, ...] = (DOC, NOTE)) -> View:
    """Return all that a store shows."""
    return {kind: dict(await store.scan(kind)) for kind in kinds}


async def outcome(call: Awaitable[Committed]) -> Committed | StoreError:
    try:
        return await call
    except StoreError as error:
        return error
