"""Pods that no attempt stands behind are removed, and no others; with a store, and an API server on the loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube, Fault
from fixtures.states import RUN, created, running, task_spec, with_task
from runabout.control.ledger import Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.strays import Strays
from runabout.datamanager import open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.executors.names import PodKey, labels, pod_name
from runabout.executors.pods import PodDriver
from runabout.executors.trim import trim_pod
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.records import RunId, Status

ENDED = {"exitCode": 0, "finishedAt": "2026-01-01T00:00:00Z"}
TRIES = 4
"""Of one request by the session."""


@dataclass
class Scene:
    """Attempt 2 of task `build` is on an executor, task `test` is over, both in the store."""

    fake: FakeKube
    strays: Strays
    metrics: Metrics
    in_hand: set[PodKey]

    async def pod(
        self,
        task: str,
        attempt: int,
        *,
        run: str = RUN,
        phase: str = "Running",
        state: dict[str, Any] | None = None,
        **metadata: object,
    ) -> PodKey:
        key = PodKey(RunId(run), task, attempt)
        body = {
            "metadata": {
                "name": pod_name(key),
                "namespace": "ci",
                "labels": labels(key, run_name="web-118"),
                **metadata,
            },
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": state or {"running": {}}}]},
        }
        await self.fake.put("pods", body)
        return key

    async def left(self) -> list[str]:
        await self.strays.sweep()
        return [item["metadata"]["name"] for item in self.fake.items("pods")]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with FakeKube() as fake, Session(Connection(server=fake.url, ssl=False, authorize=dict)) as session:
        store = await open_store(MemoryEtcd())
        state = running(created(task_spec("build"), task_spec("test")))
        state = with_task(state, "build", status=Status.RUNNING, attempt=2, executor="linux", pod="p")
        state = with_task(state, "test", status=Status.STOPPED, attempt=1)
        ledger, metrics, in_hand = Ledger(store), Metrics(), set[PodKey]()
        await ledger.commit(Change(state.run, tuple(state.tasks.values()), (), state.config))
        strays = Strays(
            pods=lambda: iter([trim_pod(item) for item in fake.items("pods")]),
            in_hand=in_hand.__contains__,
            ledger=ledger,
            driver=PodDriver(session),
            metrics=metrics,
        )
        yield Scene(fake, strays, metrics, in_hand)
        await store.close()


@pytest.mark.parametrize(("task", "attempt"), [("build", 1), ("test", 1)], ids=["given up", "over"])
@pytest.mark.parametrize("phase", ["Pending", "Running"])
async def test_a_pod_whose_attempt_is_over_is_removed(task: str, attempt: int, phase: str) -> None:
    async with scene() as here:
        await here.pod(task, attempt, phase=phase)
        assert await here.left() == []
        assert here.metrics.registry.get_sample_value("runabout_strays_removed_total") == 1


async def test_a_removal_that_failed_is_tried_the_next_time() -> None:
    async with scene() as here:
        await here.pod("build", 1)
        here.fake.faults.extend([Fault("delete", "pods", code=500)] * TRIES)
        assert len(await here.left()) == 1
        assert here.metrics.registry.get_sample_value("runabout_strays_removed_total") == 0
        assert await here.left() == []


async def test_all_other_pods_are_left_alone() -> None:
    async with scene() as here:
        await here.pod("build", 2)
        await here.pod("build", 3)
        await here.pod("build", 1, phase="Succeeded")
        await here.pod("test", 1, state={"terminated": ENDED})
        await here.pod("unknown", 1)
        await here.pod("build", 1, run="1il7g1c000002")
        assert len(await here.left()) == 6


async def test_a_pod_that_is_taken_care_of_or_goes_already_is_left_alone() -> None:
    async with scene() as here:
        here.in_hand.add(await here.pod("build", 1))
        await here.pod("test", 1, deletionTimestamp="2026-01-01T00:00:00Z")
        assert len(await here.left()) == 2
