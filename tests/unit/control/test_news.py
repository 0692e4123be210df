"""What is seen, and who is looked at because of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from runabout.control.executors import Executors
from runabout.control.news import ARRIVAL_SECONDS, News, trim_node
from runabout.control.objects import RunObjects, Uid
from runabout.control.order import Order
from runabout.control.queue import WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.strays import Strays

pytestmark = pytest.mark.looptime


def never() -> float:
    return 0.0


@dataclass
class Scene:
    objects: RunObjects = field(default_factory=RunObjects)
    queue: WorkQueue[Uid] = field(default_factory=lambda: WorkQueue(clock=never))
    executors: Executors = field(default_factory=lambda: Executors(toolbox_image="t", toolbox_pull_policy="Never"))

    @property
    def news(self) -> News:
        order = Order(executors=self.executors, wake=self.queue.add, now=lambda: 0)
        return News(objects=self.objects, queue=self.queue, executors=self.executors, order=order)

    def seen(self, *, deleted: bool = False, version: str = "1", **metadata: Any) -> bool:  # noqa: ANN401 - JSON
        """Show a Run; return whether it will be looked at."""
        self.queue = WorkQueue(clock=never)
        body = {"metadata": {"uid": "u1", "resourceVersion": version, "generation": 1, **metadata}, "spec": {}}
        self.news.run_seen(body, deleted=deleted)
        return len(self.queue) > 0


async def test_a_run_is_looked_at_when_it_comes_changes_or_goes_and_not_for_our_own_writes() -> None:
    here = Scene()
    assert here.seen()
    assert not here.seen(version="2", finalizers=["runabout.dev/record"])
    assert here.seen(version="3", generation=2)
    assert here.seen(version="4", generation=2, deletionTimestamp="2026-01-01T00:00:00Z")
    assert not here.seen(version="5", generation=2, deletionTimestamp="2026-01-01T00:00:00Z")
    assert here.seen(version="6", deleted=True)
    assert len(here.objects) == 0


async def test_runs_that_a_gap_of_the_watch_hid_arrive_in_the_order_in_which_they_were_created() -> None:
    here = Scene()
    news = here.news

    def body(name: str, second: int, generation: int = 1) -> dict[str, Any]:
        created = f"2026-01-01T00:00:{second:02}Z"
        return {
            "metadata": {"uid": name, "name": name, "creationTimestamp": created, "generation": generation},
            "spec": {},
        }

    for name, second in (("a", 9), ("b", 3), ("c", 5), ("d", 3), ("gone", 1)):
        news.run_listed(body(name, second))
        await asyncio.sleep(ARRIVAL_SECONDS / 2)
    news.run_seen(body("c", 5, generation=2), deleted=False)
    news.run_seen(body("gone", 1), deleted=True)
    assert list(here.objects.uids()) == []
    await asyncio.sleep(ARRIVAL_SECONDS)
    assert list(here.objects.uids()) == ["b", "d", "c", "a"]
    found = here.objects.get(Uid("c"))
    assert found is not None
    assert found.generation == 2
    assert len(here.queue) == 5


async def test_a_listing_says_nothing_new_of_runs_that_are_known() -> None:
    here = Scene()
    assert here.seen()
    here.queue = WorkQueue(clock=never)
    here.news.run_listed({"metadata": {"uid": "u1", "resourceVersion": "1", "generation": 1}, "spec": {}})
    assert len(here.queue) == 0


async def test_the_end_of_an_executor_says_nothing_about_the_next_one_of_its_name() -> None:
    here = Scene()

    def executor(uid: str) -> dict[str, Any]:
        return {"metadata": {"name": "linux", "uid": uid, "generation": 1}, "spec": {"archs": ["amd64"]}}

    here.news.executor_seen(executor("old"), deleted=False)
    here.news.executor_seen(executor("new"), deleted=False)
    here.news.executor_seen(executor("old"), deleted=True)
    assert here.executors.get("linux").uid == "new"
    here.news.executor_seen(executor("new"), deleted=True)
    assert here.executors.get("linux").spec is None


@pytest.mark.parametrize(
    ("spec", "conditions", "counted"),
    [
        ({}, [{"type": "Ready", "status": "True"}], 1),
        ({}, [{"type": "Ready", "status": "Unknown"}], 0),
        ({}, [], 0),
        ({"unschedulable": True}, [{"type": "Ready", "status": "True"}], 0),
    ],
)
async def test_a_node_counts_while_it_is_ready_and_takes_pods(
    spec: dict[str, object], conditions: list[object], counted: int
) -> None:
    here = Scene()
    node = {
        "metadata": {"name": "n1", "labels": {"kubernetes.io/arch": "arm64"}},
        "spec": spec,
        "status": {"conditions": conditions},
    }
    here.news.node_changed(None, trim_node(node))
    assert here.executors.nodes("arm64") == counted
    here.news.node_changed(trim_node(node), None)
    assert here.executors.nodes("arm64") == 0


async def test_news_of_pods_before_anybody_works_are_no_trouble() -> None:
    here = Scene()
    labels = {"app.kubernetes.io/managed-by": "runabout", "runabout.dev/run-id": "1il7g1c000001"}
    here.news.pod_changed(None, {"metadata": {"labels": {**labels, "runabout.dev/task": "a"}}})
    await asyncio.sleep(0)
    assert len(here.queue) == 0


LABELS = {
    "app.kubernetes.io/managed-by": "runabout",
    "runabout.dev/run-id": "1il7g1c000001",
    "runabout.dev/task": "a",
    "runabout.dev/attempt": "1",
}


class Known:
    """Knows every run, and strays."""

    def uid_of(self, run: str) -> Uid:
        return Uid(f"uid of {run}")

    def heard(self, uid: Uid) -> None:
        """Nothing is measured here."""

    def appeared(self, pod: object) -> None:
        """It is nobody's stray."""


