"""Every external call of a store's whole life meets every fault, and nothing that was acknowledged is lost.

The life: a process opens a store, commits, and while it does, its log is sealed, checkpoints are made of it, and what
they make superfluous is collected; then the same again in a second process. Time is virtual, so all of it happens by
itself, at the intervals of a policy, with the real pauses after failures. After each fault everything that etcd points
to is followed, the store is opened again, and what it shows is compared with what callers were told.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import NoneType

import pytest

from lab.checkpoints import checkpointer, objects
from lab.etcds import MemoryLab
from lab.pointers import check_pointers
from lab.stores import DOC, NOTE, Stores, View, view
from lab.trouble import KINDS, Trouble
from runabout.datamanager import (
    Action,
    Append,
    Case,
    CheckpointPolicy,
    Committed,
    Delete,
    Fenced,
    Put,
    Refused,
    SealPolicy,
    StorageFailed,
    Store,
    StoreError,
    Transaction,
    Unavailable,
    Unknown,
    follow_store,
)
from runabout.ost import MemoryObjectStore

HOUR = 3600.0
SEALS = SealPolicy(interval=1.0, target=4_000, keep=1, compact_interval=300.0)
CHECKPOINTS = CheckpointPolicy(
    interval=900.0,
    most_changes=2_000,
    file=200_000,
    small=1_000,
    group=1_000,
    keep=0,
    keep_seconds=-1.0,
    orphan_seconds=-1.0,
    collect_interval=HOUR,
)
"""Files of one row group, checkpoints in steps, and no age protects anything when it is collected."""
TRIES = 3
virtual = pytest.mark.looptime(noop_cycles=2)
"""Without the many empty turns by which real input may come first: there is none here, and each hour costs them."""


@dataclass(slots=True)
class Ledger:
    """What callers asked for and what they were told, by the name of a transaction; some were told nothing."""

    asked: dict[str, tuple[Action, ...]] = field(default_factory=dict)
    told: dict[str, Committed | StoreError] = field(default_factory=dict)

    async def commit(self, store: Store, name: str, *actions: Action) -> None:
        """Commit a transaction that can be recognized: its last action appends its name."""
        self.asked[name] = (*actions, Append(NOTE, name.encode()))
        try:
            self.told[name] = await store.commit(Transaction(self.asked[name]))
        except StoreError as error:
            self.told[name] = error

    def check(self, seen: View) -> None:
        """Compare what was told with what a store shows.

        The names that were appended, which nobody removes, say what happened and in which order.
        """
        assert list(seen[NOTE]) == [f"{number:016x}" for number in range(1, len(seen[NOTE]) + 1)]
        happened = [body.decode() for body in seen[NOTE].values()]
        twice = [name for name, count in Counter(happened).items() if count > 1]
        assert twice == []
        for name, told in self.told.items():
            if isinstance(told, Committed):
                assert happened[told.appended[0] - 1 : told.appended[0]] == [name], f"{name} was acknowledged"
            elif not isinstance(told, Unknown):
                assert name not in happened, f"{name} was refused: {told!r}"
        folded: dict[str, bytes] = {}
        for name in happened:
            for action in self.asked[name]:
                if isinstance(action, Put):
                    folded[action.key] = action.body
                elif isinstance(action, Delete):
                    folded.pop(action.key, None)
        assert seen[DOC] == folded


async def _life(stores: Stores, ledger: Ledger, name: str) -> None:
    """One process, from its opening to its orderly end, or until it has to stop."""
    for _ in range(TRIES):
        with suppress(
            Unavailable, Refused, StorageFailed
        ):  # a process that ends by one of the last two is started again
            store = await stores.open()
            break
        await asyncio.sleep(1)
    else:
        return
    try:
        await ledger.commit(store, f"{name} alone", Put(DOC, "a", b"1" * 900), Put(DOC, "b", b"1"))
        await asyncio.sleep(SEALS.interval)  # now it is being sealed
        many = [(Put(DOC, str(n), name.encode() * 90), Delete(DOC, f"{n - 1}")) for n in range(4)]
        await asyncio.gather(*(ledger.commit(store, f"{name} {n}", *many[n]) for n in range(4)))
        await ledger.commit(store, f"{name} again", Put(DOC, "b", b"2"))
        await ledger.commit(store, f"{name} once more", Put(DOC, "b", b"3"))
        await asyncio.sleep(CHECKPOINTS.interval)  # now a checkpoint is being made
        await ledger.commit(store, f"{name} during", Delete(DOC, "b"), Put(DOC, "c", name.encode()))
        await asyncio.sleep(HOUR)
        await ledger.commit(store, f"{name} later", Put(DOC, "a", name.encode()))
        await asyncio.sleep(2 * HOUR)  # it is collected, and etcd is compacted
        await ledger.commit(store, f"{name} last", Put(DOC, "z", name.encode()))
    finally:
        await store.close()


async def _process(stores: Stores, ledger: Ledger) -> None:
    for name in ("first", "second"):
        await _life(stores, ledger, name)


@asynccontextmanager
async def _new() -> AsyncIterator[Stores]:
    loop = asyncio.get_running_loop()
    begin = datetime(2030, 1, 1, tzinfo=UTC)
    ost = MemoryObjectStore(now=lambda: begin + timedelta(seconds=loop.time()))
    stores = Stores(MemoryLab(), 0, ost=ost, policy=SEALS, checkpoints=CHECKPOINTS)
    async with stores:
        yield stores


def _meet(stores: Stores, trouble: Trouble) -> None:
    assert stores.faulty_ost is not None
    stores.faulty.fault = stores.faulty_ost.fault = trouble


async def _check(stores: Stores, ledger: Ledger) -> None:
    """What was left can be opened, shows what was told, goes on in every respect, and outlives its etcd."""
    await check_pointers(stores)
    again = await stores.open(etcd=stores.lab.etcd)
    assert again.damage == ()
    assert again.recovery is None
    ledger.check(view(again))
    for name in ("one", "two"):
        await ledger.commit(again, f"afterwards {name}", Put(DOC, "afterwards", name.encode()))
        assert isinstance(ledger.told[f"afterwards {name}"], Committed)
        await asyncio.sleep(2 * HOUR)
    await check_pointers(stores)
    made = checkpointer(again).manifest
    assert made is not None
    assert made.covers == again.sequence
    base = f"store/{stores.keys.store}/"
    assert await objects(stores, "data/") == sorted(each.object.removeprefix(base) for each in made.files)
    assert len(await objects(stores, "manifest/")) <= 2
    assert await objects(stores, "quarantine/") == []
    ledger.check(view(again))
    await _is_followed(stores, again)
    await again.close()
    await stores.wipe()
    last = await stores.open(etcd=stores.lab.etcd)
    assert last.recovery is not None
    assert last.recovery.case is Case.WIPED
    ledger.check(view(last))


async def _is_followed(stores: Stores, store: Store) -> None:
    follower = await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store)
    try:
        assert {kind: dict(follower.scan(kind)) for kind in (DOC, NOTE)} == view(store)
    finally:
        await follower.close()


async def _count() -> list[str]:
    """Return the calls of a life without a fault; what etcd points to holds before and after each of them."""
    async with _new() as stores:
        ledger, counter = Ledger(), Trouble(0, "fails")

        async def look(call: str, when: str) -> None:
            await counter(call, when)
            await check_pointers(stores)

        assert stores.faulty_ost is not None
        stores.faulty.fault = stores.faulty_ost.fault = look
        await _process(stores, ledger)
        assert {type(told) for told in ledger.told.values()} == {Committed}
        await _check(stores, ledger)
        return counter.names


@virtual
async def test_the_life_has_every_kind_of_call_and_what_etcd_points_to_holds_at_each() -> None:
    calls = Counter(await _count())
    assert set(calls) == {"get", "range", "txn", "compact", "ost read", "ost write", "ost list", "ost delete"}


@virtual
@pytest.mark.timeout(300)  # some ten seconds of work, on a machine that may have others
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_call_of_a_life_meets_a_fault_nothing_acknowledged_is_lost(kind: str) -> None:
    calls = await _count()
    for at, call in enumerate(calls, start=1):
        async with _new() as stores:
            ledger, trouble = Ledger(), Trouble(at, kind)
            _meet(stores, trouble)
            process = asyncio.ensure_future(_process(stores, ledger))
            met = asyncio.ensure_future(trouble.met.wait())
            await asyncio.wait((process, met), return_when=asyncio.FIRST_COMPLETED)
            assert trouble.met.is_set(), f"call {at}, {call}, was never made"
            if kind.startswith("crashes"):
                process.cancel()
                await asyncio.wait((process,))
                await stores.crash()
            elif kind.startswith("is paused"):
                other = await stores.open(etcd=stores.lab.etcd)
                for name in ("one", "two"):  # longer than any age
                    await ledger.commit(other, f"other {name}", Put(DOC, "other", name.encode() * 90))
                    assert isinstance(ledger.told[f"other {name}"], Committed)
                    await asyncio.sleep(2 * HOUR)
                await check_pointers(stores)
                trouble.go_on.set()
                await asyncio.wait((process,))
                assert isinstance(process.exception(), Fenced | NoneType)
                others = [told for told in ledger.told.values() if not isinstance(told, Committed)]
                assert all(isinstance(told, Fenced) for told in others), others
            else:
                await process
                # A fault costs what was under way, which is one batch, and stops nobody; but for a device of the object
                # storage that fails in a write: who has seen that writes no more, and the next one goes on.
                others = [told for told in ledger.told.values() if not isinstance(told, Committed)]
                if kind == "is done and called refused" and call.startswith("ost"):
                    others = [told for told in others if not isinstance(told, StorageFailed)]
                assert len(others) <= 4, others
                assert all(isinstance(told, Unavailable | Unknown) for told in others), others
            await _check(stores, ledger)
