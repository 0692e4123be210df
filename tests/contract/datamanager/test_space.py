"""etcd that runs out of space under a store: on a real server with a small quota, and on the one in memory."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from lab.stores import DOC, put
from runabout.datamanager import (
    ReadOnly,
    Recovery,
    Refused,
    SealPolicy,
    SpacePolicy,
    Store,
    Unavailable,
    open_store,
    vitals,
)
from runabout.datamanager.progress import Step
from runabout.datamanager.space import MIB
from runabout.etcd import FullError, GrpcEtcd, MemberSpace, MemoryEtcd, PermanentEtcdError, Put, connect
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

QUOTA = 32 * MIB
WAIT = 60.0
SEALS = SealPolicy(interval=0.01, target=MIB)
QUICK = SpacePolicy(interval=0.1, pressed_interval=0.02, defragment_interval=0.5, stuck_interval=0.1, looks=0.01)
OTHERS = b"others/%04d"

pytestmark = pytest.mark.timeout(180)


@dataclass
class Seen:
    """Keeps what a store says about etcd's space."""

    words: list[str] = field(default_factory=list)
    alarm: asyncio.Event = field(default_factory=asyncio.Event)

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        pass

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:
        pass

    def covered(self, *, covers: int, seconds: float) -> None:
        pass

    def failed(self, work: str, error: Exception) -> None:
        pass

    def recovers(self, recovery: Recovery) -> None:
        raise AssertionError(recovery)

    def opening(self, step: Step) -> None:
        pass

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        assert space.size >= 0
        assert quota == QUOTA
        if self.words[-1:] != [words]:
            self.words.append(words)
        if "NOSPACE" in words:
            self.alarm.set()


class Small:
    """A small etcd, an object storage that can be away, and the store on both."""

    def __init__(self, etcd: GrpcEtcd | MemoryEtcd) -> None:
        self.etcd = etcd
        self.ost = MemoryObjectStore()
        self.seen = Seen()
        self.stack = AsyncExitStack()
        self.away: OstError | None = None
        self.ost.fault = lambda operation, _key, done: self.away if operation == "write" and not done else None

    async def open(self) -> Store:
        store = await open_store(
            self.etcd, ost=self.ost, members=self.etcd, policy=SEALS, space=QUICK, observer=self.seen
        )
        self.stack.push_async_callback(store.close)
        return store

    async def fill(self) -> int:
        """Use all of etcd for other things; return the number of keys."""
        number = 0
        with suppress(FullError):
            while True:
                await self.etcd.txn((), [Put(OTHERS % number, bytes(512 * 1024))])
                number += 1
        async with asyncio.timeout(WAIT):
            while not (await self.etcd.space())[0].full:
                with suppress(FullError):
                    await self.etcd.txn((), [Put(OTHERS % number, bytes(512 * 1024))])
        return number


@pytest.fixture(params=["memory", "etcd"])
async def small(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Small]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            made = Small(MemoryEtcd(quota=QUOTA))
        else:
            options = (f"--quota-backend-bytes={QUOTA}", "--backend-batch-interval=10ms", "--compaction-batch-limit=10")
            server = stack.enter_context(EtcdServer(tmp_path, fsync=False, options=options))
            made = Small(connect(server.endpoint))
        stack.push_async_callback(made.etcd.close)
        stack.push_async_callback(made.stack.aclose)
        yield made


async def write(store: Store, number: int) -> None:
    await store.commit(put(f"{number:05}", random.Random(number).randbytes(48 * 1024)))


async def write_until_refused(store: Store, begin: int = 0) -> tuple[int, ReadOnly]:
    """Write until nothing is taken; return the next number, and what was said."""
    number = begin
    while True:
        try:
            await write(store, number)
        except ReadOnly as error:
            return number, error
        number += 1


