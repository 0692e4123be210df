"""The stores that the contract is tested on; each test gets an empty one of its own."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fixtures import s3_server
from fixtures.s3_server import S3Server
from runabout.ost import MemoryObjectStore, ObjectStore, ObservedStore, Operation, OstError, OstSettings, open_ost

BUCKET = "contract"


@pytest.fixture(scope="session", autouse=True)
def _credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.credentials().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with s3_server.moto() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(params=["moto", "versitygw"])
def s3(request: pytest.FixtureRequest) -> S3Server:
    server = request.getfixturevalue(request.param)
    assert isinstance(server, S3Server)
    return server


class _Observer:
    def called(self, operation: Operation, key: str, *, seconds: float, size: int, error: OstError | None) -> None:
        assert operation
        assert isinstance(key, str)
        assert seconds >= 0
        assert size == 0 or error is None or operation == "open"


async def _opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> ObjectStore:
    if kind == "memory":
        return MemoryObjectStore()
    if kind == "posix":
        return await open_ost(OstSettings(f"file://{folder}/ost"))
    if kind == "observed":
        return ObservedStore(await open_ost(OstSettings(f"file://{folder}/ost")), _Observer(), clock=time.monotonic)
    server = await asyncio.to_thread(request.getfixturevalue, kind)
    return await open_ost(server.settings(BUCKET, uuid.uuid4().hex))


@pytest.fixture(params=["memory", "posix", "observed", "moto", "versitygw"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = await _opened(request.param, request, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "posix", "observed", "versitygw"])
async def atomic_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """The stores that can judge a race: moto looks and stores in two steps."""
    opened = await _opened(request.param, request, tmp_path)
    yield opened
    await opened.close()
