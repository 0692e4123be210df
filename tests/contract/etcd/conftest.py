"""The servers that the contract is tested on; each test gets a range of keys of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from lab.etcds import FileLab, GrpcLab, Lab, MemoryLab, Space


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd"), fsync=False) as started:
        yield started


@pytest.fixture(params=["memory", "file", "etcd"])
async def space(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Space]:
    lab: Lab
    if request.param == "memory":
        lab = MemoryLab()
    elif request.param == "file":
        lab = FileLab(tmp_path / "log")
    else:
        server = request.getfixturevalue("server")
        assert isinstance(server, EtcdServer)
        lab = GrpcLab(server.endpoint)
    async with lab:
        yield Space(lab, uuid.uuid4().hex.encode() + b"/")