async def written(store: Store, number: int) -> None:
    """Write as soon as the store takes it."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await write(store, number)
            except ReadOnly:
                await asyncio.sleep(0.01)


async def has(store: Store, numbers: range) -> bool:
    return [key for key, _ in await store.scan(DOC)] == [f"{number:05}" for number in numbers]


async def test_more_than_etcd_holds_goes_through_it_and_it_never_runs_full(small: Small) -> None:
    store = await small.open()
    count = 3 * QUOTA // (48 * 1024)
    for number in range(count):
        await written(store, number)
    assert any("what is sealed is removed from it" in each for each in small.seen.words)
    assert [each for each in small.seen.words if "NOSPACE" in each] == []
    await store.close()
    assert await has(await small.open(), range(count))


async def test_while_nothing_can_be_sealed_the_store_is_read_only_before_etcd_is_and_goes_on_by_itself(
    small: Small,
) -> None:
    store = await small.open()
    await write(store, 0)
    small.away = UnavailableError("the bucket does not answer")
    count, refused = await write_until_refused(store, 1)
    assert "the store is read-only until there is room" in str(refused)
    assert f"of the {QUOTA // MIB} MiB that its quota allows" in str(refused)
    assert count > 100
    assert vitals(store).refusal
    assert not (await small.etcd.space())[0].full, "etcd itself still takes what tells of sealing"
    assert await has(store, range(count)), "reads go on"
    small.away = None
    await written(store, count)
    assert store.failed is None
    assert [each for each in small.seen.words if "NOSPACE" in each] == []
    await store.close()
    assert await has(await small.open(), range(count + 1))


async def test_an_etcd_that_others_filled_up_refuses_and_is_used_again_once_they_made_room(small: Small) -> None:
    store = await small.open()
    for number in range(10):
        await write(store, number)
    await small.fill()
    _, refused = await write_until_refused(store, 10)
    if "NOSPACE" not in str(refused):  # it may be older than the alarm, which nobody but the store ends
        await asyncio.wait_for(small.seen.alarm.wait(), WAIT)
    assert await has(store, range(10)), "nothing that was refused is seen"
    await small.etcd.delete(OTHERS % 0, OTHERS % 9999)
    await written(store, 10)
    assert not (await small.etcd.space())[0].full
    assert store.failed is None
    await store.close()
    assert await has(await small.open(), range(11))


async def test_a_full_etcd_is_not_opened_in_these_words_and_is_as_soon_as_there_is_room(small: Small) -> None:
    store = await small.open()
    await write(store, 0)
    await store.close()
    await small.fill()
    with pytest.raises(ReadOnly, match=r"etcd has no room left \(its alarm NOSPACE is on\) and takes no writes"):
        await small.open()
    await small.etcd.delete(OTHERS % 0, OTHERS % 9999)
    opened: Store | None = None
    async with asyncio.timeout(WAIT):
        while opened is None:
            with suppress(ReadOnly):
                opened = await small.open()
    await write(opened, 1)
    assert await has(opened, range(2))


async def test_what_would_make_room_and_is_not_allowed_is_said() -> None:
    etcd = MemoryEtcd(quota=QUOTA)
    small = Small(etcd)

    async def forbid(call: str, _when: str) -> None:
        if call in ("compact", "defragment", "disarm"):
            raise PermanentEtcdError("etcd: etcdserver: permission denied")

    async with small.stack:
        store = await small.open()
        etcd.fault = forbid
        await small.fill()
        said = ""
        async with asyncio.timeout(WAIT):
            while "not allowed" not in said:
                said = str((await write_until_refused(store))[1])
        assert "what would make room is not allowed to this user: etcd: etcdserver: permission denied" in said
        etcd.fault = _allow
        await etcd.delete(OTHERS % 0, OTHERS % 9999)
        await written(store, 0)


async def _allow(_call: str, _when: str) -> None:
    return


# the size of a request


async def _nothing_changed(small: Small) -> None:
    assert (await small.etcd.range(b"\x00", b"\xff")).items == ()
    assert await small.ost.list() == []


@pytest.mark.parametrize("limit", [500_000, 1024 * 1024])
@pytest.mark.parametrize("kind", ["memory", "etcd"])
async def test_an_etcd_that_takes_only_small_requests_is_refused_with_the_setting_and_nothing_changes(
    tmp_path: Path, kind: str, limit: int
) -> None:
    if kind == "memory":
        small = Small(MemoryEtcd(max_request=limit))
        with pytest.raises(Refused, match="start every member with --max-request-bytes=2097152 or more"):
            await small.open()
        await _nothing_changed(small)
        return
    with EtcdServer(tmp_path, fsync=False, options=(f"--max-request-bytes={limit}",)) as server:
        small = Small(connect(server.endpoint))
        with pytest.raises(Refused, match="start every member with --max-request-bytes=2097152 or more"):
            await small.open()
        await _nothing_changed(small)
        await small.etcd.close()


async def test_a_limit_that_shrinks_later_fails_the_large_transaction_with_the_setting_and_no_other() -> None:
    etcd = MemoryEtcd(quota=QUOTA)
    small = Small(etcd)
    async with small.stack:
        store = await small.open()
        etcd._max_request = 10_000
        with pytest.raises(Unavailable, match=r"a request of .* bytes, .*--max-request-bytes=2097152"):
            await write(store, 0)
        await store.commit(put("small"))
        assert store.failed is None
