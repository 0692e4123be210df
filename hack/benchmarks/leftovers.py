"""What a measurement leaves in the cluster, and its removal; and whether somebody else works there.

What always holds: only namespaces named bench-… and the Executor `bench` are touched.
"""

import asyncio
import contextlib
from collections.abc import Callable

from benchmarks import loads
from localcluster.console import LocalClusterError
from runabout.kube.errors import ConflictError, NotFoundError
from runabout.kube.objects import EXECUTORS, NAMESPACES, RUNS, metadata, text
from runabout.kube.session import Session

EXECUTOR = "bench"
PROBE = "bench-probe"
SPACES = (PROBE, "bench-bare", "bench-one", "bench-diamonds", "bench-idle", "bench-tasks")
GONE_SECONDS = 300
NOTICED_SECONDS = 2.0
"""An operator at work has put its finalizer on a new Run, or given it a status, long before."""


async def refuse_company(session: Session) -> None:
    """Make sure that nobody executes the Runs of this cluster: two operators would both execute those of a benchmark.

    Raises:
        LocalClusterError: an operator is at work.
    """
    await gone(session, PROBE)
    await loads.namespace(session, PROBE)
    body = loads.run("probe", loads.ONE)
    await session.create(RUNS, {**body, "spec": {"suspend": True, "tasks": []}}, namespace=PROBE)
    try:
        async with asyncio.timeout(NOTICED_SECONDS):
            while True:
                seen = await session.get(RUNS, "probe", namespace=PROBE)
                if metadata(seen).get("finalizers") or seen.get("status"):
                    break
                await asyncio.sleep(0.1)
    except TimeoutError:
        await gone(session, PROBE)
        return
    raise LocalClusterError(
        "another operator executes the Runs of this cluster, and would execute the benchmark's, too",
        "Stop it first, or measure on a cluster of its own.",
    )


async def remove(session: Session, say: Callable[[str], None]) -> None:
    """Remove what this measurement, or one that was killed, has left; the operator has ended before."""
    with contextlib.suppress(NotFoundError):
        await session.delete(EXECUTORS, EXECUTOR)
    for name in SPACES:
        try:
            await session.get(NAMESPACES, name)
        except NotFoundError:
            continue
        say(f"removing namespace {name} …")
        await _release(session, name)
        await gone(session, name)


async def _release(session: Session, namespace: str) -> None:
    """Take the finalizers off all Runs: whoever put them on has ended."""
    token = ""
    while True:
        items, _, token = await session.list(RUNS, namespace=namespace, token=token)
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(_release_one(session, namespace, text(metadata(item), "name")))
        if not token:
            return


async def _release_one(session: Session, namespace: str, name: str) -> None:
    with contextlib.suppress(NotFoundError):
        await session.patch(RUNS, name, {"metadata": {"finalizers": None}}, namespace=namespace)


async def gone(session: Session, name: str) -> None:
    """Delete a namespace and wait until it is gone."""
    async with asyncio.timeout(GONE_SECONDS):
        while True:
            try:
                with contextlib.suppress(ConflictError):  # it is being deleted
                    await session.delete(NAMESPACES, name)
                await session.get(NAMESPACES, name)
            except NotFoundError:
                return
            await asyncio.sleep(0.5)
