"""An etcd of three members: without one of them nothing changes, without two nothing is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer, etcd_members
from lab.stores import DOC, put
from runabout.datamanager import Unavailable, Unknown, follow_store, open_store
from runabout.etcd import connect

TURNS = 20


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    with etcd_members(tmp_path, 3) as servers:
        yield servers


async def test_a_store_goes_on_whichever_member_is_killed(members: list[EtcdServer]) -> None:
    etcd = connect(",".join(server.endpoint for server in members))
    store = await open_store(etcd, deadline=60)
    written = 0
    for server in members:
        server.kill()
        for _ in range(TURNS):
            await store.commit(put(f"{written:04}"))
            written += 1
        await asyncio.to_thread(server.start)
    await store.close()
    again = await open_store(etcd)
    assert len(await again.scan(DOC)) == written
    await again.close()
    await etcd.close()


async def test_without_a_quorum_commits_wait_or_fail_as_unclear_and_reads_go_on_and_say_how_old_they_are(
    members: list[EtcdServer],
) -> None:
    etcd = connect(",".join(server.endpoint for server in members))
    store = await open_store(etcd, deadline=5)
    reader = await follow_store(etcd)
    first = await store.commit(put("before"))
    await reader.reached(first.sequence, seconds=60)
    for server in members[1:]:
        server.kill()
    with pytest.raises((Unknown, Unavailable)):
        await store.commit(put("meanwhile"))
    assert store.stuck_seconds >= 5
    assert [key for key, _ in await store.scan(DOC)] == ["before"]
    assert [key for key, _ in await reader.scan(DOC)] == ["before"]
    assert reader.stale_seconds >= 2
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in members[1:]))
    await store.close()
    await reader.close()
    await etcd.close()
    etcd = connect(",".join(server.endpoint for server in members))
    again = await open_store(etcd)
    await again.commit(put("after"))
    found = [key for key, _ in await again.scan(DOC)]
    assert found in (["after", "before"], ["after", "before", "meanwhile"]), "the unclear one as a whole or not at all"
    await again.close()
    await etcd.close()
