"""The etcds that stores are tested on; each test gets a store number of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from fixtures.etcd_server import EtcdServer
from lab.etcds import GrpcLab, Lab, MemoryLab
from lab.stores import Stores


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd"), fsync=False) as started:
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
