"""What survives crashes: of the operator at random moments, of the API server, of the store's etcd.

Every run ends as the engine says, no attempt is executed twice, and every log is there. The seed is printed; set
RUNABOUT_SEED to replay it, and RUNABOUT_ROUNDS for more or fewer rounds.
"""

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.operator_process import OperatorProcess
from fixtures.tools import REPOSITORY
from lab.runs import IMAGE, Json, Kubectl, Runs, task
from lab.waiting import eventually
from runabout.control.ledger import Ledger
from runabout.datamanager import open_store
from runabout.engine.state import State
from runabout.etcd import connect
from runabout.records import FINISHED_STATUSES, Status, parse_run_id

ROUNDS = int(os.environ.get("RUNABOUT_ROUNDS", "10"))
RUNS = 30
KILLS = 2
ROUND_SECONDS = 240


@dataclass(frozen=True)
class Shape:
    """A kind of run and the statuses its tasks end with; None where a stop decides."""

    tasks: tuple[Json, ...]
    expected: dict[str, str] | None
    result: str
    approve: str = ""
    stop: bool = False


def marked(name: str, more: str = "", **options: object) -> Json:
    """Return a task that writes each execution of an attempt into a ledger on the node before anything else."""
    script = (
        f"echo $RUNABOUT_RUN_ID {name} $RUNABOUT_ATTEMPT >> /ledger/attempts; echo {name} $RUNABOUT_ATTEMPT; {more}"
    )
    made = task(name, script, **options)  # type: ignore[arg-type] # passed through
    made["containers"] = [
        {
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
        }
    ]
    return made


SHAPES = (
    Shape((marked("a"),), {"a": "success"}, "success"),
    Shape(
        (
            marked("a"),
            marked("b", "exit 3", after=["a"]),
            marked("c", after={"b": ["on_failure"]}),
            marked("d", after=["b"]),
        ),
        {"a": "success", "b": "failed", "c": "success", "d": "skipped"},
        "failed",
    ),
    Shape(
        (marked("a"), marked("b", after=["a"], needsApproval=True)),
        {"a": "success", "b": "success"},
        "success",
        approve="b",
    ),
    Shape((marked("a", "sleep 3"), marked("b", after=["a"])), None, "", stop=True),
)


@pytest.fixture
def store_etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def crashing(
    tmp_path: Path,
    kubeconfig: str,
    store_etcd: EtcdServer,
    definitions: None,  # noqa: ARG001 - only needed to be there
) -> Iterator[OperatorProcess]:
    with OperatorProcess(workdir=tmp_path / "operator", kubeconfig=kubeconfig, etcd=store_etcd.endpoint) as process:
        yield process


