"""Gateways before a directory, through which everything is streamed, and before a bucket, which tasks talk to."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fixtures import s3_server
from fixtures.s3_server import S3Server
from lab.gateways import GatewayLab
from runabout.ost import ObjectStore, OstSettings, open_ost

BUCKET = "gateway"


@pytest.fixture(scope="session", autouse=True)
def _credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.credentials().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = await open_ost(OstSettings(f"file://{tmp_path}/ost"))
    yield store
    await store.close()


@pytest.fixture(params=["directory", "bucket"])
async def ost(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "directory":
        settings = OstSettings(f"file://{tmp_path}/ost")
    else:
        settings = request.getfixturevalue("bucket").settings(BUCKET, uuid.uuid4().hex)
    store = await open_ost(settings)
    yield store
    await store.close()


@pytest.fixture
async def lab(ost: ObjectStore) -> AsyncIterator[GatewayLab]:
    async with GatewayLab(ost) as made:
        yield made


@pytest.fixture
async def streaming(directory: ObjectStore) -> AsyncIterator[GatewayLab]:
    """A gateway before a directory."""
    async with GatewayLab(directory) as made:
        yield made
