"""A stop at each moment of a pod's life: what is asked of the API server, when, and when the task is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import NOW
from lab.kube_suite import QUICK
from lab.observed import PLACED, POD, RUNS, UNPLACED, Scene, ended, pod, scene, time
from runabout.control.actions import BEGUN_MS, FORCE_MARGIN_MS, Actions
from runabout.control.attempts import Creation
from runabout.control.executors import Executors, executor_object
from runabout.control.metrics import Metrics
from runabout.executors.pods import PodDriver
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.records import Reason, Status

FORCED = NOW + 30_000 + FORCE_MARGIN_MS
SERVICE = {"name": "db", "started": False, "state": {"running": {"startedAt": time(NOW)}}}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
INITIALIZING = {"waiting": {"reason": "PodInitializing"}}
UNSEEN: dict[str, Any] = {}


@dataclass
class Stopping:
    """A run that is being stopped, with the pod of its task on a server."""

    scene: Scene
    fake: FakeKube
    actions: Actions
    now: int = NOW

    async def step(self, shown: dict[str, Any] | None, *, at: int) -> Status | None:
        """Do what a pass does; return the status of the task if it has ended by it."""
        self.now = at
        found = self.scene.look(shown, at=at, stop=True)
        if "build" in found.ended:
            return found.ended["build"].status
        await self.actions.stop(self.scene.live, ["build"])
        return None

    @property
    def asked(self) -> tuple[int, int]:
        """How often a deadline was set, and a deletion asked for."""
        return self.fake.requests["patch", "pods"], self.fake.requests["delete", "pods"]


@asynccontextmanager
async def stopping(shown: dict[str, Any], creation: Creation = Creation.DONE) -> AsyncIterator[Stopping]:
    async with (
        FakeKube() as fake,
        Session(Connection(server=fake.url, ssl=False, authorize=dict), backoff=QUICK) as session,
        scene(creation=creation, services={"db": [b""]}) as here,
    ):
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        if creation is Creation.DONE:
            body = shown or pod("Pending")
            made = await fake.put("pods", {**body, "metadata": {"name": POD, "namespace": "ci"}})
            uid = made["metadata"]["uid"]
            here.attempt.uid = uid
            if shown:
                shown = {**shown, "metadata": {**shown["metadata"], "uid": uid}}
                here.look(shown)
        executors = Executors(toolbox_image="toolbox", toolbox_pull_policy="Never")
        executors.put(executor_object({"metadata": {"name": "linux"}, "spec": {"archs": ["amd64"]}}))
        made_of = Stopping(
            here,
            fake,
            Actions(driver=PodDriver(session), executors=executors, metrics=Metrics(), now=lambda: made_of.now),
        )
        yield made_of


@pytest.mark.parametrize(
    ("shown", "at_once", "soon", "by_force"),
    [
        (UNSEEN, (1, 0), (1, 1), None),
        ({**UNPLACED, "spec": {}}, (0, 1), None, None),
        (pod("Pending", PULLING, **PLACED), (1, 0), (1, 1), None),
        (pod("Pending", INITIALIZING, **PLACED), (1, 0), (1, 1), None),
        (pod("Pending", INITIALIZING, initContainerStatuses=[SERVICE], **PLACED), (1, 0), (1, 1), None),
        (RUNS, (1, 0), (1, 0), (1, 1)),
    ],
    ids=["created and not seen", "without a node", "pulling", "starting", "waiting for a service", "in a step"],
)
async def test_a_pod_is_ended_gracefully_where_steps_may_run_and_by_force_in_the_end(
    shown: dict[str, Any],
    at_once: tuple[int, int],
    soon: tuple[int, int] | None,
    by_force: tuple[int, int] | None,
) -> None:
    """Each pair: how often a deadline was set, which keeps pod and log, and how often a deletion was asked for."""
    async with stopping(shown) as here:
        assert await here.step(None, at=NOW) is None
        assert here.asked == at_once
        if soon is not None:
            assert await here.step(None, at=NOW + BEGUN_MS) is None
            assert here.asked == soon
        if by_force is not None:
            assert await here.step(None, at=FORCED) is None
            assert here.asked == by_force
        assert here.fake.items("pods") == []
        if shown:
            assert await here.step({}, at=here.now + 1) is Status.STOPPED


async def test_a_task_whose_pod_is_not_created_yet_is_stopped_without_one() -> None:
    async with stopping(UNSEEN, Creation.WANTED) as here:
        assert await here.step(None, at=NOW) is Status.STOPPED
        assert here.asked == (0, 0)


async def test_a_task_whose_steps_are_over_ends_as_they_did_while_its_services_are_being_ended() -> None:
    service = {**SERVICE, "started": True}
    async with stopping(ended(initContainerStatuses=[service])) as here:
        assert await here.step(None, at=NOW) is Status.SUCCESS
        assert here.asked == (0, 0)


async def test_a_stop_is_seen_while_it_lasts() -> None:
    async with stopping(RUNS) as here:
        await here.step(None, at=NOW)
        found = here.scene.look(at=NOW + 500, stop=True)
        wait = found.waits["build"]
        assert (wait.reason, wait.since) == (Reason.STOPPING, NOW)
