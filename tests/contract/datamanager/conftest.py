"""The etcds and object storages that stores are tested on; each test gets a store number of its own."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fixtures import s3_server
from fixtures.etcd_server import EtcdServer
from fixtures.s3_server import S3Server
from lab.etcds import GrpcLab, Lab, MemoryLab
from lab.stores import Stores
from runabout.datamanager import CheckpointPolicy, IndexSource, ReadPolicy, SealPolicy
from runabout.ost import MemoryObjectStore, ObjectStore, OstSettings, open_ost

BUCKET = "stores"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd"), fsync=False) as started:
        yield started


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.credentials().items():
            patch.setenv(name, value)
        with s3_server.versitygw(tmp_path_factory.mktemp("versitygw")) as started:
            started.client().create_bucket(Bucket=BUCKET)
            yield started


@pytest.fixture(scope="session")
def store_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture(params=["memory", "etcd"])
async def stores(request: pytest.FixtureRequest, store_numbers: Iterator[int]) -> AsyncIterator[Stores]:
    lab: Lab
    if request.param == "memory":
        lab = MemoryLab()
    else:
        server = request.getfixturevalue("server")
        assert isinstance(server, EtcdServer)
        lab = GrpcLab(server.endpoint)
    async with lab, Stores(lab, next(store_numbers)) as opened:
        yield opened


Sealing = Callable[..., Stores]
"""Makes an empty store on an object storage of its own; takes fields of `SealPolicy`, and what is named below."""


@pytest.fixture(params=["memory", "etcd and a directory", "etcd and a bucket"])
async def sealing(
    request: pytest.FixtureRequest, store_numbers: Iterator[int], tmp_path: Path
) -> AsyncIterator[Sealing]:
    async with AsyncExitStack() as stack:
        lab: Lab
        if request.param == "memory":
            lab = await stack.enter_async_context(MemoryLab())
        else:
            lab = await stack.enter_async_context(GrpcLab(request.getfixturevalue("server").endpoint))
        if request.param == "etcd and a bucket":
            bucket = await asyncio.to_thread(request.getfixturevalue, "versitygw")

        async def place() -> ObjectStore:
            if request.param == "memory":
                return MemoryObjectStore()
            if request.param == "etcd and a directory":
                return await open_ost(OstSettings(f"file://{tmp_path}/{uuid.uuid4().hex}"))
            return await open_ost(bucket.settings(BUCKET, uuid.uuid4().hex))

        places = [await place() for _ in range(2)]
        for each in places:
            stack.push_async_callback(each.close)

        def make(
            *,
            other: bool = False,
            number: int | None = None,
            checkpoints: CheckpointPolicy | None = None,
            index: IndexSource | None = None,
            reads: ReadPolicy | None = None,
            **policy: float,
        ) -> Stores:
            chosen = next(store_numbers) if number is None else number
            seals = SealPolicy(**policy)  # type: ignore[arg-type]  # by name
            made = Stores(
                lab, chosen, ost=places[other], policy=seals, checkpoints=checkpoints, index=index, reads=reads
            )
            stack.push_async_callback(made.__aexit__)
            return made

        yield make
