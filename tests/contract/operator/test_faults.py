"""The whole operator, as a process, on an API server that fails in every way; etcd is real, the kubelet is played.

Runs end as the engine says, no attempt's pod is created twice, nothing is left behind, and requests stay bounded.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from fixtures.fake_kube import Fault, Kind
from lab.kube_suite import until
from lab.played import CONFLICT, EXPIRED, OUTPUT, PATIENCE, Bench, played, several
from runabout.executors.names import parse_labels, pod_name

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Obj = dict[str, Any]
SECONDS = 120
EXIT_CODES = {"b": 3}
TASKS: list[tuple[str, list[Obj]]] = [
    ("a", []),
    ("b", [{"task": "a"}]),
    ("c", [{"task": "a"}]),
    ("d", [{"task": "b", "conditions": ["on_failure"]}]),
    ("e", [{"task": "b"}, {"task": "c"}]),
]
LARGE = {"c": [{"run": f"true # {number} {'x' * 4000}"} for number in range(20)]}
"""Steps of the task whose pod needs a ConfigMap."""
COUNTS = {"success": 3, "failed": 1, "skipped": 1}


def spec(name: str) -> Obj:
    container = {"image": "x"}
    tasks = [
        {"name": task, "containers": [container], "steps": LARGE.get(task, [{"run": "true"}]), "depends": depends}
        for task, depends in TASKS
    ]
    return {"group": f"/test/{name}", "tasks": tasks}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with played(tmp_path_factory.mktemp("operator"), exit_codes=EXIT_CODES) as made:
        yield made


FAULTS: dict[str, Sequence[Fault]] = {
    "nothing": (),
    "a pod's creation fails": several("create", "pods", 500, 503),
    "a pod's creation has to wait": several("create", "pods", PATIENCE),
    "a pod's creation breaks off before it": several("create", "pods", Kind.RESET, Kind.RESET),
    "a pod's creation breaks off after it": several("create", "pods", Kind.RESET_AFTER, Kind.RESET_AFTER),
    "a pod's creation fails after it": several("create", "pods", Kind.ANSWER_AFTER),
    "a pod's creation is forbidden for a while": [Fault("create", "pods", code=403, reason="Forbidden")] * 2,
    "a ConfigMap's creation fails": several("create", "configmaps", 500, CONFLICT, EXPIRED),
    "a ConfigMap's creation has to wait": several("create", "configmaps", PATIENCE),
    "a ConfigMap's creation breaks off before it": several("create", "configmaps", Kind.RESET, Kind.RESET),
    "a ConfigMap's creation breaks off after it": several("create", "configmaps", Kind.RESET_AFTER),
    "a ConfigMap's creation fails after it": several("create", "configmaps", Kind.ANSWER_AFTER),
    "the status is not taken": several("apply", "runs", 500, 500, 500, 500, 500, 500, CONFLICT, PATIENCE, Kind.RESET),
    "the finalizer is not taken": several("patch", "runs", CONFLICT, 500, PATIENCE, Kind.RESET_AFTER),
    "the watch of pods breaks": several("watch", "pods", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE, Kind.GARBAGE),
    "the watch of pods repeats": several("watch", "pods", Kind.RESET, Kind.REPEAT),
    "the watch of pods loses": several("watch", "pods", Kind.RESET, Kind.LOSE, Kind.LOSE),
    "the list of pods fails": [*several("watch", "pods", EXPIRED), *several("list", "pods", 500, Kind.RESET, PATIENCE)],
    "the watch of Runs breaks": several("watch", "runs", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the watch of nodes breaks": several("watch", "nodes", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the list of nodes fails": [
        *several("watch", "nodes", EXPIRED),
        *several("list", "nodes", 500, Kind.RESET, PATIENCE),
    ],
    "the watch of namespaces breaks": several("watch", "namespaces", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the list of namespaces fails": [
        *several("watch", "namespaces", EXPIRED),
        *several("list", "namespaces", 500, Kind.RESET, PATIENCE),
    ],
    "the watch of executors breaks": several("watch", "executors", Kind.RESET, 500, EXPIRED, Kind.HALF_LINE),
    "the list of executors fails": [
        *several("watch", "executors", EXPIRED),
        *several("list", "executors", 500, Kind.RESET, PATIENCE),
    ],
    "the list of Runs fails": [*several("watch", "runs", EXPIRED), *several("list", "runs", 500, Kind.RESET, PATIENCE)],
    "logs cannot be had": several("get", "pods", 500, Kind.RESET, 503, PATIENCE),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_run_ends_as_it_should_whatever_the_api_server_does(
    bench: Bench, faults: Sequence[Fault], request: pytest.FixtureRequest
) -> None:
    name = f"run-{list(FAULTS).index(request.node.callspec.id)}"
    fake = bench.fake
    before = Counter(fake.requests)
    broken = {fault.plural for fault in faults if fault.verb == "watch"}
    fake.faults.extend(faults)
    fake.cut(broken)
    await bench.create(name, spec(name))
    await until(lambda: bench.status(name).get("phase") == "finished", seconds=SECONDS)
    await until(lambda: not bench.run(name)["metadata"].get("finalizers"), seconds=SECONDS)
    status = bench.status(name)
    assert status["result"] == "failed", status
    assert {word: count for word, count in status["tasks"].items() if count and word in COUNTS} == COUNTS, status
    pods = [
        key
        for pod in fake.items("pods")
        if (key := parse_labels(pod["metadata"]["labels"])) is not None and key.run == status["id"]
    ]
    assert sorted(key.task for key in pods) == ["a", "b", "c", "d"]
    assert {key.task: fake.created["configmaps", pod_name(key)] for key in pods} == {"a": 0, "b": 0, "c": 1, "d": 0}
    for key in pods:
        assert bench.log(key.run, key.task, key.attempt) == OUTPUT
    await until(lambda: not fake.faults, seconds=SECONDS)
    await bench.create(f"{name}-after", {"tasks": []})  # whatever happened, the operator goes on
    await until(lambda: bench.status(f"{name}-after").get("phase") == "finished", seconds=SECONDS)
    assert set(fake.created.values()) <= {1}
    spent = Counter(fake.requests)
    spent.subtract(before)
    assert sum(spent.values()) < 100 + 4 * len(faults), spent


GARBAGE: dict[str, object] = {
    "no spec": None,
    "a text": "x",
    "a list": [1],
    "tasks are a text": {"tasks": "x"},
    "a task is nothing": {"tasks": [None]},
    "a task has no name": {"tasks": [{}]},
    "a name is a list": {"tasks": [{"name": ["a"], "containers": [{"image": "x"}]}]},
    "a cycle": {"tasks": [{"name": "a", "depends": [{"task": "a"}], "containers": [{"image": "x"}]}]},
    "a number that is too large": {"tasks": [], "timeoutSeconds": 1e308, "priority": 2**62},
    "an unknown field": {"tasks": [], "colour": "red"},
    "a group that is none": {"tasks": [], "group": "relative"},
    "deep": {
        "tasks": [{"name": "a", "containers": [{"image": "x"}], "pod": {"affinity": {"a": [[[[[[{}]]]]]]}}, "x": 1}]
    },
    "approvals of nobody": {"tasks": [], "approvals": [None, 3, {"task": []}]},
    "verdicts that are none": {"tasks": [], "approvals": [{"task": "a", "by": "b", "verdict": "perhaps"}]},
    "a priority in words": {"tasks": [], "priority": "high"},
    "more than the store takes at once": {
        "group": "/test/large",
        "tasks": [
            {"name": f"t{place}", "containers": [{"image": "x"}], "steps": [{"run": "x" * 14_000}]}
            for place in range(95)
        ],
    },
}


def nonsense(dice: random.Random, depth: int = 0) -> object:
    """Return any JSON, with our own words in it so that some of it is looked into."""
    kind = dice.randrange(8 if depth < 5 else 5)
    words = ["tasks", "name", "depends", "containers", "image", "steps", "run", "group", "matrix", "approvals", "", "é"]
    match kind:
        case 0:
            return None
        case 1:
            return dice.choice([True, False, 0, -1, 2**62, 1.5])
        case 2 | 3 | 4:
            return dice.choice(words)
        case 5:
            return [nonsense(dice, depth + 1) for _ in range(dice.randrange(4))]
        case _:
            return {dice.choice(words): nonsense(dice, depth + 1) for _ in range(dice.randrange(5))}


async def test_whatever_a_run_says_it_ends_in_setuperror_with_reasons_and_nothing_loops(bench: Bench) -> None:
    dice = random.Random(20)
    specs = {f"bad-{number}": value for number, value in enumerate(GARBAGE.values())}
    specs |= {f"random-{number}": {"tasks": nonsense(dice), "x": nonsense(dice)} for number in range(60)}
    before, passes = Counter(bench.fake.requests), (await bench.metrics())["runabout_reconciles_total"]
    for name, value in specs.items():
        await bench.create(name, value)
    for name in specs:
        await until(lambda name=name: "phase" in bench.status(name), seconds=SECONDS)  # type: ignore[misc] # bound
        status = bench.status(name)
        assert status["phase"] == "setuperror", (name, specs[name])
        assert status["setupErrors"]["count"] >= 1
        assert all(text.startswith("spec") for text in status["setupErrors"]["first"]), status["setupErrors"]
    for name, value in (("good", {}), ("good-of-a-group", {"group": "/test/large"})):
        await bench.create(name, {"tasks": [], **value})
        await until(lambda name=name: bench.status(name).get("phase") == "finished", seconds=SECONDS)  # type: ignore[misc] # bound
    spent = Counter(bench.fake.requests)
    spent.subtract(before)
    assert spent["apply", "runs"] + spent["patch", "runs"] <= 4 * (len(specs) + 2)
    assert (await bench.metrics())["runabout_reconciles_total"] - passes <= 8 * (len(specs) + 2)


async def test_a_run_whose_records_are_too_large_for_one_transaction_begins_and_ends_all_the_same(bench: Bench) -> None:
    """Its tasks go to an executor whose name is as long as names can be, which nobody could know before."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    node = {"metadata": {"name": "n2", "labels": {"kubernetes.io/arch": "arm64"}}, "status": ready}
    await bench.fake.put("nodes", node)
    executor = {"metadata": {"name": "e" * 253, "generation": 1}, "spec": {"archs": ["arm64"]}}
    await bench.fake.put("executors", executor)
    await until(lambda: all("status" in item for item in bench.fake.items("executors")), seconds=SECONDS)
    tasks = [
        {"name": f"t{place}", "arch": "arm64", "containers": [{"image": "x"}], "steps": [{"run": "x" * 550}]}
        for place in range(1000)
    ]
    await bench.create("wide", {"group": "/test/wide", "tasks": tasks})
    await until(lambda: "phase" in bench.status("wide"), seconds=SECONDS)
    await bench.change("wide", stop=True)
    await until(lambda: bench.status("wide").get("phase") == "finished", seconds=SECONDS)
    assert "setupErrors" not in bench.status("wide")
    assert sum(bench.status("wide")["tasks"][word] for word in ("skipped", "stopped", "success")) == 1000
    await bench.create("wide-after", {"group": "/test/wide", "tasks": []})
    await until(lambda: bench.status("wide-after").get("phase") == "finished", seconds=SECONDS)
