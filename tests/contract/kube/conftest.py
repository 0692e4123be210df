"""The fake API server, and our client of it."""

from collections.abc import AsyncIterator

import pytest

from fixtures.fake_kube import FakeKube
from lab.kube_suite import QUICK
from runabout.kube.connection import Connection
from runabout.kube.session import Session


@pytest.fixture
async def fake() -> AsyncIterator[FakeKube]:
    async with FakeKube() as server:
        await server.put("namespaces", {"metadata": {"name": "test"}})
        yield server


@pytest.fixture
async def session(fake: FakeKube) -> AsyncIterator[Session]:
    async with Session(Connection(server=fake.url, ssl=False, authorize=dict), backoff=QUICK) as made:
        yield made


@pytest.fixture
def place(fake: FakeKube) -> str:
    del fake
    return "test"
