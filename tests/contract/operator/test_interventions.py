"""What people and the cluster do to a run on its way arrives, whatever the API server does: the whole operator."""

import asyncio
from collections.abc import Sequence

import pytest

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import CONFLICT, EXPIRED, INVALID, LASTS, NAMESPACE, OUTPUT, PATIENCE, Bench, Obj, several, task

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SECONDS = 120


def break_off(bench: Bench, faults: Sequence[Fault]) -> None:
    """Have these faults come, at once where they are of watches."""
    bench.fake.faults.extend(faults)
    bench.fake.cut({fault.plural for fault in faults if fault.verb == "watch"})


async def ended(bench: Bench, name: str) -> Obj:
    """Return a run's status at its end, when all faults have come and the operator has done another run."""
    await until(lambda: bench.status(name).get("phase") == "finished", seconds=SECONDS)
    await until(lambda: not bench.fake.faults, seconds=SECONDS)
    await bench.create(f"{name}-after", {"tasks": []})
    await until(lambda: bench.status(f"{name}-after").get("phase") == "finished", seconds=SECONDS)
    assert set(bench.fake.created.values()) <= {1}
    return bench.status(name)


RUNS_LOST = [*several("watch", "runs", EXPIRED), *several("list", "runs", 500, Kind.RESET, PATIENCE)]
STOPS: dict[str, Sequence[Fault]] = {
    "nothing": (),
    "the watch of Runs breaks": several("watch", "runs", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the list of Runs fails": RUNS_LOST,
    "a stop conflicts": several("patch", "pods", CONFLICT, CONFLICT),
    "a stop is answered with 410": several("patch", "pods", *[EXPIRED] * 5),
    "a stop has to wait": several("patch", "pods", PATIENCE, PATIENCE),
    "a stop fails": several("patch", "pods", *[500] * 5),
    "a stop breaks off before it": several("patch", "pods", *[Kind.RESET] * 5),
    "a stop breaks off after it": several("patch", "pods", Kind.RESET_AFTER),
    "a stop fails after it": several("patch", "pods", Kind.ANSWER_AFTER),
    "a stop is impossible": several("patch", "pods", INVALID),
    "a stop is impossible and its deletion fails": [
        *several("patch", "pods", *[INVALID] * 3),
        *several("delete", "pods", CONFLICT, PATIENCE, *[500] * 4, Kind.RESET),
    ],
    "the status is not taken": several("apply", "runs", *[500] * 6, CONFLICT, PATIENCE, Kind.RESET),
}


@pytest.mark.parametrize("faults", STOPS.values(), ids=STOPS)
async def test_a_run_that_is_stopped_ends_so_and_keeps_its_log(
    bench: Bench, name: str, faults: Sequence[Fault]
) -> None:
    logs = bench.fake.requests["get", "pods"]
    await bench.create(
        name, {"group": f"/test/{name}", "tasks": [task(LASTS), task("after", depends=[{"task": LASTS}])]}
    )
    await until(lambda: bench.fake.requests["get", "pods"] > logs, seconds=SECONDS)  # what is seen to run is followed
    break_off(bench, faults)
    await bench.change(name, stop=True)
    status = await ended(bench, name)
    assert status["result"] == "stopped", status
    assert (status["tasks"]["stopped"], status["tasks"]["skipped"]) == (1, 1), status
    assert bench.log(status["id"], LASTS, 1).startswith(OUTPUT)
    assert not {"Running", "Pending"} & set(phases(bench, name))


def phases(bench: Bench, name: str) -> list[str]:
    """Return the phases of a run's pods."""
    run = bench.status(name).get("id", "none")
    return [
        pod.get("status", {}).get("phase", "Pending")
        for pod in bench.fake.items("pods")
        if pod["metadata"]["name"].startswith(f"{run}-")
    ]


APPROVALS: dict[str, Sequence[Fault]] = {
    "nothing": (),
    "the watch of Runs breaks": several("watch", "runs", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the list of Runs fails": RUNS_LOST,
    "the pod's creation fails": several("create", "pods", CONFLICT, Kind.RESET_AFTER),
    "the status is not taken": several("apply", "runs", *[500] * 6, CONFLICT, PATIENCE, Kind.RESET),
}


@pytest.mark.parametrize("faults", APPROVALS.values(), ids=APPROVALS)
async def test_a_task_waits_for_its_approval_and_starts_with_it(
    bench: Bench, name: str, faults: Sequence[Fault]
) -> None:
    tasks = [task("build"), task("release", needsApproval=True, depends=[{"task": "build"}])]
    await bench.create(name, {"group": f"/test/{name}", "tasks": tasks})
    await until(lambda: bench.status(name).get("tasks", {}).get("success") == 1, seconds=SECONDS)
    await until(lambda: bench.status(name).get("tasks", {}).get("waiting") == 1, seconds=SECONDS)
    break_off(bench, faults)
    assert len(phases(bench, name)) == 1
    await bench.change(name, approvals=[{"task": "release", "by": "anna"}])
    status = await ended(bench, name)
    assert (status["result"], status["tasks"]["success"]) == ("success", 2), status


async def test_the_word_of_somebody_else_does_not_count_and_that_is_said_until_the_right_one_comes(
    bench: Bench, name: str
) -> None:
    approvers = {"min": 1, "users": ["anna"], "groups": ["release"]}
    tasks = [task("release", needsApproval=True, approvers=approvers), task("other")]
    await bench.create(name, {"group": f"/test/{name}", "tasks": tasks})
    await until(lambda: bench.status(name).get("tasks", {}).get("waiting") == 1, seconds=SECONDS)
    [row] = bench.status(name)["notable"]
    assert row["message"].startswith("waits for an approval of anna or group release since 20"), row
    wrong = [{"task": "release", "by": "eve", "verdict": "refused"}, {"task": "other", "by": "anna"}]
    await bench.change(name, approvals=wrong)
    await until(lambda: said_of_approvals(bench, name) != "", seconds=SECONDS)
    assert said_of_approvals(bench, name) == (
        "eve is not among the approvers of release (anna or group release), and the approval names no group; "
        "other needs no approval"
    )
    assert bench.status(name)["tasks"]["waiting"] == 1
    await bench.change(name, approvals=[*wrong, {"task": "release", "by": "bob", "groups": ["qa", "release"]}])
    status = await ended(bench, name)
    assert (status["result"], status["tasks"]["success"]) == ("success", 2), status
    assert said_of_approvals(bench, name) == "other needs no approval"


async def test_a_refusal_by_an_approver_fails_the_task_although_others_have_approved(bench: Bench, name: str) -> None:
    tasks = [
        task("release", needsApproval=True, approvers={"min": 3}),
        task("tell", depends=[{"task": "release", "conditions": ["on_failure"]}]),
    ]
    yes = [{"task": "release", "by": by} for by in ("anna", "bob")]
    await bench.create(name, {"group": f"/test/{name}", "tasks": tasks, "approvals": yes})
    await until(lambda: bool(bench.status(name).get("notable")), seconds=SECONDS)
    assert bench.status(name)["notable"][0]["message"].endswith(": 2 so far (anna and bob)")
    await bench.change(name, approvals=[*yes, {"task": "release", "by": "eve", "verdict": "refused"}])
    status = await ended(bench, name)
    assert (status["result"], status["tasks"]["failed"], status["tasks"]["success"]) == ("failed", 1, 1), status
    row = status["notable"][0]
    assert (row["reason"], row["message"]) == ("Refused", "refused by eve")


def said_of_approvals(bench: Bench, name: str) -> str:
    """Return what a run says of approvals without effect, nothing if all have one."""
    rows = [row for row in bench.status(name).get("conditions", []) if row["type"] == "ApprovalsValid"]
    return str(rows[0]["message"]) if rows else ""


GOING: dict[str, Sequence[Fault]] = {
    "nothing": (),
    "it conflicts": several("delete", "runs", CONFLICT, CONFLICT),
    "it is answered with 410": several("delete", "runs", *[EXPIRED] * 5),
    "it has to wait": several("delete", "runs", PATIENCE),
    "it fails": several("delete", "runs", *[500] * 5),
    "it breaks off before it": several("delete", "runs", *[Kind.RESET] * 5),
    "it breaks off after it": several("delete", "runs", Kind.RESET_AFTER),
    "it fails after it": several("delete", "runs", Kind.ANSWER_AFTER),
}


@pytest.mark.parametrize("faults", GOING.values(), ids=GOING)
async def test_a_run_goes_when_its_time_to_live_is_over(bench: Bench, name: str, faults: Sequence[Fault]) -> None:
    break_off(bench, faults)
    await bench.create(name, {"group": f"/test/{name}", "tasks": [task("a")], "ttlSecondsAfterFinished": 1})
    seen = set[object]()

    def gone() -> bool:
        found = [item for item in bench.fake.items("runs") if item["metadata"]["name"] == name]
        seen.update(item.get("status", {}).get("result") for item in found)
        return not found

    await until(gone, seconds=SECONDS)
    assert "success" in seen
    await until(lambda: not bench.fake.faults, seconds=SECONDS)
    await bench.create(f"{name}-after", {"tasks": []})
    await until(lambda: bench.status(f"{name}-after").get("phase") == "finished", seconds=SECONDS)


ARCHS = {"nodes": "s390x", "namespaces": "riscv64", "executors": "ppc64le"}


@pytest.mark.parametrize("broken", ["watch", "list"])
@pytest.mark.parametrize("late", ARCHS)
async def test_what_comes_while_it_cannot_be_seen_is_seen_afterwards(
    bench: Bench, name: str, late: str, broken: str
) -> None:
    """A task waits for an executor, its node and the label of its namespace; one of them comes during the faults."""
    arch, mark = f"{ARCHS[late]}{broken}", f"{late}-{broken}"
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    [namespace] = [item for item in bench.fake.items("namespaces") if item["metadata"]["name"] == NAMESPACE]
    namespace["metadata"].setdefault("labels", {})[mark] = "yes"
    objects: dict[str, Obj] = {
        "nodes": {"metadata": {"name": mark, "labels": {"kubernetes.io/arch": arch}}, "status": ready},
        "namespaces": namespace,
        "executors": {
            "metadata": {"name": mark, "generation": 1},
            "spec": {"archs": [arch], "requireNodes": True, "namespaceSelector": {"matchLabels": {mark: "yes"}}},
        },
    }
    for plural in sorted(set(objects) - {late}):
        await bench.fake.put(plural, objects[plural])
    await bench.create(name, {"group": f"/test/{name}", "tasks": [task("a", arch=arch)]})
    await until(lambda: bench.status(name).get("tasks", {}).get("waiting") == 1, seconds=SECONDS)
    if broken == "watch":
        break_off(bench, several("watch", late, Kind.RESET, 500, EXPIRED, Kind.HALF_LINE))
    else:
        break_off(bench, [*several("watch", late, EXPIRED), *several("list", late, 500, Kind.RESET, PATIENCE)])
    await bench.fake.put(late, objects[late])
    status = await ended(bench, name)
    assert status["result"] == "success", status


async def test_an_operator_begins_although_nothing_can_be_listed_or_watched_at_first(bench: Bench, name: str) -> None:
    await bench.create(name, {"tasks": [task("a", needsApproval=True)]})
    await until(lambda: bench.status(name).get("tasks", {}).get("waiting") == 1, seconds=SECONDS)
    await asyncio.to_thread(bench.operator.terminate)
    await bench.change(name, approvals=[{"task": "a", "by": "anna"}])
    for plural in ("runs", "executors", "pods", "nodes", "namespaces"):
        bench.fake.faults.extend(several("list", plural, 500, Kind.RESET, PATIENCE))
        bench.fake.faults.extend(several("watch", plural, Kind.RESET, 500, EXPIRED, PATIENCE))
    await asyncio.to_thread(bench.operator.start)
    status = await ended(bench, name)
    assert status["result"] == "success", status
