"""Pods are stopped and removed until the API server has taken it, however often it fails first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from fixtures.states import NOW, RUN, created, live, running, task_spec, with_task
from lab.kube_suite import QUICK
from runabout.control.actions import BEGUN_MS, FORCE_MARGIN_MS, RETRY_MS, UNBEGUN_GRACE_SECONDS, Actions
from runabout.control.attempts import Attempt, Creation
from runabout.control.executors import Executors, executor_object
from runabout.control.live import LiveRun
from runabout.control.metrics import Metrics
from runabout.executors.pods import PodDriver
from runabout.executors.state import Machinery
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.records import Reason, Status

POD = f"{RUN}-build-1"
GRACE = 5
RUNNING = {"containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}
TRIES = 4
"""As many as the session itself makes of one request."""
HOUR = 3600
"""Seconds; more patience than the session has for one request."""
LARGE = [{"run": f"true # {number} {'x' * 4000}"} for number in range(20)]
"""Steps whose plan is too large for an annotation of a pod."""
REFUSALS = {
    "409": (Fault("", "", code=409, reason="Conflict"), 0),
    "410": (Fault("", "", code=410, reason="Gone"), 0),
    "429": (Fault("", "", code=429, reason="TooManyRequests", retry_after=HOUR), HOUR),
    "500": (Fault("", ""), 0),
    "503": (Fault("", "", code=503, reason="ServiceUnavailable"), 0),
    "a dropped connection": (Fault("", "", Kind.RESET), 0),
    "an answer that is lost": (Fault("", "", Kind.RESET_AFTER), 0),
}
"""How the API server does not take a request, and for how many seconds it asks for patience."""


@dataclass
class Scene:
    """A run with a pod on the server."""

    fake: FakeKube
    live: LiveRun
    actions: Actions
    time: int = NOW

    @property
    def attempt(self) -> Attempt:
        return self.live.attempts["build"]

    def fail(self, code: int, reason: str = "InternalError") -> None:
        self.refuse("delete", "pods", Fault("", "", code=code, reason=reason))

    def refuse(self, verb: str, plural: str, fault: Fault) -> None:
        self.fake.faults.extend([replace(fault, verb=verb, plural=plural)] * TRIES)

    def deadlines(self) -> list[object]:
        """Return the pods' deadlines in seconds; from now on nothing fails."""
        self.fake.faults.clear()
        return [pod["spec"].get("activeDeadlineSeconds") for pod in self.fake.items("pods")]

    def begin(self) -> None:
        """Show that the main container runs."""
        self.attempt.last = {**(self.attempt.last or {}), "status": {"phase": "Running", **RUNNING}}

    def pods(self) -> int:
        self.fake.faults.clear()
        return len(self.fake.items("pods"))


def spec_of(node: str) -> dict[str, Any]:
    return {"containers": [{"name": "main"}], **({"nodeName": node} if node else {})}


@asynccontextmanager
async def scene(node: str = "", *, grace: int = GRACE, **task: object) -> AsyncIterator[Scene]:
    async with (
        FakeKube() as fake,
        Session(Connection(server=fake.url, ssl=False, authorize=dict), backoff=QUICK) as session,
    ):
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        pod = await fake.put(
            "pods",
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": "ci"}, "spec": spec_of(node)},
        )
        state = with_task(
            running(created(task_spec("build", **task))),
            "build",
            status=Status.RUNNING,
            attempt=1,
            executor="linux",
            pod=POD,
        )
        what = live(state)
        uid = pod["metadata"]["uid"]
        what.attempts["build"] = Attempt(POD, "build", 1, Creation.DONE, NOW, uid=uid, last=pod)
        executors = Executors(toolbox_image="toolbox", toolbox_pull_policy="Never")
        spec = {"archs": ["amd64"], "gracePeriodSeconds": grace}
        executors.put(executor_object({"metadata": {"name": "linux"}, "spec": spec}))
        here = Scene(
            fake,
            what,
            Actions(driver=PodDriver(session), executors=executors, metrics=Metrics(), now=lambda: here.time),
        )
        yield here


@pytest.mark.parametrize("force", [False, True])
async def test_a_removal_that_failed_is_not_done_and_can_be_asked_for_again(force: bool) -> None:
    async with scene() as here:
        here.attempt.force = force
        here.fail(500)
        await here.actions.remove(here.live, [here.attempt])
        assert (here.attempt.removed, here.pods()) == (False, 1)
        await here.actions.remove(here.live, [here.attempt])
        assert (here.attempt.removed, here.pods()) == (True, 0)
        here.attempt.removed = False
        await here.actions.remove(here.live, [here.attempt])
        assert here.attempt.removed


async def test_a_removal_that_is_forbidden_is_not_asked_for_again() -> None:
    async with scene() as here:
        here.fail(403, "Forbidden")
        await here.actions.remove(here.live, [here.attempt])
        assert (here.attempt.removed, here.pods()) == (True, 1)


async def test_the_pod_of_a_stopped_run_is_deleted_at_once_only_if_no_node_has_it() -> None:
    """A pod that a node has may have begun, although we have not seen it yet; a deletion would take its log along."""
    async with scene() as here:
        assert await here.actions.stop(here.live, ["build"]) == NOW + GRACE * 1000 + FORCE_MARGIN_MS
        assert (here.attempt.stop_sent, here.pods()) == (NOW, 0)
    async with scene(node="n1") as here:
        assert await here.actions.stop(here.live, ["build"]) == NOW + BEGUN_MS
        assert (here.attempt.stop_sent, here.pods()) == (NOW, 1)
        [pod] = here.fake.items("pods")
        assert pod["spec"]["activeDeadlineSeconds"] == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stopped_pod_that_has_not_begun_after_a_while_is_deleted(begun: bool) -> None:
    async with scene(node="n1") as here:
        await here.actions.stop(here.live, ["build"])
        if begun:
            here.begin()
        here.time = NOW + BEGUN_MS - 1
        await here.actions.stop(here.live, ["build"])
        assert here.pods() == 1
        here.time = NOW + BEGUN_MS
        here.fail(500)
        again = await here.actions.stop(here.live, ["build"])
        assert here.pods() == 1
        assert again is not None
        here.time = min(again, NOW + GRACE * 1000)
        await here.actions.stop(here.live, ["build"])
        assert here.pods() == begun


