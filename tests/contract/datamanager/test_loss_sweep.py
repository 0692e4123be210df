"""etcd loses its data at any call of a store's life, and any call of the opening after that meets every fault.

Under the durability `etcd` what was not sealed may be lost, and an opening has to say that etcd was, unless nothing
shows it, since etcd is back just where the object storage ends; under `object`
nothing that was acknowledged is lost, whenever that happens. At every other call (set back: every fifth), before it or
after it; with RUNABOUT_EXPLORE=1 at all of them.

All time is virtual here (`virtual`): a sleep takes none, and lets the store do what falls into it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import NoneType

import pytest

from lab.checkpoints import seal
from lab.ledger import Ledger, Reports, sealed_names
from lab.lives import CHECKPOINTS, HOUR, check_lost, live, new_stores, opened, virtual
from lab.stores import DOC, Stores
from lab.trouble import KINDS, Trouble, kill, until_met
from runabout.datamanager import Case, Committed, Durability, Fenced, Put, Store, Unavailable, Unknown
from runabout.datamanager.objects import list_segments, read_segment


async def _process(stores: Stores, ledger: Ledger) -> None:
    for name in ("first", "second"):
        await live(stores, ledger, name)


async def _shows(stores: Stores) -> bool:
    """Return whether anything shows that etcd is not as it was: not if it ends just where the object storage does."""
    assert stores.ost is not None
    head = None if await stores.lab.etcd.get(stores.keys.head) is None else await stores.head()
    firsts = await list_segments(stores.ost, stores.keys)
    if head is None or not firsts:
        return True
    _, end = await read_segment(stores.ost, stores.keys, firsts[-1])
    return (head.sequence, head.chain) != (end.last, end.chain)


async def _count(durability: Durability) -> list[str]:
    async with new_stores(None) as stores:
        stores.durability = durability
        counter = Trouble(0, "fails")
        stores.meet(counter)
        await _process(stores, Ledger())
        return counter.names


@virtual
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", ["wiped", "set back"])
@pytest.mark.parametrize("when", ["is paused before", "is paused after"])
@pytest.mark.parametrize("durability", Durability)
async def test_at_whatever_call_etcd_is_lost_only_what_may_be_is_and_that_is_said(
    durability: Durability, when: str, loss: str, tmp_path: Path
) -> None:
    calls = await _count(durability)
    first = 1 + calls.index("txn") if when.endswith("after") else 2 + calls.index("txn")  # there is nothing before
    step = 1 if os.environ.get("RUNABOUT_EXPLORE") else 2 if loss == "wiped" else 5
    for at in range(first + (loss == "set back"), len(calls) + 1, step):
        async with new_stores(None) as stores:
            stores.durability, ledger, reports = durability, Ledger(), Reports()
            stores.observer = reports
            trouble, backup = Trouble(at, when), dict[bytes, bytes]()

            async def fault(
                call: str,
                moment: str,
                at: int = at,
                backup: dict[bytes, bytes] = backup,
                stores: Stores = stores,
                trouble: Trouble = trouble,
            ) -> None:
                if moment == "before" and len(trouble.names) <= at // 2:
                    backup.clear()
                    backup.update(await stores.snapshot())
                await trouble(call, moment)

            stores.meet(fault)
            process = await until_met(trouble, _process(stores, ledger))
            if durability is Durability.ETCD:
                ledger.excuse(await sealed_names(stores, tmp_path))
            await (stores.wipe() if loss == "wiped" else stores.set_back(backup))
            shows = await _shows(stores)
            trouble.go_on.set()
            await asyncio.wait((process,))
            assert isinstance(process.exception(), Fenced | NoneType)
            others = [told for told in ledger.told.values() if not isinstance(told, Committed)]
            assert all(isinstance(told, Fenced | Unavailable | Unknown) for told in others), others
            await check_lost(stores, ledger, reports, shows=shows)


# every fault at every call of what comes after


async def _wiped(stores: Stores, ledger: Ledger) -> None:
    store = await _written(stores, ledger)
    await ledger.commit(store, "not sealed", Put(DOC, "not sealed", b""))
    ledger.excused.add("not sealed")
    await stores.wipe()


async def _set_back(stores: Stores, ledger: Ledger) -> None:
    store = await _written(stores, ledger)
    backup = await stores.snapshot()
    await ledger.commit(store, "sealed later", Put(DOC, "later", b""))
    await seal(store)
    await ledger.commit(store, "not sealed", Put(DOC, "not sealed", b""))
    ledger.excused.add("not sealed")
    await stores.set_back(backup)


async def _set_back_and_written(stores: Stores, ledger: Ledger) -> None:
    """A writer that was replaced has not noticed, and etcd is set back to what it knows."""
    first = await _written(stores, ledger)
    backup = await stores.snapshot()
    second = await stores.open(etcd=stores.lab.etcd)
    await ledger.commit(second, "the second's", Put(DOC, "second", b"2"))
    await seal(second)
    await stores.set_back(backup)
    await ledger.commit(first, "the first's", Put(DOC, "first", b"1"))
    ledger.excused.add("the first's")
    assert isinstance(ledger.told["the first's"], Committed)


async def _written(stores: Stores, ledger: Ledger) -> Store:
    """Write what a checkpoint covers and what it does not, in virtual time."""
    store = await stores.open(etcd=stores.lab.etcd)
    await ledger.commit(store, "covered", Put(DOC, "a", b"1" * 900), Put(DOC, "b", b"1"))
    await asyncio.sleep(CHECKPOINTS.interval + 10)  # a checkpoint has been made
    await ledger.commit(store, "sealed", Put(DOC, "b", b"2"))
    await seal(store)
    return store


STATES: dict[str, Callable[[Stores, Ledger], Awaitable[None]]] = {
    "wiped": _wiped,
    "set back": _set_back,
    "set back and written": _set_back_and_written,
}


async def recovers(stores: Stores, ledger: Ledger, name: str) -> None:
    """A process that finds etcd lost, and works for a short while of virtual time."""
    store = await opened(stores)
    if store is not None:
        await ledger.commit(store, f"{name} after the loss", Put(DOC, "after", b"1"))
        await asyncio.sleep(2)
        await ledger.commit(store, f"{name} after that", Put(DOC, "after", b"2"))
        await store.close()


async def _begin(state: str, trouble: Trouble, stores: Stores, ledger: Ledger) -> None:
    await STATES[state](stores, ledger)
    await stores.crash()
    stores.meet(trouble)


@virtual
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES)
async def test_whatever_call_of_a_recovery_meets_a_fault_it_is_done_and_said(state: str, kind: str) -> None:
    async with new_stores(None) as stores:
        counter = Trouble(0, kind)
        await _begin(state, counter, stores, Ledger())
        await recovers(stores, Ledger(), "one")
    assert len(counter.names) > len(("get", "txn", "range", "identity", "epochs", "epoch", "manifests", "manifest"))
    for at in range(1, len(counter.names) + 1):
        async with new_stores(None) as stores:
            ledger, reports, trouble = Ledger(), Reports(), Trouble(at, kind)
            stores.observer = reports
            await _begin(state, trouble, stores, ledger)
            process = await until_met(trouble, recovers(stores, ledger, "one"))
            if kind.startswith("crashes"):
                await kill(process, stores)
            elif kind.startswith("is paused"):
                other = await stores.open(etcd=stores.lab.etcd)
                await ledger.commit(other, "other", Put(DOC, "other", b""))
                await asyncio.sleep(2 * HOUR)
                trouble.go_on.set()
                await asyncio.wait((process,))
                assert isinstance(process.exception(), Fenced | NoneType)
            else:
                await process
            await check_lost(stores, ledger, reports)
            assert reports.recoveries[0].case is (Case.WIPED if state == "wiped" else Case.SET_BACK)
