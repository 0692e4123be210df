"""What a store is opened with by mistake: each is refused with one sentence that says what and where.

And nothing is changed: neither in etcd nor on the object storage, except where two installations cannot be told apart
before something was written. Bad places for objects alone are in tests/contract/ost, bad settings in
tests/unit/control and tests/contract/handlers.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from lab.etcds import MemoryLab
from lab.guarded import PASSWORD, READ, guard
from lab.stores import Stores, put
from runabout.datamanager import BrokenLog, Refused, StoreError, Unavailable, open_store
from runabout.datamanager.head import Keys
from runabout.etcd import GrpcEtcd, Login, MemoryEtcd, connect
from runabout.etcd import Put as EtcdPut
from runabout.ost import DeniedError, MemoryObjectStore, ObjectInfo, OstError, UnsuitableError

DEADLINE = 2.0
KEYS = Keys(0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path, fsync=False) as started:
        yield started


@asynccontextmanager
async def client(endpoint: str, login: Login | None = None) -> AsyncIterator[GrpcEtcd]:
    made = connect(endpoint, login=login, deadline=DEADLINE)
    yield made
    await made.close()


async def refused(etcd: GrpcEtcd | MemoryEtcd, ost: MemoryObjectStore, kind: type[StoreError]) -> str:
    """Return the sentence with which a store is not opened; the object storage is as it was."""
    before = await listed(ost)
    with pytest.raises(kind) as raised:
        await open_store(etcd, ost=ost, members=etcd)
    assert type(raised.value) is kind
    assert await listed(ost) == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


async def listed(ost: MemoryObjectStore) -> list[ObjectInfo]:
    fault, ost.fault = ost.fault, lambda _operation, _key, _done: None
    found = await ost.list()
    ost.fault = fault
    return found


async def has_nothing(etcd: GrpcEtcd) -> bool:
    return not (await etcd.range(b"\x00", b"\xff")).items


async def test_a_wrong_endpoint_is_named(server: EtcdServer) -> None:
    wrong = f"http://127.0.0.1:{free_port()}"
    async with client(wrong) as etcd:
        said = await refused(etcd, MemoryObjectStore(), Unavailable)
    assert said == f"etcd: no connection to {wrong} within 2 s"
    async with client(server.endpoint.replace("http:", "https:")) as etcd:
        assert "no connection to https" in await refused(etcd, MemoryObjectStore(), Unavailable)


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (Login("runabout", "wrong"), "authentication failed, invalid user ID or password"),
        (Login("nobody", PASSWORD), "authentication failed, invalid user ID or password"),
        (None, "user name is empty"),
    ],
    ids=["wrong password", "wrong user", "no user"],
)
async def test_wrong_credentials_for_etcd(server: EtcdServer, login: Login | None, words: str) -> None:
    await guard(server)
    async with client(server.endpoint, login) as etcd:
        said = await refused(etcd, MemoryObjectStore(), Refused)
    assert words in said
    assert "user and password must be right" in said


async def test_no_permission_to_write_to_etcd(server: EtcdServer) -> None:
    await guard(server, permission=READ)
    async with client(server.endpoint, Login("runabout", PASSWORD)) as etcd:
        said = await refused(etcd, MemoryObjectStore(), Refused)
    assert "permission denied" in said
    assert "allowed to read and write the keys that begin with store/0/" in said
    async with client(server.endpoint, Login("root", PASSWORD)) as root:
        assert await has_nothing(root)


async def test_a_user_who_may_use_the_stores_keys_and_nothing_else_is_enough(server: EtcdServer) -> None:
    await guard(server)
    async with client(server.endpoint, Login("runabout", PASSWORD)) as etcd:
        store = await open_store(etcd, ost=MemoryObjectStore(), members=etcd)
        await store.commit(put("a"))
        assert store.space is not None
        verdict = await store.space.look()
        assert verdict.member.quota == 2 * 1024**3
        await store.close()


@pytest.mark.parametrize(
    "error",
    [
        UnsuitableError("looking at 'x' in the bucket 'b': the server says 404 NoSuchBucket; create the bucket"),
        DeniedError("writing 'x' in the bucket 'b': the server says 403 AccessDenied; allow it for these credentials"),
        DeniedError("writing 'x' in /data: Read-only file system; user 1 must be able to read and write there"),
    ],
    ids=["missing bucket", "no permission to write", "read-only directory"],
)
async def test_an_object_storage_that_cannot_be_used_is_refused_in_its_words_before_etcd_is_changed(
    error: OstError,
) -> None:
    etcd, ost = MemoryEtcd(), MemoryObjectStore()
    ost.fault = lambda operation, _key, done: error if operation == "write" and not done else None
    assert await refused(etcd, ost, Refused) == str(error)
    assert (await etcd.range(b"\x00", b"\xff")).items == ()


@pytest.mark.parametrize("sealed", [False, True])
async def test_an_etcd_of_another_installation(sealed: bool) -> None:
    async with Stores(MemoryLab(), 0, ost=MemoryObjectStore()) as one, Stores(MemoryLab(), 0) as other:
        await (await one.open()).close()
        theirs = other if not sealed else Stores(MemoryLab(), 0, ost=MemoryObjectStore())
        await (await theirs.open()).close()
        before = await theirs.snapshot()
        assert isinstance(one.ost, MemoryObjectStore)
        assert isinstance(theirs.lab, MemoryLab)
        said = await refused(theirs.lab.memory, one.ost, BrokenLog)
        assert "one of them belongs to another installation" in said
        assert await theirs.snapshot() == before


@pytest.mark.parametrize("what", ["meta", "sealed", "manifest", "identity"])
async def test_a_store_of_a_newer_format(what: str) -> None:
    async with Stores(MemoryLab(), 0, ost=MemoryObjectStore()) as stores:
        store = await stores.open()
        await store.commit(put("a"))
        assert store.sealer is not None
        assert store.checkpointer is not None
        await store.sealer.seal()
        await store.checkpointer.checkpoint()
        await store.close()
        assert isinstance(stores.ost, MemoryObjectStore)
        assert isinstance(stores.lab, MemoryLab)
        if what == "identity":
            where = KEYS.identity
            await stores.ost.write(where, b"runabout-store-9" + bytes(16))
        else:
            key = {"meta": KEYS.meta, "sealed": KEYS.sealed, "manifest": KEYS.manifest}[what]
            where = key.decode()
            value = await stores.lab.etcd.get(key)
            assert value is not None
            newer = b"runabout-store-9" + bytes(40) if what == "meta" else value[:4] + b"\x09" + value[5:]
            await stores.lab.etcd.txn((), [EtcdPut(key, newer)])
        before = await stores.snapshot()
        said = await refused(stores.lab.memory, stores.ost, BrokenLog)
        assert where in said
        assert "a format that this version cannot read" in said
        assert await stores.snapshot() == before
