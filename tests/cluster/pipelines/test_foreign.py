"""Pipelines of other projects as Runs on a real cluster, with stubs for their commands: they end as their projects say.

All of them run side by side, once for all tests here. tests/data/pipelines says what each task has to become; where a
pipeline is about more than its graph (results, artifacts, time-outs), STUBS has steps that need the real thing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import yaml

from fixtures.etcd_server import EtcdServer
from fixtures.tools import REPOSITORY
from lab.followed import recorded_tasks
from lab.runs import IMAGE, Json, Runs, condition
from runabout.records import Reason, Status, Task

pytestmark = pytest.mark.timeout(240)

RESTORE: Json = {"restoreWorkspace": {}}
STUBS: Mapping[tuple[str, str], Json] = {
    ("exhausted-retries", "sub"): {"retries": {"limit": 1, "backoffSeconds": 1}},
    # The result that t3 asks for is one that t1 never writes.
    ("ignored-error", "t3"): {"steps": [{"run": 'echo "{{ tasks.t1.results.MISSING }}"'}]},
    # Both sleep for longer than they may, the one that is measured.
    ("finally", "dagtask"): {"timeoutSeconds": 3, "steps": [{"run": "sleep 600"}]},
    # Results: t1's goes to p2, those of both go to t3.
    ("shuffled", "t1"): {"steps": [{"run": 'echo R=first >> "$RUNABOUT_RESULTS"'}]},
    ("shuffled", "p1"): {"steps": [{"run": 'echo R=one >> "$RUNABOUT_RESULTS"'}]},
    ("shuffled", "p2"): {"steps": [{"run": 'echo "R={{ tasks.t1.results.R }} and two" >> "$RUNABOUT_RESULTS"'}]},
    ("shuffled", "t3"): {"steps": [{"run": 'echo "{{ tasks.p1.results.R }}, {{ tasks.p2.results.R }}"'}]},
    # Artifacts: the sources go to build, its binary goes to the last stage.
    ("stages", "checkout"): {
        "steps": [{"run": "echo source > source"}, {"saveToWorkspace": {"contents": [{"paths": ["source"]}]}}]
    },
    ("stages", "build"): {
        "steps": [
            RESTORE,
            {"run": 'echo "binary of $(cat source)" > binary'},
            {"saveToWorkspace": {"contents": [{"paths": ["binary"]}]}},
        ]
    },
    ("stages", "test-e2e"): {"steps": [RESTORE, {"run": "cat binary source"}]},
}
"""What tasks are besides `exit 0` or `exit 1`, by pipeline and name."""


@dataclass(frozen=True)
class Scenario:
    """One pipeline with one outcome, and the name of its Run."""

    pipeline: str
    name: str
    tasks: tuple[Json, ...]
    skip: frozenset[str]
    failing: frozenset[str]
    approving: frozenset[str]
    expected: tuple[str, str]
    statuses: Mapping[str, str]

    def spec(self) -> Json:
        """Return the Run's spec."""
        return {"tasks": [self._task(task, str(task["name"])) for task in self.tasks]}

    def _task(self, task: Json, name: str) -> Json:
        # Who approves fails where somebody refuses: there is no step to fail then.
        fails = name in self.failing and name not in self.approving
        return {
            **task,
            "skip": name in self.skip,
            "containers": [{"image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
            "steps": [{"run": f"exit {int(fails)}"}],
            **STUBS.get((self.pipeline, name), {}),
        }


def scenarios() -> Iterator[Scenario]:
    """Yield all scenarios there are."""
    for path in sorted((REPOSITORY / "tests" / "data" / "pipelines").glob("*.yaml")):
        pipeline = yaml.safe_load(path.read_text())
        for number, scenario in enumerate(pipeline["scenarios"]):
            outcomes = scenario["outcomes"]
            yield Scenario(
                path.stem,
                f"{path.stem}-{number}",
                tuple(pipeline["tasks"]),
                frozenset(scenario.get("skip", ())),
                frozenset(name for name, each in outcomes.get("tasks", {}).items() if each.get("result") == "failed"),
                frozenset(outcomes.get("approve", ())),
                (scenario.get("phase", "finished"), scenario["result"]),
                scenario["tasks"],
            )


SCENARIOS = {scenario.name: scenario for scenario in scenarios()}


@dataclass(frozen=True)
class Ended:
    """What became of all scenarios: what people see, and what is recorded."""

    runs: Runs
    statuses: Mapping[str, Json]
    tasks: Mapping[str, Mapping[str, Task]]


@pytest.fixture(scope="module")
def ended(runs: Runs, etcd: EtcdServer) -> Ended:
    runs.create_all({name: scenario.spec() for name, scenario in SCENARIOS.items()})
    for name, scenario in SCENARIOS.items():
        for task in scenario.approving:
            runs.waiting(name, "AwaitingApproval")
            runs.answer(name, task, "refused" if task in scenario.failing else "approved")
    for name, scenario in SCENARIOS.items():
        settle(runs, name, scenario)
    statuses = {name: runs.status(name) for name in SCENARIOS}
    ids = {name: str(status["id"]) for name, status in statuses.items()}
    tasks = recorded_tasks(etcd.endpoint, runs.operator.ost, ids.values())
    return Ended(runs, statuses, {name: tasks[run] for name, run in ids.items()})


def settle(runs: Runs, name: str, scenario: Scenario) -> None:
    """Wait until a run goes no further: it has ended, or waits for a person while all else is done."""
    if scenario.expected[0] == "running":
        runs.waiting(name, "AwaitingApproval")
        wanted = list(scenario.statuses.values()).count("success")
        runs.until(name, lambda status: succeeded(status) == wanted)
    else:
        runs.end(name)


def succeeded(status: Json) -> int:
    """Return how many tasks of a run have succeeded."""
    tasks = status["tasks"]
    assert isinstance(tasks, dict)
    return int(tasks.get("success", 0))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_foreign_pipeline_ends_as_its_project_says(ended: Ended, name: str) -> None:
    scenario, status = SCENARIOS[name], ended.statuses[name]
    assert {task: found.status.value for task, found in ended.tasks[name].items()} == scenario.statuses
    assert (status["phase"], status["result"]) == scenario.expected
    assert ended.runs.counts(name) == Counter(scenario.statuses.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_task_starts_before_all_its_parents_have_ended(ended: Ended, name: str) -> None:
    tasks = ended.tasks[name]
    for task in SCENARIOS[name].tasks:
        started = tasks[str(task["name"])].started
        parents = task.get("depends", [])
        assert isinstance(parents, list)
        for parent in parents:
            over = tasks[parent["task"]].ended or 0  # what is skipped never ran
            # The kubelet knows times of containers to the second.
            assert started is None or started // 1000 >= over // 1000, (task, parent)


def test_the_attempts_of_exhausted_retries_are_exactly_two(ended: Ended) -> None:
    tried = ended.tasks["exhausted-retries-0"]["sub"]
    assert (tried.attempt, tried.reason) == (2, Reason.EXIT_CODE)


def test_a_task_that_takes_too_long_ends_for_that_reason(ended: Ended) -> None:
    late = ended.tasks["finally-0"]["dagtask"]
    assert (late.status, late.reason) == (Status.FAILED, Reason.TIMEOUT)


def test_results_and_artifacts_reach_the_tasks_behind(ended: Ended) -> None:
    assert ended.runs.log("shuffled-0", "t3") == b"one, first and two\n"
    assert ended.runs.log("stages-0", "test-e2e", step=1) == b"binary of source\nsource\n"


def test_who_waits_for_a_person_says_so_while_the_run_is_running(ended: Ended) -> None:
    waiting = condition(ended.statuses["approval-0"], "Waiting")
    assert (waiting["status"], waiting["reason"]) == ("True", "AwaitingApproval")
