"""How full etcd is, and how room is made: the same on a real server with a small quota and on the one in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from runabout.etcd import (
    FullError,
    GrpcEtcd,
    MemberSpace,
    MemoryEtcd,
    Put,
    RequestTooLargeError,
    RetryableEtcdError,
    connect,
)
from runabout.etcd.space import read_status, status_type

QUOTA = 8 * 1024 * 1024
WAIT = 60.0

AnyEtcd = GrpcEtcd | MemoryEtcd


@pytest.fixture(params=["memory", "etcd"])
async def small(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyEtcd]:
    """An etcd with room for eight mebibytes."""
    if request.param == "memory":
        yield MemoryEtcd(quota=QUOTA)
        return
    with EtcdServer(tmp_path, fsync=False, options=(f"--quota-backend-bytes={QUOTA}",)) as server:
        client = connect(server.endpoint)
        yield client
        await client.close()


async def space(etcd: AnyEtcd) -> MemberSpace:
    [found] = await etcd.space()
    return found


async def fill(etcd: AnyEtcd) -> None:
    """Write until nothing is taken any more, and the alarm is on, which a real server sets a moment later."""
    with suppress(FullError):
        for number in range(200):
            await etcd.txn((), [Put(b"fill/%03d" % number, bytes(512 * 1024))])
    async with asyncio.timeout(WAIT):
        while not (await space(etcd)).full:
            with suppress(FullError):
                await etcd.txn((), [Put(b"fill/more", bytes(512 * 1024))])


async def shrink(etcd: AnyEtcd, size: int) -> None:
    """Have the file shrink: what was compacted is given up a little later, behind our back."""
    async with asyncio.timeout(WAIT):
        while (found := await space(etcd)).size > size:
            await etcd.defragment(found.member)


async def test_a_server_says_its_quota_and_what_is_used_of_it(small: AnyEtcd) -> None:
    empty = await space(small)
    assert (empty.quota, empty.full) == (QUOTA, False)
    await small.txn((), [Put(b"a", bytes(1_000_000))])
    async with asyncio.timeout(WAIT):
        while (await space(small)).size < empty.size + 900_000:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.02)
    used = await space(small)
    assert 900_000 < used.in_use <= used.size < QUOTA


async def test_a_full_server_takes_writes_again_when_room_was_made_and_the_alarm_ended(small: AnyEtcd) -> None:
    await fill(small)
    full = await space(small)
    assert full.full
    with pytest.raises(FullError):
        await small.txn((), [Put(b"one more", b"")])
    await small.delete(b"fill/", b"fill0")
    await small.compact_now((await small.range(b"a", b"b")).revision)
    assert (await space(small)).size >= full.size, "a file never shrinks by itself"
    await shrink(small, QUOTA // 4)
    with pytest.raises(FullError):
        await small.txn((), [Put(b"one more", b"")])
    await small.disarm()
    assert not (await space(small)).full
    assert (await small.txn((), [Put(b"one more", b"")])).succeeded


async def test_a_request_over_the_servers_limit_is_told_from_other_refusals(small: AnyEtcd) -> None:
    for value in (bytes(1600 * 1024), bytes(3 * 1024 * 1024)):  # etcd's words, and those of the gRPC before it
        with pytest.raises(RequestTooLargeError):
            await small.txn((), [Put(b"large", value)])
    with pytest.raises(RequestTooLargeError):
        await small.get(bytes(2 * 1024 * 1024 + 1))
    assert await small.get(bytes(1024 * 1024)) is None


async def test_every_member_is_asked_and_one_that_is_away_is_left_out(tmp_path: Path) -> None:
    with EtcdServer(tmp_path, fsync=False) as server:
        client = connect(f"http://127.0.0.1:{free_port()},{server.endpoint}", deadline=2)
        [found] = await client.space()
        assert found.member == server.endpoint
        assert found.quota == 2 * 1024**3
        await client.close()
    nobody = connect(f"http://127.0.0.1:{free_port()}", deadline=0.5)
    with pytest.raises(RetryableEtcdError):
        await nobody.space()
    await nobody.close()


def test_a_server_that_does_not_say_its_quota_is_known_to_be_one() -> None:
    said = status_type()(dbSize=5, errors=["memberID:1 alarm:NOSPACE "])
    assert read_status(said.SerializeToString(), member="m") == MemberSpace("m", 5, 5, None, full=True)
