"""Every external call of a store's whole life meets every fault, and nothing that was acknowledged is lost.

The life (`lab/lives.py`): a process opens a store, commits, seals, makes checkpoints and collects; then the same again
in a second process. After each fault everything that etcd points to is followed, the store is opened again, and what it
shows is compared with what callers were told. A store with an index takes several times as long: each of its calls
meets one kind of fault, the next call the next kind; with RUNABOUT_EXPLORE=1 every kind.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path
from types import NoneType

import pytest

from lab.ledger import Ledger
from lab.lives import HOUR, check_store, live, new_stores, virtual
from lab.pointers import check_pointers
from lab.stores import DOC, Stores
from lab.trouble import KINDS, Trouble, kill, until_met
from runabout.datamanager import Committed, Fenced, Put, StorageFailed, Unavailable, Unknown


async def _process(stores: Stores, ledger: Ledger) -> None:
    for name in ("first", "second"):
        await live(stores, ledger, name)


async def _count(scratch: Path | None) -> list[str]:
    """Return the calls of a life without a fault; what etcd points to holds before and after each of them."""
    async with new_stores(scratch) as stores:
        ledger, counter = Ledger(), Trouble(0, "fails")

        async def look(call: str, when: str) -> None:
            await counter(call, when)
            await check_pointers(stores)

        stores.meet(look)
        await _process(stores, ledger)
        assert {type(told) for told in ledger.told.values()} == {Committed}
        await check_store(stores, ledger)
        return counter.names


INDEXED = ("documents", "documents and an index")


@virtual
@pytest.mark.parametrize("what", INDEXED)
async def test_the_life_has_every_kind_of_call_and_what_etcd_points_to_holds_at_each(what: str, tmp_path: Path) -> None:
    calls = Counter(await _count(None if what == "documents" else tmp_path))
    assert set(calls) == {"get", "range", "txn", "compact", "ost read", "ost write", "ost list", "ost delete"}


@virtual
@pytest.mark.timeout(600)  # some ten seconds of work, on a machine that may have others
@pytest.mark.parametrize("what", INDEXED)
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_call_of_a_life_meets_a_fault_nothing_acknowledged_is_lost(
    kind: str, what: str, tmp_path: Path
) -> None:
    scratch = None if what == "documents" else tmp_path
    calls = await _count(scratch)
    step = 1 if scratch is None or os.environ.get("RUNABOUT_EXPLORE") else len(KINDS)
    for at, call in list(enumerate(calls, start=1))[KINDS.index(kind) % step :: step]:
        async with new_stores(scratch) as stores:
            ledger, trouble = Ledger(), Trouble(at, kind)
            stores.meet(trouble)
            process = await until_met(trouble, _process(stores, ledger))
            if kind.startswith("crashes"):
                await kill(process, stores)
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
            await check_store(stores, ledger)
