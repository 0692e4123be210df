"""Stores that earlier versions have left, byte by byte: this version reads all of them and goes on with them.

See `lab/golden.py`; a change of a format adds a file and leaves the others as they are.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lab.checkpoints import NEVER, checkpoint
from lab.etcds import MemoryLab
from lab.golden import CHECKPOINTS, KINDS, TABLES, Golden, decode, made
from lab.indexed import check, source
from lab.pointers import check_pointers
from lab.stores import DOC, NOTE, Stores, put, view
from runabout.datamanager import BrokenLog, Case, NewerFormat, SealPolicy
from runabout.datamanager.audit import audit_store
from runabout.datamanager.head import Keys
from runabout.ost import MemoryObjectStore

GOLDEN = {file.stem: decode(file.read_bytes()) for file in (Path(__file__).parent / "golden").glob("store-*.json")}
KEPT = pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)


@asynccontextmanager
async def stores_of(golden: Golden, scratch: Path) -> AsyncIterator[Stores]:
    ost = MemoryObjectStore()
    for key, data in golden.objects.items():
        await ost.write(key, data)
    async with (
        MemoryLab() as lab,
        Stores(
            lab,
            0,
            ost=ost,
            policy=SealPolicy(interval=NEVER),
            checkpoints=CHECKPOINTS,
            tables=TABLES,
            index=source(scratch),
        ) as stores,
    ):
        await stores.set_back(golden.etcd)
        yield stores


@KEPT
async def test_what_an_earlier_version_left_is_whole(golden: Golden, tmp_path: Path) -> None:
    async with stores_of(golden, tmp_path) as stores:
        assert stores.ost is not None
        await check_pointers(stores)
        report = await audit_store(stores.lab.etcd, stores.ost, stores.keys, index=source(tmp_path))
        assert report.findings == ()


@KEPT
async def test_what_an_earlier_version_left_is_read_and_gone_on_with(golden: Golden, tmp_path: Path) -> None:
    async with stores_of(golden, tmp_path) as stores:
        store = await stores.open()
        assert (store.recovery, store.damage) == (None, ())
        assert await view(store, KINDS) == golden.documents
        check(store.runs, golden.documents)
        assert list((await view(store))[NOTE].values()) == [b"one", b"two", b"three"]
        await store.commit(put("é 0000", b"new"))
        await checkpoint(store)
        expected = {**golden.documents, DOC: {**golden.documents[DOC], "é 0000": b"new"}}
        assert await view(await stores.open(), KINDS) == expected
        await check_pointers(stores)


@KEPT
async def test_of_what_an_earlier_version_left_the_object_storage_alone_is_enough(
    golden: Golden, tmp_path: Path
) -> None:
    async with stores_of(golden, tmp_path) as stores:
        await stores.wipe()
        store = await stores.open()
        assert store.recovery is not None
        assert store.recovery.case is Case.WIPED
        found = await view(store, KINDS)
        left = {key: body for key, body in golden.documents[DOC].items() if not key.startswith("in etcd alone ")}
        assert found == {**golden.documents, DOC: left, NOTE: {key: found[NOTE][key] for key in sorted(found[NOTE])}}
        assert list(found[NOTE].values()) == [b"one", b"two"]
        check(store.runs, found)


@KEPT
def test_a_stranger_reads_the_data_files_of_an_earlier_version_by_their_columns(golden: Golden) -> None:
    objects = golden.objects
    data = [body for key, body in objects.items() if key.startswith(f"{Keys(0).data}{DOC}/")]
    assert len(data) > 1
    for body in data:
        with pq.ParquetFile(io.BytesIO(body)) as parquet:
            table = parquet.read(use_threads=False)
        assert [f"{field.name} {field.type}" for field in table.schema] == [
            "key string",
            "name string",
            "size int64",
            "share double",
            "done bool",
            "at timestamp[ms, tz=UTC]",
            "body binary",
        ]
        assert table["size"].to_pylist() == [len(each) for each in table["body"].to_pylist()]


WITHOUT_EFFECT = {"owner": range(24), "head": range(16, 24), "meta": range(32, 40)}
"""Bytes of values without a checksum that change nothing: who has the store, and two epochs; openings write them."""


@pytest.mark.timeout(300)  # some ten seconds of work, on a machine that may have others
@pytest.mark.parametrize("place", ["identity", "meta", "head", "owner"])
async def test_of_values_without_a_checksum_every_flipped_byte_is_found_or_changes_nothing(
    place: str, tmp_path: Path
) -> None:
    """They are compared with each other and with the log; `data check` sees all but one, which nobody reads."""
    golden, keys = GOLDEN["store-2"], Keys(0)
    value = golden.objects[keys.identity] if place == "identity" else golden.etcd[getattr(keys, place)]
    for at in range(len(value)):
        changed = value[:at] + bytes([value[at] ^ 0x40]) + value[at + 1 :]
        damaged = (
            replace(golden, objects={**golden.objects, keys.identity: changed})
            if place == "identity"
            else replace(golden, etcd={**golden.etcd, getattr(keys, place): changed})
        )
        async with stores_of(damaged, tmp_path) as stores:
            assert stores.ost is not None
            found = (await audit_store(stores.lab.etcd, stores.ost, keys)).findings
            assert bool(found) == (place != "meta" or at not in WITHOUT_EFFECT["meta"]), at
            if at in WITHOUT_EFFECT.get(place, ()):
                store = await stores.open()
                assert store.recovery is None
                assert await view(store, KINDS) == golden.documents
            else:
                with pytest.raises((BrokenLog, NewerFormat)):
                    await stores.open()


async def test_what_is_kept_has_every_kind_of_key_and_object_that_this_version_writes(tmp_path: Path) -> None:
    def kinds(golden: Golden) -> set[str]:
        return {each.split("/")[2] for each in (*map(bytes.decode, golden.etcd), *golden.objects)}

    now = kinds(await made(tmp_path))
    assert now == {
        *("meta", "head", "owner", "sealed", "manifest", "wal"),
        *("identity", "epochs", "data", "index", "quarantine"),
    }
    assert any(kinds(golden) == now for golden in GOLDEN.values())
