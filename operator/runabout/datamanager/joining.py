"""Opening a store for writing, from outside: taking it over, then standing in the way of every earlier writer."""

from contextlib import suppress
from dataclasses import replace

from runabout.datamanager.access import check_access, why_not_opened
from runabout.datamanager.checkpointer import Checkpointer, CheckpointPolicy
from runabout.datamanager.datareader import DataReader, ReadPolicy
from runabout.datamanager.durability import Durability
from runabout.datamanager.errors import MissingBatch, SplitHistory, Unavailable
from runabout.datamanager.head import Keys
from runabout.datamanager.indexed import IndexSource
from runabout.datamanager.memory import give_back, use_plain_memory
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.opening import TRIES, open_log
from runabout.datamanager.sealer import Sealer, SealPolicy
from runabout.datamanager.space import RoomMaker, SpacePolicy, SpaceWatch
from runabout.datamanager.store import Store
from runabout.datamanager.tables import NO_TABLES, Tables
from runabout.etcd import Etcd, EtcdError, FullError, Upkeep
from runabout.ost import ObjectStore, OstError


async def open_store(
    etcd: Etcd,
    *,
    ost: ObjectStore | None = None,
    number: int = 0,
    deadline: float = 30.0,
    durability: Durability = Durability.ETCD,
    policy: SealPolicy | None = None,
    checkpoints: CheckpointPolicy | None = None,
    tables: Tables = NO_TABLES,
    index: IndexSource | None = None,
    reads: ReadPolicy | None = None,
    members: Upkeep | None = None,
    space: SpacePolicy | None = None,
    observer: Observer = NOBODY,
) -> Store:
    """Open a store for writing and fence every earlier writer; create it if there is none.

    Args:
        etcd: Where the log's end is.
        ost: Where the log goes from there, to stay; None: it stays in etcd. Once a store has been opened with one, it
            cannot be opened without. The caller closes both.
        number: Which store.
        deadline: In seconds: how long a commit waits for a definite answer before it fails as `Unknown`.
        durability: When a commit is acknowledged. With `OBJECT`, which needs `ost`, what is committed is sealed as soon
            as the seal before it is done, with all that came meanwhile.
        policy: When and how much is sealed.
        checkpoints: When checkpoints are made, and what is kept of older ones.
        tables: Columns of the data files, by type of document.
        index: What `Store.runs` answers from; None: nothing does.
        reads: How much of data files is kept in memory.
        members: By which etcd's space is looked after; usually `etcd` itself. None: nobody does.
        space: When that is, and what is done.
        observer: Is told what the store does.

    Raises:
        ValueError: the durability needs an object storage, and there is none.
        BrokenLog: the log cannot be continued. Refused: a setting, a right or a limit is wrong. Unavailable: etcd or
            the object storage does not answer. ReadOnly: etcd has no room. Fenced: another one has opened it meanwhile.
    """
    keys = Keys(number)
    space, policy = space or SpacePolicy(), policy or SealPolicy()
    use_plain_memory()
    if durability is Durability.OBJECT:
        if ost is None:
            raise ValueError("without an object storage nothing can be sealed before it is acknowledged")
        policy = replace(policy, interval=0.0)
    for attempt in range(TRIES):
        try:
            if not attempt:
                await check_access(etcd, keys)
            store, settled = await _joined(
                etcd,
                ost,
                keys,
                deadline=deadline,
                durability=durability,
                policy=policy,
                checkpoints=checkpoints or CheckpointPolicy(),
                tables=tables,
                index=index,
                reads=reads or ReadPolicy(),
                observer=observer,
            )
        except (EtcdError, OstError) as error:
            if isinstance(error, FullError) and members is not None:
                await _make_room(RoomMaker(etcd, members, keys, policy=space), members)
            raise why_not_opened(error, keys) from error
        if settled:
            give_back()
            if members is not None:
                store.watch_space(SpaceWatch(etcd, members, keys, sealer=store.sealer, policy=space, observer=observer))
            return store
    raise Unavailable(f"another writer keeps opening store {number}: tried {TRIES} times")


async def _make_room(room: RoomMaker, members: Upkeep) -> None:
    """Do what can be done so that the next opening finds some room; there is always a next one."""
    with suppress(EtcdError):
        await room.make_room(await members.space(), stuck=True)


async def _joined(
    etcd: Etcd,
    ost: ObjectStore | None,
    keys: Keys,
    *,
    deadline: float,
    durability: Durability,
    policy: SealPolicy,
    checkpoints: CheckpointPolicy,
    tables: Tables,
    index: IndexSource | None,
    reads: ReadPolicy,
    observer: Observer,
) -> tuple[Store, bool]:
    """Take the store over and, with an object storage, seal an empty batch of our own before anybody can commit.

    The batch stands in the way of a writer that was paused while etcd was wiped or set back: what it still seals is
    adopted if it belongs to our history, and else it cannot be sealed any more, or was sealed before and we begin
    again. Without it, what we acknowledge could be refused by a later opening. False if we have to begin again.
    """
    reader = None if ost is None else DataReader(ost, reads)
    opened = await open_log(etcd, ost, keys, index, reader, observer)
    store = Store(etcd, keys, opened, ost=ost, deadline=deadline, observer=observer)
    if ost is None:
        store.start()
        return store, True
    sealer = Sealer(
        etcd,
        ost,
        keys,
        meta=opened.meta,
        sealed=opened.sealed,
        in_etcd=opened.pointer,
        waiting=opened.waiting,
        head=lambda: store.head,
        policy=policy,
        observer=observer,
    )
    checkpointer = Checkpointer(
        etcd,
        ost,
        keys,
        meta=opened.meta,
        head=opened.head,
        base=opened.base,
        in_etcd=opened.manifest,
        segment_bytes=opened.segment_bytes,
        sealer=sealer,
        tables=tables,
        documents=opened.documents,
        policy=checkpoints,
        observer=observer,
    )
    try:
        await store.join(sealer, checkpointer, durability)
    except SplitHistory:
        await store.close()
        return store, False
    except MissingBatch:
        # A writer that was sealing when we took over goes on to the end of that: what it then removes from etcd is in
        # its segment, and the next opening begins behind it.
        await store.close()
        if await etcd.get(keys.sealed) == opened.pointer:
            raise
        return store, False
    except BaseException:
        await store.close()
        raise
    return store, True