BEGINNINGS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("created", {}, {"phase": "Pending"}, True),
    ("bound", {}, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}, True),
    ("cannot be bound", {}, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}, False),
    ("a node has begun", {}, {"phase": "Pending", "initContainerStatuses": [{"name": "toolbox"}]}, False),
    ("a node says of its container", {}, {"phase": "Pending", "containerStatuses": [{"name": "main"}]}, False),
    ("being deleted", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"phase": "Pending"}, False),
    ("running", {}, {"phase": "Running"}, False),
    ("failed", {}, {"phase": "Failed"}, False),
]


@pytest.mark.parametrize(
    ("metadata", "status", "later"), [row[1:] for row in BEGINNINGS], ids=[row[0] for row in BEGINNINGS]
)
async def test_a_pod_of_which_nothing_can_be_said_yet_is_looked_at_a_little_later(
    metadata: dict[str, Any], status: dict[str, Any], later: bool
) -> None:
    here = Scene()
    news = here.news
    news.attach(reconciler=cast("Reconciler", Known()), strays=cast("Strays", Known()))
    news.pod_changed(None, {"metadata": {"name": "p", "labels": LABELS, **metadata}, "status": status})
    assert (here.queue.delayed, len(here.queue)) == ((1, 0) if later else (0, 1))


@pytest.mark.parametrize(
    ("pod", "first"),
    [
        ({"status": {"phase": "Succeeded"}}, True),
        ({"status": {"phase": "Failed"}}, True),
        (None, True),
        ({"status": {"phase": "Running"}}, False),
    ],
    ids=["succeeded", "failed", "gone", "running"],
)
async def test_the_run_of_a_pod_that_has_ended_is_looked_at_before_others(
    pod: dict[str, Any] | None, first: bool
) -> None:
    here = Scene()
    news = here.news
    news.attach(reconciler=cast("Reconciler", Known()), strays=cast("Strays", Known()))
    here.queue.add(Uid("another"))
    named = {"metadata": {"name": "p", "labels": LABELS}}
    news.pod_changed(named, None if pod is None else {**named, **pod})
    seen: list[Uid] = []

    async def handle(uid: Uid) -> None:
        seen.append(uid)
        here.queue.close()

    await here.queue.work(handle, workers=1, on_error=lambda _uid, _error: None)
    assert (seen[0] != "another") is first
