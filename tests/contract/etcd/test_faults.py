"""A real etcd that is killed, paused or not there: the errors that a caller sees, and that the client recovers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from runabout.etcd import Compare, GrpcEtcd, Put, RetryableEtcdError, UnknownOutcomeError, connect

DEADLINE = 3.0
"""Seconds for one call in these tests."""
WAIT = 60.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path, fsync=False) as server:
        yield server


@pytest.fixture
async def etcd(own_server: EtcdServer) -> AsyncIterator[GrpcEtcd]:
    client = connect(own_server.endpoint, deadline=DEADLINE)
    assert await _answered(client, b"none") is None
    assert (await client.txn((), [Put(b"a", b"1")])).succeeded
    yield client
    await client.close()


async def _answered(client: GrpcEtcd, key: bytes) -> bytes | None:
    """Return a value as soon as the server answers again."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await client.get(key)
            except RetryableEtcdError:
                continue


async def test_a_killed_server_is_a_retryable_error_within_the_deadline_and_its_data_is_back_with_it(
    own_server: EtcdServer, etcd: GrpcEtcd
) -> None:
    await asyncio.to_thread(own_server.kill)
    begin = asyncio.get_running_loop().time()
    with pytest.raises(RetryableEtcdError):
        await etcd.get(b"a")
    with pytest.raises(RetryableEtcdError):
        await etcd.txn([Compare(b"a", b"1")], [Put(b"a", b"2")])
    assert asyncio.get_running_loop().time() - begin < 4 * DEADLINE
    await asyncio.to_thread(own_server.start)
    assert await _answered(etcd, b"a") == b"1"


async def test_a_server_that_does_not_answer_is_an_unknown_outcome_within_the_deadline(
    own_server: EtcdServer, etcd: GrpcEtcd
) -> None:
    own_server.pause()
    begin = asyncio.get_running_loop().time()
    with pytest.raises(UnknownOutcomeError):
        await etcd.txn([Compare(b"a", b"1")], [Put(b"a", b"2")])
    assert asyncio.get_running_loop().time() - begin < 3 * DEADLINE
    own_server.resume()
    # The request may have arrived: the server is free to do it or not, and nothing else.
    assert await _answered(etcd, b"a") in (b"1", b"2")


async def test_a_transaction_sent_until_it_is_answered_happens_once_whatever_is_killed(
    own_server: EtcdServer, etcd: GrpcEtcd
) -> None:
    """The rule that commits stand on: the same compare cannot hold twice."""
    done, progress = asyncio.Event(), asyncio.Event()
    counted = 0

    async def count() -> None:
        nonlocal counted
        while not done.is_set():
            value = b"%d" % counted
            following = b"%d" % (counted + 1)
            compare = Compare(b"count", value if counted else None)
            while True:
                try:
                    result = await etcd.txn([compare], [Put(b"count", following)], otherwise=[b"count"])
                except RetryableEtcdError:
                    continue
                break
            assert result.succeeded or result.values == (following,)
            counted += 1
            if counted % 20 == 0:
                progress.set()

    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        group.create_task(count())
        for _ in range(3):
            progress.clear()
            await progress.wait()
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
        done.set()
    assert await etcd.get(b"count") == b"%d" % counted


async def test_a_watch_ends_with_a_retryable_error_when_its_server_dies(own_server: EtcdServer, etcd: GrpcEtcd) -> None:
    async with asyncio.timeout(WAIT), aclosing(etcd.watch(b"a", b"b", revision=1)) as events:
        assert (await anext(events)).value == b"1"
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(RetryableEtcdError):
            await anext(events)


async def test_a_server_that_was_never_there_is_a_retryable_error() -> None:
    client = connect(f"http://127.0.0.1:{free_port()}", deadline=DEADLINE)
    try:
        with pytest.raises(RetryableEtcdError):
            await client.get(b"a")
    finally:
        await client.close()


async def test_one_answering_server_of_several_is_enough(own_server: EtcdServer) -> None:
    client = connect(f"http://127.0.0.1:{free_port()},{own_server.endpoint}")
    try:
        assert (await client.txn((), [Put(b"b", b"1")])).succeeded
        assert await client.get(b"b") == b"1"
    finally:
        await client.close()
