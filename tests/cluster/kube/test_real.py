"""A real API server is what our client believes an API server to be."""

from collections.abc import AsyncIterator

import pytest

from lab.kube_suite import KubeSuite
from runabout.kube.connection import connect
from runabout.kube.session import Session


@pytest.fixture
async def session(kubeconfig: str, definitions: None) -> AsyncIterator[Session]:
    del definitions
    async with Session(connect(kubeconfig)) as made:
        yield made


@pytest.fixture
def place(namespace: str) -> str:
    return namespace


class TestReal(KubeSuite):
    pass
