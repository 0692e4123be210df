"""How old a reader says its view is: what it says is true, small while etcd answers, and grows while it does not.

Where a test is marked as `virtual` a sleep takes no time: the clock that the view's age is read from is moved on.
"""

import asyncio
from pathlib import Path

import pytest

from contract.datamanager.test_follow import NEVER, OFTEN, WAIT, following, write
from fixtures.etcd_server import EtcdServer
from lab.etcds import GrpcLab, MemoryLab
from lab.lives import virtual
from lab.stores import DOC, Stores, put
from runabout.datamanager import Sequence, Unavailable
from runabout.etcd import UnavailableError


@pytest.mark.parametrize("interval", [OFTEN, NEVER], ids=["it looks often", "it only watches"])
async def test_what_was_acknowledged_longer_ago_than_the_view_is_old_is_in_it(stores: Stores, interval: float) -> None:
    store, loop = await stores.open(), asyncio.get_running_loop()
    turn, hindered = 0, True

    async def hinder(call: str, _when: str) -> None:
        nonlocal turn
        turn += 1
        if not hindered:
            return
        if call == "event":
            await asyncio.sleep(0.03)  # the watch is far behind
        elif turn % 3 == 0:
            raise UnavailableError("nobody listens")

    acknowledged: list[tuple[float, str]] = []
    async with following(stores, interval=interval) as follower:
        stores.faulty.fault = hinder
        writer = await stores.open(etcd=stores.lab.etcd)
        for number in range(60):
            await writer.commit(put(f"{number}"))
            acknowledged.append((loop.time(), f"{number}"))
            await asyncio.sleep(0.002)
            old = loop.time() - follower.stale_seconds  # before what is looked at
            for when, key in acknowledged:
                assert when >= old or await follower.get(DOC, key) is not None, key
        hindered = False
        await follower.reached(writer.sequence, seconds=WAIT)
    assert store.sequence < writer.sequence


@virtual
async def test_while_etcd_answers_a_view_is_no_older_than_the_interval() -> None:
    async with MemoryLab() as lab, Stores(lab, 0) as stores:
        await write(await stores.open(), 3)
        async with following(stores, interval=1.0) as follower:
            before = stores.faulty.calls
            for _ in range(10):
                await asyncio.sleep(0.7)
                assert follower.stale_seconds <= 1.0
            assert stores.faulty.calls - before <= 8  # in seven seconds: it does not ask more often than that


@virtual
async def test_a_view_gets_older_by_the_clock_while_only_the_watch_shows_news() -> None:
    """News say nothing of what a slow watch holds back: only a look at the head does."""
    async with MemoryLab() as lab, Stores(lab, 0) as stores:
        store = await stores.open()
        async with following(stores, interval=10.0) as follower:
            for _ in range(5):
                await asyncio.sleep(1)
                await follower.reached(await write(store, 1), seconds=WAIT)
            assert 5.0 <= follower.stale_seconds <= 5.1
            await asyncio.sleep(10)
            assert follower.stale_seconds <= 5.1


async def test_an_etcd_that_is_stopped_makes_the_view_older_and_reads_go_on(tmp_path: Path) -> None:
    with EtcdServer(tmp_path / "etcd", fsync=False) as server:
        async with GrpcLab(server.endpoint) as lab, Stores(lab, 0) as stores:
            store = await stores.open()
            last = await write(store, 3)
            async with following(stores, interval=OFTEN) as follower:
                await follower.reached(last, seconds=WAIT)
                await follower.sync(seconds=WAIT)
                assert follower.stale_seconds < 1
                server.pause()
                try:
                    with pytest.raises(Unavailable, match=r"is not here after 0\.6 s: .* the view is \d+\.\d s old"):
                        await follower.reached(Sequence(last + 1), seconds=0.6)
                    with pytest.raises(Unavailable, match="the head cannot be read"):
                        await follower.sync(seconds=0.2)
                    assert follower.stale_seconds > 0.6
                    assert (await follower.get(DOC, "2"), follower.failed) == (b"2", None)
                finally:
                    server.resume()
                done = await store.commit(put("later"))
                assert await follower.reached(done.sequence, seconds=WAIT) >= done.sequence
                assert await follower.get(DOC, "later") is not None
                await follower.sync(seconds=WAIT)
                assert follower.stale_seconds < 1
