"""Whole lives of a store in virtual time: what a process does with it by itself, and what must hold after any of it.

A process opens a store, commits, and while it does, its log is sealed, checkpoints with data and index files are made
of it, and what they make superfluous is collected, at the intervals of a policy, with the real pauses after failures.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.checkpoints import checkpointer, objects
from lab.etcds import MemoryLab
from lab.indexed import check as check_runs
from lab.indexed import gone, record, source
from lab.inline import InlineExecutor
from lab.ledger import Ledger, Reports, shown
from lab.pointers import check_pointers
from lab.stores import DOC, Stores
from runabout.datamanager import (
    Action,
    Case,
    CheckpointPolicy,
    Committed,
    Delete,
    Put,
    Refused,
    SealPolicy,
    StorageFailed,
    Store,
    Unavailable,
    follow_store,
)
from runabout.ost import MemoryObjectStore
from runabout.records import Phase

HOUR = 3600.0
SEALS = SealPolicy(interval=1.0, target=4_000, keep=1, compact_interval=300.0)
CHECKPOINTS = CheckpointPolicy(
    interval=900.0,
    most_changes=2_000,
    file=200_000,
    small=1_000,
    group=1_000,
    rows=3,
    keep=0,
    keep_seconds=-1.0,
    orphan_seconds=-1.0,
    collect_interval=HOUR,
)
"""Files of one row group, index files of three rows, checkpoints in steps, and no age protects anything when it is
collected."""
TRIES = 3
virtual = pytest.mark.looptime(noop_cycles=2)
"""Without the many empty turns by which real input may come first: there is none here, and each hour costs them."""


@asynccontextmanager
async def new_stores(scratch: Path | None) -> AsyncIterator[Stores]:
    """Make an empty store in memory, whose object storage has the loop's clock; with `scratch` it has an index."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(InlineExecutor())
    begin = datetime(2030, 1, 1, tzinfo=UTC)
    ost = MemoryObjectStore(now=lambda: begin + timedelta(seconds=loop.time()))
    index = None if scratch is None else source(scratch, labels=())
    stores = Stores(MemoryLab(), 0, ost=ost, policy=SEALS, checkpoints=CHECKPOINTS, index=index)
    async with stores:
        yield stores


async def opened(stores: Stores) -> Store | None:
    """Open a store as an operator does, which is started again when an opening fails; None if it cannot be opened."""
    for _ in range(TRIES):
        with suppress(Unavailable, Refused, StorageFailed):  # it ends by one of the last two, and is started again
            return await stores.open()
        await asyncio.sleep(1)
    return None


async def live(stores: Stores, ledger: Ledger, name: str) -> None:
    """One process, from its opening to its orderly end, or until it has to stop."""
    store = await opened(stores)
    if store is None:
        return
    place = 10 * len(ledger.asked)
    made, more = _runs(stores, record(place + 1), record(place + 2)), _runs(stores, record(place + 3, group=1))
    try:
        await ledger.commit(store, f"{name} alone", Put(DOC, "a", b"1" * 900), *made)
        await asyncio.sleep(SEALS.interval)  # now it is being sealed
        many = [(Put(DOC, str(n), name.encode() * 90), Delete(DOC, f"{n - 1}")) for n in range(4)]
        await asyncio.gather(*(ledger.commit(store, f"{name} {n}", *many[n]) for n in range(4)))
        await ledger.commit(store, f"{name} again", Put(DOC, "b", b"2"))
        await ledger.commit(
            store, f"{name} once more", Put(DOC, "b", b"3"), *_runs(stores, record(place + 1, phase=Phase.FINISHED))
        )
        await asyncio.sleep(CHECKPOINTS.interval)  # now a checkpoint is being made
        await ledger.commit(
            store, f"{name} during", Delete(DOC, "b"), Put(DOC, "c", name.encode()), *_runs(stores, gone(place + 2))
        )
        await asyncio.sleep(HOUR)
        await ledger.commit(store, f"{name} later", Put(DOC, "a", name.encode()))
        await asyncio.sleep(2 * HOUR)  # it is collected, and etcd is compacted
        await ledger.commit(store, f"{name} last", Put(DOC, "z", name.encode()), *more)
    finally:
        await store.close()


def _runs(stores: Stores, *actions: Action) -> tuple[Action, ...]:
    """Return actions on runs if the store has an index of them; each type of documents costs time in every life."""
    return actions if stores.index is not None else ()


async def check_store(stores: Stores, ledger: Ledger) -> None:
    """What was left can be opened, shows what was told, goes on in every respect, and outlives its etcd."""
    await check_pointers(stores)
    again = await stores.open(etcd=stores.lab.etcd)
    assert again.recovery is None
    await _goes_on(stores, again, ledger)
    assert await objects(stores, "quarantine/") == []


async def check_lost(stores: Stores, ledger: Ledger, reports: Reports, *, shows: bool = True) -> None:
    """The same of a store that has lost its etcd; if anything is lost, that was reported, in so far as it `shows`."""
    again = await stores.open(etcd=stores.lab.etcd)
    lost = ledger.lost(await shown(again))
    assert reports.recoveries or not lost or not shows, f"{lost} went without a word"
    assert all(each.sequence <= again.sequence for each in reports.recoveries)
    await _goes_on(stores, again, ledger)


async def _goes_on(stores: Stores, again: Store, ledger: Ledger) -> None:
    assert again.damage == ()
    await agrees(again, ledger)
    for name in ("one", "two"):
        await ledger.commit(
            again, f"afterwards {name}", Put(DOC, "afterwards", name.encode()), *_runs(stores, record(900))
        )
        assert isinstance(ledger.told[f"afterwards {name}"], Committed)
        await asyncio.sleep(2 * HOUR)
    await check_pointers(stores)
    made = checkpointer(again).manifest
    assert made is not None
    assert made.covers == again.sequence
    base = f"store/{stores.keys.store}/"
    there = (*await objects(stores, "data/"), *await objects(stores, "index/"))
    assert sorted(there) == sorted(each.removeprefix(base) for each in made.objects)
    assert len(await objects(stores, "manifest/")) <= 2
    await agrees(again, ledger)
    await _is_followed(stores, again)
    await again.close()
    await stores.wipe()
    last = await stores.open(etcd=stores.lab.etcd)
    assert last.recovery is not None
    assert last.recovery.case is Case.WIPED
    await agrees(last, ledger)


async def agrees(store: Store, ledger: Ledger) -> None:
    """Documents and runs are those that callers were told of."""
    seen = await shown(store)
    ledger.check(seen)
    with suppress(LookupError):  # no index is kept
        check_runs(store.runs, seen, labels=())


async def _is_followed(stores: Stores, store: Store) -> None:
    follower = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store)
    try:
        assert await shown(follower) == await shown(store)
    finally:
        await follower.close()
