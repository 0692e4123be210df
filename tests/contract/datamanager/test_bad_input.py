"""What a store is opened with by mistake: each is refused with one sentence that says what and where.

And nothing is changed: neither in etcd nor on the object storage, except where two installations cannot be told apart
before something was written. Of a newer format only index files can be done without: they are made again. Bad places
for objects alone are in tests/contract/ost, bad settings in tests/unit/control and tests/contract/handlers.
"""

import hashlib
import io
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from lab.checkpoints import checkpoint, seal
from lab.damage import Change, Scene, scene
from lab.etcds import MemoryLab
from lab.guarded import PASSWORD, READ, guard
from lab.indexed import CONFIG, RUN, check, created, source
from lab.stores import Stores, put, view
from runabout.datamanager import BrokenLog, NewerFormat, Refused, StoreError, Transaction, Unavailable, open_store
from runabout.datamanager.head import Keys
from runabout.datamanager.manifest import IndexFile, decode_pointer
from runabout.etcd import GrpcEtcd, Login, MemoryEtcd, connect
from runabout.etcd import Put as EtcdPut
from runabout.ost import DeniedError, MemoryObjectStore, ObjectInfo, OstError, UnsuitableError

DEADLINE = 2.0
"""Seconds for a call that nobody answers."""
WAIT = 30.0
KEYS = Keys(0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path, fsync=False) as started:
        yield started


@asynccontextmanager
async def client(endpoint: str, login: Login | None = None, *, deadline: float = WAIT) -> AsyncIterator[GrpcEtcd]:
    made = connect(endpoint, login=login, deadline=deadline)
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
    async with client(wrong, deadline=DEADLINE) as etcd:
        said = await refused(etcd, MemoryObjectStore(), Unavailable)
    assert said == f"etcd: no connection to {wrong} within 2 s"
    async with client(server.endpoint.replace("http:", "https:"), deadline=DEADLINE) as etcd:
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


def sealed_again(data: bytes) -> bytes:
    """Return bytes as a version nine formats later would leave them: its number, and the checksum that fits."""
    body = data[:4] + b"\x09" + data[5:-4]
    return body + struct.pack(">I", google_crc32c.value(body))


async def newest_manifest(it: Scene) -> str:
    return max((await it.ost.list(it.stores.keys.manifests)), key=lambda each: each.key).key


async def publish(stores: Stores, key: str, data: bytes) -> None:
    """Have a manifest as another program would have published it: nothing about it is damaged."""
    assert stores.ost is not None
    await stores.ost.write(key, data)
    value = await stores.lab.etcd.get(stores.keys.manifest)
    assert value is not None
    pointer = replace(decode_pointer(value, where=""), size=len(data), sha256=hashlib.sha256(data).digest())
    await stores.lab.etcd.txn((), [EtcdPut(stores.keys.manifest, pointer.encode())])


NEWER: dict[str, tuple[Callable[[Keys], str | bytes], Change]] = {
    "identity": (lambda keys: keys.identity, lambda data: b"runabout-store-9" + data[16:]),
    "newest manifest": (lambda keys: keys.manifests, sealed_again),
    "last segment": (lambda keys: keys.segment(14), sealed_again),
    "meta": (lambda keys: keys.meta, lambda value: b"runabout-store-9" + value[16:]),
    "sealed": (lambda keys: keys.sealed, sealed_again),
    "manifest": (lambda keys: keys.manifest, sealed_again),
    "last batch": (lambda keys: keys.wal(18), sealed_again),
}


@pytest.mark.parametrize("what", NEWER)
async def test_a_store_of_a_newer_format_is_refused_in_one_sentence_and_left_as_it_was(what: str) -> None:
    find, newer = NEWER[what]
    async with scene() as it:
        place = find(it.stores.keys)
        if isinstance(place, bytes):
            where = await it.change_entry(place, newer)
        elif what == "newest manifest":
            where = await newest_manifest(it)
            await publish(it.stores, where, sealed_again(await it.ost.read(where)))
        else:
            where = await it.change(place, newer)
        before = await it.contents()
        with pytest.raises(NewerFormat) as raised:
            await it.stores.open()
        assert await it.contents() == before
        assert (
            str(raised.value)
            .removeprefix("the object ")
            .startswith(f"{where} has the format 9, which this version cannot read")
        )
        assert "\n" not in str(raised.value)


async def test_of_a_store_whose_etcd_was_wiped_the_object_storage_alone_says_that_it_is_newer() -> None:
    async with scene() as it:
        await it.change(await newest_manifest(it), sealed_again)
        await it.stores.wipe()
        before = await it.contents()
        with pytest.raises(NewerFormat, match="has the format 9"):
            await it.stores.open()
        assert await it.contents() == before


async def test_a_store_in_etcd_alone_of_a_newer_format_is_left_as_it_was() -> None:
    async with Stores(MemoryLab(), 0) as stores:
        store = await stores.open()
        await store.commit(put("a"))
        await store.close()
        key = stores.keys.wal(1)
        value = await stores.lab.etcd.get(key)
        assert value is not None
        await stores.lab.etcd.txn((), [EtcdPut(key, sealed_again(value))])
        before = await stores.snapshot()
        with pytest.raises(NewerFormat, match=f"^{key.decode()} has the format 9"):
            await stores.open()
        assert await stores.snapshot() == before


async def test_a_newer_number_without_its_checksum_is_damage_for_which_an_older_manifest_serves() -> None:
    async with scene() as it:
        damaged = await it.change(await newest_manifest(it), lambda data: data[:4] + b"\x09" + data[5:])
        store = await it.stores.open()
        assert await view(store) == it.documents
        assert any(damaged in said for said in store.damage)


def newer_index_file(body: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(body), use_threads=False)
    made = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"runabout.runindex": b"9"}), made)
    return made.getvalue()


async def test_index_files_of_a_newer_format_are_made_again_and_that_is_said(tmp_path: Path) -> None:
    async with Stores(MemoryLab(), 0, ost=MemoryObjectStore(), index=source(tmp_path)) as stores:
        store = await stores.open()
        await store.commit(Transaction(created(1)))
        await seal(store)
        made = await checkpoint(store)
        documents = await view(store, (RUN, CONFIG))
        await store.close()
        assert stores.ost is not None
        assert made.index is not None
        (file,) = made.index.files
        newer = newer_index_file(await stores.ost.read(file.object))
        await stores.ost.write(file.object, newer)
        info = replace(file.info, size=len(newer), sha256=hashlib.sha256(newer).digest())
        named = replace(made, index=replace(made.index, files=(IndexFile(file.object, info),)))
        (manifest,) = await stores.ost.list(stores.keys.manifests)
        await publish(stores, manifest.key, named.encode())
        again = await stores.open()
        check(again.runs, documents)
        assert any("has the format 9" in said and file.object in said for said in again.damage)
