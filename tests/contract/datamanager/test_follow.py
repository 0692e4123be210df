"""What a reader beside the writer promises: the same tests on the etcd in memory and on a real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fixtures.etcd_server import EtcdServer
from lab.etcds import GrpcLab
from lab.faulty_etcd import DropError
from lab.stores import DOC, NOTE, Stores, delete, note, put, view
from runabout.datamanager import BrokenLog, Follower, Sequence, Store, Unavailable, follow_store
from runabout.datamanager.head import Head
from runabout.etcd import CompactedError, Etcd, UnavailableError
from runabout.etcd import Put as EtcdPut

WAIT = 60.0
NEVER = 3600.0
"""An interval in which only the watch brings news."""
OFTEN = 0.02


@asynccontextmanager
async def following(stores: Stores, *, interval: float = NEVER, etcd: Etcd | None = None) -> AsyncIterator[Follower]:
    follower = await follow_store(etcd or stores.faulty, number=stores.keys.store, interval=interval)
    try:
        async with asyncio.timeout(WAIT):
            yield follower
    finally:
        await follower.close()


async def shown(follower: Follower) -> dict[str, dict[str, bytes]]:
    return {kind: dict(await follower.scan(kind)) for kind in (DOC, NOTE)}


async def write(store: Store, count: int, *, prefix: str = "") -> Sequence:
    for number in range(count):
        await store.commit(put(f"{prefix}{number}", b"%d" % number))
        await store.commit(note(b"%d" % number))
    return store.sequence


async def test_a_follower_starts_with_all_that_was_acknowledged(stores: Stores) -> None:
    store = await stores.open()
    await write(store, 20)
    await store.commit(delete("3"))
    async with following(stores) as follower:
        assert follower.sequence == store.sequence
        assert await shown(follower) == await view(store)
        assert await follower.last_key(DOC) == await store.last_key(DOC)
        assert await follower.scan_back(DOC, before="9", limit=5) == await store.scan_back(DOC, before="9", limit=5)
        assert await follower.get(DOC, "3") is None


async def test_the_watch_brings_news_in_order_and_every_view_on_the_way_is_one_that_was(stores: Stores) -> None:
    store = await stores.open()
    async with following(stores) as follower:
        writing = asyncio.ensure_future(write(store, 30))
        seen = follower.sequence
        while seen < 60:
            seen = await follower.reached(Sequence(seen + 1), seconds=WAIT)
            # Document and note are written in turn: the number of each says at which batch the view is.
            now = await shown(follower)
            assert (len(now[DOC]), len(now[NOTE])) == ((seen + 1) // 2, seen // 2)
        await writing
        assert await shown(follower) == await view(store)


async def test_a_reader_sees_what_a_writer_wrote_by_its_sequence(stores: Stores) -> None:
    store = await stores.open()
    async with following(stores) as follower:
        for number in range(10):
            done = await store.commit(put("a", b"%d" % number))
            await follower.reached(done.sequence, seconds=WAIT)
            assert await follower.get(DOC, "a") == b"%d" % number


async def test_a_synced_reader_sees_all_that_was_acknowledged_to_anybody(stores: Stores) -> None:
    store = await stores.open()
    async with following(stores) as follower:
        for number in range(10):
            await store.commit(put("a", b"%d" % number))
            assert await follower.sync(seconds=WAIT) == store.sequence
            assert await follower.get(DOC, "a") == b"%d" % number


async def test_a_sequence_that_does_not_come_is_unavailable_and_says_how_old_the_view_is(stores: Stores) -> None:
    await stores.open()
    async with following(stores) as follower:
        with pytest.raises(Unavailable, match=r"sequence 1 is not here after 0\.05 s: the last one is 0, the view is"):
            await follower.reached(Sequence(1), seconds=0.05)


async def test_a_reader_goes_on_with_the_next_writer(stores: Stores) -> None:
    first = await stores.open()
    async with following(stores, interval=OFTEN) as follower:
        await write(first, 3)
        second = await stores.open()
        await write(second, 3, prefix="second ")
        await follower.reached(second.sequence, seconds=WAIT)
        assert await shown(follower) == await view(second)
        assert follower.failed is None


async def test_a_silent_watch_hides_news_for_an_interval_at_most(stores: Stores) -> None:
    store = await stores.open()

    async def mute(call: str, _when: str) -> None:
        if call == "event":
            await asyncio.Event().wait()

    stores.faulty.fault = mute
    async with following(stores, interval=OFTEN) as follower:
        await follower.reached(await write(store, 3), seconds=WAIT)
        assert await shown(follower) == await view(store)


@pytest.mark.parametrize(
    "errors",
    [
        [DropError()],
        [DropError(), DropError(), UnavailableError("cut")],
        [CompactedError("the oldest is another one")],
        [UnavailableError("cut"), UnavailableError("cut again")],
    ],
    ids=["dropped", "dropped and cut", "compacted", "cut twice"],
)
async def test_what_a_watch_leaves_out_is_read_from_the_log(stores: Stores, errors: list[Exception]) -> None:
    store = await stores.open()
    left = list(errors)

    async def lose(call: str, _when: str) -> None:
        if call == "event" and left:
            raise left.pop(0)

    stores.faulty.fault = lose
    async with following(stores) as follower:
        last = await write(store, 10)
        await follower.reached(last, seconds=WAIT)
        assert await shown(follower) == await view(store)
        while left:
            last = await write(store, 1)
            await follower.reached(last, seconds=WAIT)
        assert await shown(follower) == await view(store)


async def test_a_compacted_history_is_read_again_from_the_log(stores: Stores) -> None:
    store = await stores.open()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold(call: str, _when: str) -> None:
        if call == "watch" and not begun.is_set():
            begun.set()
            await go_on.wait()

    stores.faulty.fault = hold
    async with following(stores) as follower:
        await begun.wait()
        last = await write(store, 5)
        page = await stores.lab.etcd.range(stores.keys.head, stores.keys.wal_end)
        await stores.lab.etcd.compact(page.revision)
        go_on.set()
        await follower.reached(last, seconds=WAIT)
        assert await shown(follower) == await view(store)
        await follower.reached(await write(store, 1, prefix="later "), seconds=WAIT)
        assert await shown(follower) == await view(store)


async def test_while_etcd_is_away_reads_go_on_and_say_how_old_they_are(stores: Stores) -> None:
    store = await stores.open()
    await write(store, 2)
    away = True

    async def fail(_call: str, when: str) -> None:
        if away and when == "before":
            raise UnavailableError("nobody listens")

    async with following(stores, interval=OFTEN) as follower:
        stores.faulty.fault = fail
        with pytest.raises(Unavailable):
            await follower.sync(seconds=1)
        with pytest.raises(Unavailable):
            await follower.reached(Sequence(99), seconds=0.3)
        assert follower.stale_seconds > 0.2
        assert await shown(follower) == await view(store)
        assert follower.failed is None
        away = False
        await follower.reached(await write(store, 1, prefix="later "), seconds=WAIT)
        await follower.sync(seconds=WAIT)
        assert await shown(follower) == await view(store)


async def _wipe(stores: Stores) -> None:
    await stores.lab.etcd.delete(b"store/%d/" % stores.keys.store, b"store/%d0" % stores.keys.store)


async def _change(stores: Stores, what: str, store: Store) -> None:
    etcd, keys, head = stores.lab.etcd, stores.keys, await stores.head()
    if what == "wiped":
        await _wipe(stores)
    elif what == "made anew":
        await store.close()
        await _wipe(stores)
        await write(await stores.open(), 5)
    elif what == "set back":
        log = await stores.log()
        await etcd.txn((), [EtcdPut(keys.head, Head(head.incarnation, head.epoch, 3, log[2].chain).encode())])
    elif what == "older epoch":
        await etcd.txn((), [EtcdPut(keys.head, Head(head.incarnation, 0, head.sequence, head.chain).encode())])
    elif what == "another chain":
        await etcd.txn((), [EtcdPut(keys.head, Head(head.incarnation, head.epoch, 4, b"x" * 16).encode())])
    elif what == "a foreign batch":
        value = await etcd.get(keys.wal(2))
        assert value is not None
        await etcd.txn((), [EtcdPut(keys.wal(5), value)])
    elif what == "a damaged batch":
        await etcd.txn((), [EtcdPut(keys.wal(5), b"\x00" * 80)])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("wiped", "head is not in etcd"),
        ("made anew", "another incarnation|another chain|does not continue|is not in etcd"),  # as soon as it looks
        ("set back", "says sequence 3, epoch 1 after 4 was seen: etcd was set back"),
        ("older epoch", "says sequence 4, epoch 0 after 4 was seen: etcd was set back"),
        ("another chain", "head does not fit the log: another chain at sequence 4"),
        ("a foreign batch", "wal/0000000000000005 does not continue the log"),
        ("a damaged batch", "wal/0000000000000005 is damaged"),
    ],
)
async def test_what_cannot_be_continued_stops_the_reader_with_a_reason_and_its_view_stays(
    stores: Stores, what: str, message: str
) -> None:
    store = await stores.open()
    await write(store, 2)
    before = await view(store)
    async with following(stores, interval=OFTEN) as follower:
        await _change(stores, what, store)
        error = await follower.broken()
        assert isinstance(error, BrokenLog)
        with pytest.raises(BrokenLog, match=message):
            raise error
        assert follower.failed is error
        assert await shown(follower) == before
        with pytest.raises(BrokenLog):
            await follower.sync(seconds=WAIT)
        with pytest.raises(BrokenLog):
            await follower.reached(Sequence(99), seconds=WAIT)


async def test_a_store_that_nobody_has_made_cannot_be_followed(stores: Stores) -> None:
    with pytest.raises(BrokenLog, match="head is not in etcd: nobody has opened the store for writing"):
        await follow_store(stores.faulty, number=stores.keys.store)


async def test_an_etcd_that_does_not_answer_cannot_be_followed(stores: Stores) -> None:
    async def fail(_call: str, _when: str) -> None:
        raise UnavailableError("nobody listens")

    stores.faulty.fault = fail
    with pytest.raises(Unavailable, match="nobody listens"):
        await follow_store(stores.faulty, number=stores.keys.store)


async def test_closing_ends_those_who_wait(stores: Stores) -> None:
    await stores.open()
    async with following(stores) as follower:
        waiting = asyncio.ensure_future(follower.reached(Sequence(1), seconds=WAIT))
        await asyncio.sleep(0)
        await follower.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiting


async def test_a_reader_survives_an_etcd_that_is_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EtcdServer(tmp_path_factory.mktemp("killed")) as server:
        async with GrpcLab(server.endpoint) as lab, Stores(lab, 0) as stores:
            store = await stores.open()
            async with following(stores, interval=0.2) as follower:
                for life in range(2):
                    last = await write(store, 10, prefix=f"{life} ")
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                    await follower.reached(last, seconds=WAIT)
                await follower.reached(await write(store, 10, prefix="end "), seconds=WAIT)
                assert await shown(follower) == await view(store)
                assert follower.failed is None
