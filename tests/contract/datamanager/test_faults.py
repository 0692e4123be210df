"""Every external call of a scenario fails, loses its reply, crashes its process or comes late: the store stays right.

What is checked after each: all that was acknowledged is in the log, once and where it was said to be; nothing of what
was refused is; what stayed unclear is there as a whole or not at all; the view is the log's, folded by a model of its
own; the log's chain is whole; and the store can be opened and written again.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from fixtures.etcd_server import EtcdServer
from lab.etcds import GrpcLab
from lab.stores import DOC, NOTE, Stores, View, put, view
from lab.trouble import KINDS, Trouble, kill, until_met
from runabout.datamanager import (
    Action,
    Append,
    Committed,
    Delete,
    Fenced,
    Put,
    Refused,
    Store,
    StoreError,
    Transaction,
    Unavailable,
    Unknown,
)
from runabout.datamanager.batch import DELETE

WAIT = 90.0


@dataclass(slots=True)
class Ledger:
    """What callers were told, by the name of their transaction; one without an entry was told nothing."""

    told: dict[str, Committed | StoreError] = field(default_factory=dict)

    async def commit(self, store: Store, name: str, *keys: str) -> None:
        """Commit a transaction that can be recognized: it writes keys, removes one and appends a note."""
        body = name.encode()
        actions: tuple[Action, ...] = (
            *(Put(DOC, key, body) for key in keys),
            Delete(DOC, f"not {keys[0]}"),
            Append(NOTE, body),
        )
        try:
            self.told[name] = await store.commit(Transaction(actions))
        except StoreError as error:
            self.told[name] = error

    async def check(self, stores: Stores) -> None:
        """Compare what was told with what is in etcd."""
        again = await stores.open(etcd=stores.lab.etcd)
        place: dict[str, int] = {}
        folded: View = {DOC: {}, NOTE: {}}
        for batch in await stores.log():
            for entries in batch.transactions:
                name = entries[-1].body.decode()
                assert name not in place, f"{name} happened twice"
                place[name] = batch.sequence
                for entry in entries:
                    if entry.op == DELETE:
                        folded[entry.type].pop(entry.key, None)
                    else:
                        folded[entry.type][entry.key] = entry.body
        for name, told in self.told.items():
            if isinstance(told, Committed):
                assert place.get(name) == told.sequence, f"{name} was acknowledged and is at {place.get(name)}"
                assert folded[NOTE][f"{told.appended[0]:016x}"] == name.encode()
            elif not isinstance(told, Unknown):
                assert name not in place, f"{name} was refused ({told!r}) and is there"
        assert [int(key, 16) for key in folded[NOTE]] == list(range(1, len(place) + 1))
        assert await view(again) == folded
        await again.commit(put("afterwards"))
        assert isinstance(await again.get(DOC, "afterwards"), bytes)
        await again.close()


async def _scenario(stores: Stores, ledger: Ledger) -> None:
    """Two lives of a process; ends early if the store cannot be opened or stops."""
    for life in ("first", "second"):
        try:
            store = await stores.open(deadline=5.0)
        except (Unavailable, Refused):
            continue
        await ledger.commit(store, f"{life} alone", "a", "b")
        await asyncio.gather(*(ledger.commit(store, f"{life} {n}", "a", str(n), "not a") for n in range(3)))
        await ledger.commit(store, f"{life} last", "c", "a")
        await store.close()


async def _calls(fresh: "Fresh") -> int:
    async with fresh() as stores:
        ledger = Ledger()
        await _scenario(stores, ledger)
        assert {type(told) for told in ledger.told.values()} == {Committed}
        assert len(ledger.told) == 10
        return stores.faulty.calls


Fresh = Callable[[], Stores]


@pytest.fixture
def fresh(stores: Stores, store_numbers: Iterator[int]) -> Fresh:
    """Return a maker of new, empty stores on the same etcd."""
    return lambda: Stores(stores.lab, next(store_numbers))


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_call_meets_a_fault_the_store_stays_right(fresh: Fresh, kind: str) -> None:
    calls = await _calls(fresh)
    assert calls > 10
    for at in range(1, calls + 1):
        async with asyncio.timeout(WAIT), fresh() as stores:
            ledger, trouble = Ledger(), Trouble(at, kind)
            stores.faulty.fault = trouble
            process = await until_met(trouble, _scenario(stores, ledger))
            if kind.startswith("crashes"):
                await kill(process, stores)
            elif kind.startswith("is paused"):
                other = await stores.open(etcd=stores.lab.etcd)
                await ledger.commit(other, "other", "a")
                trouble.go_on.set()
                await process
                assert isinstance(ledger.told["other"], Committed)
            else:
                await process
            await ledger.check(stores)


async def test_an_opener_overtaken_at_any_call_has_an_epoch_of_its_own_and_one_of_both_writes(fresh: Fresh) -> None:
    for at in (1, 2, 3):
        async with asyncio.timeout(WAIT), fresh() as stores:
            trouble = Trouble(at, "is paused before")
            stores.faulty.fault = trouble
            late = asyncio.ensure_future(stores.open())
            met = asyncio.ensure_future(trouble.met.wait())
            await asyncio.wait((late, met), return_when=asyncio.FIRST_COMPLETED)
            early = await stores.open(etcd=stores.lab.etcd)
            trouble.go_on.set()
            both = [await late, early]
            assert len({store.epoch for store in both}) == 2
            ledger = Ledger()
            for store in both:
                await ledger.commit(store, f"epoch {store.epoch}", "a")
            newest = max(store.epoch for store in both)
            for store in both:
                told = ledger.told[f"epoch {store.epoch}"]
                assert isinstance(told, Committed if store.epoch == newest else Fenced)
            await ledger.check(stores)


async def test_nothing_acknowledged_is_lost_when_etcd_is_killed_under_many_writers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with EtcdServer(tmp_path_factory.mktemp("killed")) as server:
        async with asyncio.timeout(WAIT), GrpcLab(server.endpoint) as lab, Stores(lab, 0) as stores:
            ledger = Ledger()
            store = await stores.open()
            stop, progress = asyncio.Event(), asyncio.Event()

            async def write(writer: int) -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    await ledger.commit(store, f"{writer} {number}", f"{writer}", f"{writer}/{number}")
                    if number % 50 == 0:
                        progress.set()

            async with asyncio.TaskGroup() as group:
                for writer in range(8):
                    group.create_task(write(writer))
                for _ in range(3):
                    progress.clear()
                    await progress.wait()
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                stop.set()
            # The deadline was not reached: each transaction got its definite answer after the restart.
            assert {type(told) for told in ledger.told.values()} == {Committed}
            assert len(ledger.told) >= 1200 / 8
            await store.close()
            await ledger.check(stores)


async def test_a_commit_survives_a_server_that_is_killed_between_its_answer_and_the_next(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with EtcdServer(tmp_path_factory.mktemp("killed")) as server:
        async with asyncio.timeout(WAIT), GrpcLab(server.endpoint) as lab, Stores(lab, 0) as stores:
            store, ledger = await stores.open(), Ledger()
            for number in range(3):
                await ledger.commit(store, str(number), "a")
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            assert {type(told) for told in ledger.told.values()} == {Committed}
            await ledger.check(stores)