@pytest.mark.parametrize(("grace", "given"), [(0, [1]), (3, [3]), (60, [UNBEGUN_GRACE_SECONDS])])
async def test_what_has_not_begun_gets_little_time_to_end_but_is_never_only_forgotten(
    grace: int, given: list[int]
) -> None:
    async with scene(node="n1", grace=grace) as here:
        await here.actions.stop(here.live, ["build"])
        here.time = NOW + BEGUN_MS
        await here.actions.stop(here.live, ["build"])
        assert here.fake.graces == given


@pytest.mark.parametrize(("node", "force"), [("", True), ("node-1", False)])
async def test_the_pod_of_a_lost_attempt_is_asked_to_go_until_it_is_gone_and_forced_only_off_no_node(
    node: str, force: bool
) -> None:
    async with scene(node) as here:
        attempt = here.attempt
        attempt.lost, attempt.cleanup_due = Machinery(Reason.MACHINERY_ERROR, "no toolbox"), NOW
        here.fail(403, "Forbidden")
        await here.actions.remove(here.live, [attempt])
        assert (attempt.removed, attempt.force, here.pods()) == (False, False, 1)
        await here.actions.remove(here.live, [attempt])
        assert (attempt.removed, attempt.force, here.pods()) == (True, force, 0)
        assert attempt.cleanup_due == NOW + GRACE * 1000 + FORCE_MARGIN_MS
        assert not attempt.gone
        await here.actions.remove(here.live, [attempt])
        assert attempt.gone


async def test_a_pod_that_does_not_end_is_removed_by_force_when_the_server_answers_again() -> None:
    async with scene() as here:
        here.begin()
        here.attempt.stop_sent = NOW
        due = NOW + GRACE * 1000 + FORCE_MARGIN_MS
        assert await here.actions.stop(here.live, ["build"]) == due
        assert here.pods() == 1
        here.time = due
        here.fail(503)
        again = await here.actions.stop(here.live, ["build"])
        assert again is not None
        assert due < again < due + FORCE_MARGIN_MS
        assert here.pods() == 1
        here.time = again
        await here.actions.stop(here.live, ["build"])
        assert here.pods() == 0


@pytest.mark.parametrize(("fault", "patience"), REFUSALS.values(), ids=REFUSALS)
async def test_a_stop_that_is_not_taken_is_not_done_and_is_asked_for_again(fault: Fault, patience: int) -> None:
    async with scene(node="n1") as here:
        here.begin()
        here.refuse("patch", "pods", fault)
        again = await here.actions.stop(here.live, ["build"])
        assert again == NOW + max(RETRY_MS[0], patience * 1000)
        assert (here.attempt.stop_sent, here.attempt.gone) == (None, False)
        assert here.deadlines() == [1 if fault.kind is Kind.RESET_AFTER else None]
        here.time = again
        await here.actions.stop(here.live, ["build"])
        assert (here.attempt.stop_sent, here.deadlines()) == (again, [1])
        assert here.fake.requests["delete", "pods"] == 0  # its log would go along


async def test_a_pod_whose_deadline_cannot_be_set_is_deleted_instead() -> None:
    """A pod's own deadline can only be shortened, and never set once it is over."""
    async with scene(node="n1") as here:
        here.begin()
        here.refuse("patch", "pods", Fault("", "", code=422, reason="Invalid"))
        await here.actions.stop(here.live, ["build"])
        assert (here.attempt.stop_sent, here.pods()) == (NOW, 0)


@pytest.mark.parametrize(("fault", "patience"), REFUSALS.values(), ids=REFUSALS)
async def test_a_pod_with_a_large_plan_waits_for_its_config_map_and_both_are_made_once(
    fault: Fault, patience: int
) -> None:
    async with scene(steps=LARGE) as here:
        here.fake.stores["pods"].objects.clear()
        here.attempt.creation, here.attempt.uid = Creation.WANTED, None
        here.refuse("create", "configmaps", fault)
        await here.actions.create(here.live)
        assert (here.attempt.creation, here.attempt.invalid) == (Creation.WANTED, "")
        assert here.attempt.refused
        assert here.attempt.next_try == NOW + max(RETRY_MS[0], patience * 1000)
        assert here.pods() == 0
        await here.actions.create(here.live)
        assert here.pods() == 0  # too early
        here.time = here.attempt.next_try
        await here.actions.create(here.live)
        assert (here.attempt.creation, here.attempt.refused, here.pods()) == (Creation.DONE, "", 1)
        assert here.fake.created == {("configmaps", POD): 1, ("pods", POD): 1}


async def test_a_config_map_that_can_never_be_accepted_is_the_tasks_own_failure() -> None:
    async with scene(steps=LARGE) as here:
        here.fake.stores["pods"].objects.clear()
        here.attempt.creation, here.attempt.uid = Creation.WANTED, None
        here.refuse("create", "configmaps", Fault("", "", code=422, reason="Invalid"))
        await here.actions.create(here.live)
        assert here.attempt.invalid == "a fault that was asked for"
        assert here.pods() == 0
