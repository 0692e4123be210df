"""Events of a store, replayed from any number and followed: the same table for its writer and for readers beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from lab.checkpoints import SMALL, checkpoint
from lab.etcds import MemoryLab
from lab.stores import NOTE, Stores, note
from runabout.datamanager import BrokenLog, Delete, Follower, Gone, Store, Transaction, follow_store
from runabout.ost import MemoryObjectStore

WAIT = 60.0
OFTEN = 0.02
READERS = ("the writer", "a reader that was there before", "a reader that comes after")
COVERED = (0, 2, 4, 6)
"""Of six events, how many a checkpoint has in its files, and not the log."""


@dataclass(frozen=True, slots=True)
class Case:
    """Six events, of which some are removed; who asks for those after one hears of these, or why he does not."""

    after: int | None
    removed: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    gone: str = ""


CASES = {
    "from the oldest of all": Case(None, (), (1, 2, 3, 4, 5, 6)),
    "from the oldest that is left": Case(None, (1, 2), (3, 4, 5, 6)),
    "from the first": Case(0, (), (1, 2, 3, 4, 5, 6)),
    "from the middle": Case(3, (), (4, 5, 6)),
    "from behind what was removed": Case(2, (1, 2), (3, 4, 5, 6)),
    "from what was removed": Case(1, (1, 2, 3), gone="note 2 is gone: go on with 4, the next one that is there"),
    "across a gap": Case(1, (3,), gone="note 3 is gone: go on with 4, the next one that is there"),
    "from a gap": Case(2, (3,), gone="note 3 is gone: go on with 4, the next one that is there"),
    "from what was removed to the end": Case(4, (5, 6), gone="note 5 to 6 are gone"),
    "from the oldest, when all are gone": Case(None, (1, 2, 3, 4, 5, 6)),
    "from the last, when all are gone": Case(6, (1, 2, 3, 4, 5, 6)),
    "from before the last, when all are gone": Case(5, (1, 2, 3, 4, 5, 6), gone="note 6 to 6 are gone"),
}


@asynccontextmanager
async def store_in_memory() -> AsyncIterator[Stores]:
    async with (
        MemoryLab() as lab,
        Stores(lab, 0, ost=MemoryObjectStore(), checkpoints=SMALL) as stores,
        asyncio.timeout(WAIT),
    ):
        yield stores


async def follow(stores: Stores) -> Follower:
    return await follow_store(stores.lab.etcd, ost=stores.ost, number=stores.keys.store, interval=OFTEN)


async def write(store: Store, case: Case, *, covered: int) -> None:
    for number in range(1, 7):
        await store.commit(note(b"%d" % number))
        if number == covered:
            await checkpoint(store)
    await store.commit(Transaction(tuple(Delete(NOTE, f"{number:016x}") for number in case.removed)))


@pytest.mark.parametrize("covered", COVERED)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", CASES)
async def test_events_are_replayed_from_any_number_and_what_is_gone_is_said_to_be(
    name: str, reader: str, covered: int
) -> None:
    case = CASES[name]
    async with store_in_memory() as stores:
        store = await stores.open()
        source: Store | Follower = store
        if reader == READERS[1]:
            source = await follow(stores)
        await write(store, case, covered=covered)
        if reader == READERS[2]:
            source = await follow(stores)
        if isinstance(source, Follower):
            await source.reached(store.sequence, seconds=WAIT)
        found: list[tuple[int, bytes]] = []
        async with aclosing(source.numbered(NOTE, after=case.after)) as events:
            if case.gone:
                with pytest.raises(Gone, match=f"^{case.gone}$"):
                    found += [each async for each in events]
            else:
                waiting = asyncio.ensure_future(_until_7(events, found))
                await store.commit(note(b"7"))
                await waiting
                assert found == [(number, b"%d" % number) for number in (*case.found, 7)]
        await source.close()


async def _until_7(events: AsyncIterator[tuple[int, bytes]], found: list[tuple[int, bytes]]) -> None:
    async for each in events:
        found.append(each)
        if each[0] == 7:
            return


async def test_a_reader_hears_of_events_while_they_are_removed_and_covered_or_that_they_are_gone() -> None:
    """Whatever happens to the older ones meanwhile, the numbers that one reader hears have no gap."""
    async with store_in_memory() as stores:
        store = await stores.open()
        follower = await follow(stores)
        heard: list[int] = []

        async def listen() -> None:
            async for number, _ in follower.numbered(NOTE, after=0):
                heard.append(number)
                if number == 60:
                    return

        listening = asyncio.ensure_future(listen())
        for number in range(1, 61):
            await store.commit(note(b""))
            if number % 10 == 0:
                await follower.reached(store.sequence, seconds=WAIT)
                await asyncio.wait_for(_heard(heard, number), WAIT)
                await store.commit(Transaction(tuple(Delete(NOTE, f"{each:016x}") for each in range(1, number - 4))))
                await checkpoint(store)
        await listening
        assert heard == list(range(1, 61))
        await follower.reached(store.sequence, seconds=WAIT)
        with pytest.raises(Gone, match="note 1 is gone: go on with 56"):
            await anext(follower.numbered(NOTE, after=0))
        await follower.close()


async def _heard(heard: list[int], number: int) -> None:
    while not heard or heard[-1] < number:  # noqa: ASYNC110 - the reader is the one that is tested
        await asyncio.sleep(0)


@pytest.mark.parametrize("end", ["closed", "stopped"])
async def test_who_listens_to_a_reader_that_ends_hears_all_it_has_seen_and_then_the_end(end: str) -> None:
    async with store_in_memory() as stores:
        store = await stores.open()
        follower = await follow(stores)
        await store.commit(note(b"1"))
        await follower.reached(store.sequence, seconds=WAIT)
        listening = asyncio.ensure_future(_all(follower))
        if end == "closed":
            await follower.close()
        else:
            await stores.wipe()
            assert isinstance(await follower.broken(), BrokenLog)
        assert await listening == [1]
        await follower.close()


async def _all(follower: Follower) -> list[int]:
    return [number async for number, _ in follower.numbered(NOTE)]
