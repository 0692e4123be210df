"""The cluster that is up, and a namespace with a bench for task pods in it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lab.taskpods import SETTINGS, Lab
from runabout.executors.pods import PodDriver
from runabout.kube.connection import connect
from runabout.kube.objects import CONFIG_MAPS, NAMESPACES
from runabout.kube.session import Session


@pytest.fixture
async def session(kubeconfig: str) -> AsyncIterator[Session]:
    async with Session(connect(kubeconfig)) as opened:
        yield opened


@pytest.fixture
async def lab(session: Session, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A namespace of the test's own; `restricted` as parameter has it enforce Pod Security `restricted`."""
    restricted = getattr(request, "param", "") == "restricted"
    name = f"pods-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"} if restricted else {}
    await session.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    )
    try:
        owner = await session.create(
            CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}, namespace=name
        )
        yield Lab(session, PodDriver(session), name, owner, replace(SETTINGS, restricted=restricted))
    finally:
        await session.delete(NAMESPACES, name)