@pytest.fixture
def bench(kubectl: Kubectl, namespace: str, crashing: OperatorProcess) -> Iterator[Runs]:
    made = Runs(kubectl, namespace, crashing)
    made.executor("default", archs=["amd64", "arm64"], maxActiveTasks=12)
    yield made
    made.clean()


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("RUNABOUT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"RUNABOUT_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


def create_round(bench: Runs, number: int) -> dict[str, Shape]:
    return {
        bench.create(*(shape := SHAPES[place % len(SHAPES)]).tasks, name=f"r{number}-{place}", pod=ledger(bench)): shape
        for place in range(RUNS)
    }


def ledger(bench: Runs) -> Json:
    """Return pod settings with a folder of the node that all attempts of a test share."""
    path = {"path": f"/var/tmp/runabout-{bench.namespace}", "type": "DirectoryOrCreate"}
    return {"volumes": [{"name": "ledger", "hostPath": path}]}


def executions(bench: Runs) -> list[str]:
    """Return what the ledger says, read by a run of its own, which removes it."""
    reader = marked("reader")
    reader["steps"] = [{"run": "cat /ledger/attempts; rm /ledger/attempts"}]
    name = bench.create(reader, pod=ledger(bench))
    assert bench.end(name) == ("finished", "success")
    return bench.log(name, "reader").decode().splitlines()


def steer(bench: Runs, made: dict[str, Shape]) -> None:
    """Give the approvals and stops that the shapes ask for."""
    status = bench.kubectl.json("auth", "whoami")["status"]
    assert isinstance(status, dict)
    user = status["userInfo"]["username"]
    for name, shape in made.items():
        if shape.approve:
            bench.patch(name, approvals=[{"task": shape.approve, "by": user, "verdict": "approved"}])
        if shape.stop:
            bench.patch(name, stop=True)


def all_over(bench: Runs, made: dict[str, Shape]) -> dict[str, Json]:
    """Return the status of every run of a round once all are over."""

    def look() -> dict[str, Json]:
        items = bench.kubectl.json("-n", bench.namespace, "get", "runs")["items"]
        assert isinstance(items, list)
        return {item["metadata"]["name"]: item.get("status", {}) for item in items if item["metadata"]["name"] in made}

    def over(found: dict[str, Json]) -> bool:
        return all(status.get("phase") in ("finished", "cancelled") for status in found.values())

    return eventually(look, over, seconds=ROUND_SECONDS)


def recorded(etcd: EtcdServer, ids: list[str]) -> dict[str, State]:
    """Return what the store says of runs; the operator has to be down."""

    async def read() -> dict[str, State]:
        client = connect(etcd.endpoint)
        store = await open_store(client)
        try:
            ledger = Ledger(store)
            found = {run: ledger.state(parse_run_id(run)) for run in ids}
            return {run: state for run, state in found.items() if state is not None}
        finally:
            await store.close()
            await client.close()

    return asyncio.run(read())


def verify(bench: Runs, etcd: EtcdServer, made: dict[str, Shape], statuses: dict[str, Json]) -> None:
    states = recorded(etcd, [str(status["id"]) for status in statuses.values()])
    for name, shape in made.items():
        status = statuses[name]
        state = states[str(status["id"])]
        ended = {task_name: found.status for task_name, found in state.tasks.items()}
        assert (status["phase"], status["result"]) == (state.run.phase, state.run.result), name
        if shape.expected is not None:
            assert ended == shape.expected, (name, state.tasks)
            assert status["result"] == shape.result, name
        elif state.run.phase == "finished":
            assert set(ended.values()) <= FINISHED_STATUSES, (name, ended)
            assert state.run.result in ("stopped", "success"), (name, ended)
        for found in state.tasks.values():
            if found.status in (Status.SUCCESS, Status.FAILED) and found.attempt:
                stored = bench.log(name, found.name, attempt=found.attempt)
                assert stored == f"{found.name} {found.attempt}\n".encode(), (name, found)


@pytest.mark.timeout(ROUNDS * ROUND_SECONDS)
def test_runs_survive_kill_9_of_the_operator_at_random_moments(
    bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer, dice: random.Random
) -> None:
    for number in range(ROUNDS):
        made = create_round(bench, number)
        for kill in range(KILLS):
            time.sleep(dice.uniform(0.2, 4.0))  # the random moment is the point
            crashing.kill()
            if kill == 0:
                steer(bench, made)
            crashing.start()
        statuses = all_over(bench, made)
        crashing.terminate()
        verify(bench, store_etcd, made, statuses)
        crashing.start()
        happened = executions(bench)
        assert happened
        assert len(happened) == len(set(happened))
        bench.kubectl("-n", bench.namespace, "delete", "runs", "--all", "--wait=false")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("component", ["apiserver", "etcd"])
def test_runs_survive_the_restart_of_the_clusters(
    component: str, bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer
) -> None:
    made = create_round(bench, 0)
    steer(bench, made)
    subprocess.run(
        [str(REPOSITORY / "hack" / "cluster"), "restart", component, "--down", "3"], check=True, capture_output=True
    )
    statuses = all_over(bench, made)
    crashing.terminate()
    verify(bench, store_etcd, made, statuses)


@pytest.mark.timeout(600)
def test_runs_survive_the_restart_of_the_stores_etcd(
    bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer, dice: random.Random
) -> None:
    made = create_round(bench, 0)
    for _ in range(3):
        time.sleep(dice.uniform(0.2, 2.0))  # the random moment is the point
        store_etcd.kill()
        time.sleep(dice.uniform(0.2, 2.0))  # so is how long it is away
        store_etcd.start()
    steer(bench, made)
    statuses = all_over(bench, made)
    crashing.terminate()
    verify(bench, store_etcd, made, statuses)


def test_a_run_whose_record_is_lost_is_not_executed_again_and_says_so(
    bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer
) -> None:
    over = bench.create(task("a"))
    assert bench.end(over) == ("finished", "success")
    open_ = bench.create(task("a"), task("b", after=["a"], needsApproval=True))
    bench.waiting(open_, "AwaitingApproval")
    before = bench.status(over)
    crashing.terminate()
    store_etcd.kill()
    store_etcd.wipe()
    store_etcd.start()
    crashing.start()
    assert str(bench.status(open_)["id"]) in bench.waiting(open_, "RecordMissing")
    new = bench.create(task("a"))
    assert bench.end(new) == ("finished", "success")
    assert bench.status(over) == before
    bench.delete(open_)
    eventually(lambda: bench.exists(open_), lambda found: not found)


def test_the_operator_ends_within_five_seconds_of_sigterm(bench: Runs, crashing: OperatorProcess) -> None:
    made = create_round(bench, 0)
    eventually(bench.pods, lambda pods: len(pods) > 3)
    assert crashing.terminate() < 5
    crashing.start()
    steer(bench, made)
    all_over(bench, made)
