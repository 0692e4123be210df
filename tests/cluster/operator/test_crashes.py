"""What survives kill -9 of the operator, of the gateway, of the API server and of the two etcds, at random moments.

Every run ends as the engine says, no attempt is executed twice, every log is there, and what a task restores has the
bytes that were saved. The seed is printed; set RUNABOUT_SEED to replay it, and RUNABOUT_ROUNDS for more or fewer rounds
(each takes half a minute to a minute).
"""

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.gateway_process import GatewayProcess
from fixtures.operator_process import OperatorProcess
from fixtures.tools import REPOSITORY
from lab.runs import IMAGE, Json, Kubectl, Runs, task
from lab.waiting import eventually
from localcluster import docker
from runabout.control.ledger import Ledger
from runabout.control.tables import TABLES
from runabout.datamanager import open_store
from runabout.datamanager.head import Keys
from runabout.datamanager.opening import read_state
from runabout.engine.state import State
from runabout.etcd import connect
from runabout.handlers.process import EXIT_STORE
from runabout.ost import OstSettings, open_ost
from runabout.records import FINISHED_STATUSES, Reason, Status, Task, parse_run_id

RUNS = 10
VICTIMS = [
    pytest.param(("operator", "gateway", "operator"), 10, id="operator"),
    pytest.param(
        ("apiserver", "etcd", "store's etcd"),
        3,
        id="servers",
        marks=pytest.mark.skipif(
            docker.available(),
            reason="with Docker API server and etcd are in kind's container, whose processes are not ours to kill",
        ),
    ),
]
"""What is killed in each round; etcd is the API server's."""
ROUND_SECONDS = 240


@dataclass(frozen=True)
class Shape:
    """A kind of run and the statuses its tasks end with; None where a stop decides."""

    tasks: tuple[Json, ...]
    expected: dict[str, str] | None
    result: str
    approve: str = ""
    stop: bool = False
    again: str = ""
    """the task that fails once"""
    files: bool = False
    """whether `b` restores what `a` has saved"""


RETRIES: Json = {"limit": 2, "backoffSeconds": 1, "onExitCodes": [75]}


def marked(
    name: str, more: str = "", *, steps: tuple[Json, ...] = (), service: Json | None = None, **options: object
) -> Json:
    """Return a task that writes each execution of an attempt into a ledger on the node before anything else."""
    script = (
        f"echo $RUNABOUT_RUN_ID {name} $RUNABOUT_ATTEMPT >> /ledger/attempts; echo {name} $RUNABOUT_ATTEMPT; {more}"
    )
    made = task(name, **options)  # type: ignore[arg-type] # passed through
    made["containers"] = [
        {**CONTAINER, "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}]},
        *([service] if service is not None else []),
    ]
    made["steps"] = [{"run": script}, *steps]
    return made


CONTAINER: Json = {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
ONCE = '[ "$(grep -c "^$RUNABOUT_RUN_ID a [0-9]*$" /ledger/attempts)" -gt 1 ] || exit 75'
"""Fails when it is executed for the first time, whatever the attempt's number is."""
SERVES = "mkdir -p /tmp/www; echo served > /tmp/www/index.html; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp/www & wait"
SERVICE: Json = {
    **CONTAINER,
    "name": "web",
    "command": ["sh", "-c", SERVES],
    "readiness": {"tcpSocket": {"port": 8080}, "failureThreshold": 60},
}
ASKS = "wget -q -O - http://127.0.0.1:8080/ > /dev/null"
SUM = "echo $RUNABOUT_RUN_ID {} $RUNABOUT_ATTEMPT $(sha256sum < data | cut -c 1-64) >> /ledger/attempts"
"""Writes into the ledger which bytes there are."""
SAVES: tuple[Json, ...] = (
    {"run": f"head -c 300000 /dev/urandom > data; {SUM.format('a')}"},
    {"saveToWorkspace": {"contents": [{"paths": ["data"]}]}},
    {"restoreCache": {"keys": ["m-"]}},
    {"run": "cd cache 2> /dev/null || exit 0; sha256sum -c sum && rm -r ../cache"},
    {"run": "mkdir cache; cd cache; head -c 50000 /dev/urandom > m; sha256sum m > sum"},
    {"saveCache": {"key": 'm-{{ checksum "cache/m" }}', "contents": [{"paths": ["cache"]}]}},
)
"""An archive for the next task, and a cache that all runs share: each checks what it finds there of another one."""
RESTORES: tuple[Json, ...] = ({"restoreWorkspace": {}}, {"run": SUM.format("b")})

SHAPES = (
    Shape((marked("a", ONCE, retries=RETRIES),), {"a": "success"}, "success", again="a"),
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
        (marked("a", ASKS, service=SERVICE), marked("b", after=["a"], needsApproval=True)),
        {"a": "success", "b": "success"},
        "success",
        approve="b",
    ),
    Shape((marked("a", "sleep 3; echo rested"), marked("b", after=["a"])), None, "", stop=True),
    Shape(
        (marked("a", steps=SAVES), marked("b", steps=RESTORES, after=["a"])),
        {"a": "success", "b": "success"},
        "success",
        files=True,
    ),
)


@pytest.fixture
def bench(kubectl: Kubectl, namespace: str, crashing: OperatorProcess, gateway: GatewayProcess) -> Iterator[Runs]:
    gateway.start()
    made = Runs(kubectl, namespace, crashing)
    made.executor("default", archs=["amd64", "arm64"], maxActiveTasks=12, allowPrivileged=True)
    yield made
    made.clean()


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("RUNABOUT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"RUNABOUT_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


def create_round(bench: Runs, number: int) -> dict[str, Shape]:
    """Create all runs of a round at once."""
    made = {f"r{number}-{place}": SHAPES[place % len(SHAPES)] for place in range(RUNS)}
    common = {"pod": ledger(bench), "cacheGroup": "/test/crashes"}
    bench.create_all({name: {"tasks": list(shape.tasks), **common} for name, shape in made.items()})
    return made


def ledger(bench: Runs) -> Json:
    """Return pod settings with a folder of the node that all attempts of a test share."""
    path = {"path": f"/var/tmp/runabout-{bench.namespace}", "type": "DirectoryOrCreate"}
    return {"volumes": [{"name": "ledger", "hostPath": path}]}


def executions(bench: Runs) -> list[str]:
    """Return what the ledger says, and begin a new one; read by a pod of our own, the operator has no part in it."""
    reader = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader", "namespace": bench.namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", "cat /ledger/attempts; rm /ledger/attempts"],
                    "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
                }
            ],
            **ledger(bench),
        },
    }
    bench.kubectl("create", "-f", "-", stdin=json.dumps(reader))
    place = ("-n", bench.namespace)
    eventually(
        lambda: bench.kubectl.read(f"/api/v1/namespaces/{bench.namespace}/pods/reader")["status"],
        lambda status: status["phase"] == "Succeeded",  # type: ignore[index] # JSON
    )
    lines = bench.kubectl(*place, "logs", "reader").stdout.splitlines()
    bench.kubectl(*place, "delete", "pod", "reader", "--grace-period=1")
    return lines


def steer(bench: Runs, made: dict[str, Shape]) -> None:
    """Give the approvals and stops that the shapes ask for."""
    for name, shape in made.items():
        if shape.approve:
            bench.answer(name, shape.approve, "approved")
        if shape.stop:
            bench.patch(name, stop=True)


def all_over(bench: Runs, made: dict[str, Shape]) -> dict[str, Json]:
    """Return the status of every run of a round once all are over."""

    def look() -> dict[str, Json]:
        runs: list[Any] = bench.all()
        found = {item["metadata"]["name"]: item.get("status", {}) for item in runs}
        return {name: status for name, status in found.items() if name in made}

    def over(found: dict[str, Json]) -> bool:
        return all(status.get("phase") in ("finished", "cancelled") for status in found.values())

    return eventually(look, over, seconds=ROUND_SECONDS)


def recorded(crashing: OperatorProcess, etcd: EtcdServer, ids: list[str]) -> dict[str, State]:
    """Return what the store says of runs; the operator has to be down."""

    async def read() -> dict[str, State]:
        client = connect(etcd.endpoint)
        ost = await open_ost(OstSettings(f"file://{crashing.ost}"))
        store = await open_store(client, ost=ost, tables=TABLES)
        try:
            ledger = Ledger(store)
            found = {run: await ledger.state(parse_run_id(run)) for run in ids}
            return {run: state for run, state in found.items() if state is not None}
        finally:
            await store.close()
            await client.close()
            await ost.close()

    return asyncio.run(read())


def verify(
    bench: Runs, states: dict[str, State], made: dict[str, Shape], statuses: dict[str, Json], happened: list[str]
) -> None:
    """Hold what people see, what the store says, what the node's ledger says and what is stored against each other."""
    rows = [line.split() for line in happened]
    begun = [(run, name, int(attempt)) for run, name, attempt, *sums in rows if not sums]
    sums = {(run, name, int(attempt)): sums[0] for run, name, attempt, *sums in rows if sums}
    executed = set(begun)
    assert len(begun) == len(executed), "an attempt was executed twice"
    known = set()
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
            last = (state.run.id, found.name, found.attempt)
            known |= {(state.run.id, found.name, number) for number in range(1, found.attempt + 1)}
            if found.status in (Status.SUCCESS, Status.FAILED):
                assert last in executed, (name, found)
                is_whole(bench, name, found.name, found.attempt, "rested\n" if shape.stop and found.name == "a" else "")
            elif last in executed:
                assert found.status is Status.STOPPED, (name, found)
                said = last_words(bench, name, found)
                # Its step may have ended by itself in a pod that was deleted before anybody could see its end.
                assert b"[runabout" in said or said.endswith(b"\nrested\n"), (name, found, said)
        if shape.again:
            failed_once(bench, name, state.tasks[shape.again], begun)
        if shape.files:
            saved, restored = (sums[state.run.id, each, state.tasks[each].attempt] for each in ("a", "b"))
            assert restored == saved, (name, state.tasks)
    assert executed <= known, "something was executed of which the store knows nothing"


def is_whole(bench: Runs, name: str, task_name: str, attempt: int, more: str = "") -> None:
    """Compare the stored log of an attempt's first step with what it wrote."""
    stored = bench.log(name, task_name, attempt=attempt)
    assert stored == f"{task_name} {attempt}\n{more}".encode(), (name, task_name, attempt)


def failed_once(bench: Runs, name: str, found: Task, begun: list[tuple[str, str, int]]) -> None:
    """Check a task whose first execution failed; that may have been one that the machinery had given up already."""
    failures = [past.number for past in found.attempts if past.reason is Reason.EXIT_CODE]
    mine = {attempt for run, task_name, attempt in begun if (run, task_name) == (found.run, found.name)}
    assert len(failures) <= 1, (name, found)
    assert len(mine) > 1, (name, found)
    for number in failures:
        assert number in mine, (name, found)
        is_whole(bench, name, found.name, number)


def last_words(bench: Runs, name: str, found: Task) -> bytes:
    """Return the log of a step that was stopped; where nothing of it could be had any more, the setup's says so."""
    try:
        return bench.log(name, found.name, attempt=found.attempt)
    except FileNotFoundError:
        return bench.log(name, found.name, attempt=found.attempt, step="setup")


def strike(
    victim: str, crashing: OperatorProcess, gateway: GatewayProcess, store_etcd: EtcdServer, *, away: float
) -> None:
    """End a process as a crash does, and start it again after a while."""
    if victim in ("operator", "gateway"):
        process = crashing if victim == "operator" else gateway
        process.kill()
        process.start()
    elif victim == "store's etcd":
        store_etcd.kill()
        time.sleep(away)  # how long it is away is part of the dice's throw
        store_etcd.start()
    else:
        command = [str(REPOSITORY / "hack" / "cluster"), "restart", victim, "--signal", "KILL", "--down", f"{away:.1f}"]
        subprocess.run(command, check=True, capture_output=True)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("victims", "rounds"), VICTIMS)
def test_runs_survive_kill_9_at_random_moments(
    victims: tuple[str, ...],
    rounds: int,
    bench: Runs,
    crashing: OperatorProcess,
    gateway: GatewayProcess,
    store_etcd: EtcdServer,
    dice: random.Random,
) -> None:
    for number in range(int(os.environ.get("RUNABOUT_ROUNDS", rounds))):
        made = create_round(bench, number)
        for place, victim in enumerate(dice.sample(victims, len(victims))):
            time.sleep(dice.uniform(0.0, 4.0))  # the random moment is the point
            strike(victim, crashing, gateway, store_etcd, away=dice.uniform(0.2, 3.0))
            if place == 0:
                steer(bench, made)
        statuses = all_over(bench, made)
        happened = executions(bench)
        crashing.terminate()
        states = recorded(crashing, store_etcd, [str(status["id"]) for status in statuses.values()])
        verify(bench, states, made, statuses, happened)
        crashing.start()
        bench.kubectl("-n", bench.namespace, "delete", "runs", "--all", "--wait=false")


def test_a_deleted_runs_record_ends_as_by_a_stop(
    bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer
) -> None:
    bench.create_all(
        {
            "suspended": {"tasks": [task("a")], "suspend": True},
            "awaiting": {"tasks": [task("a", needsApproval=True)]},
            "running": {"tasks": [task("a", "echo begun; sleep 600"), task("b", after=["a"])]},
            "finished": {"tasks": [task("a")]},
        }
    )
    bench.waiting("suspended", "Suspended")
    bench.waiting("awaiting", "AwaitingApproval")
    bench.end("finished")
    eventually(
        lambda: bench.pods("running"),
        lambda pods: any(pod["status"]["phase"] == "Running" for pod in pods),  # type: ignore[index] # JSON
    )
    names = ("suspended", "awaiting", "running", "finished")
    ids = {name: str(bench.until(name, lambda status: "id" in status)["id"]) for name in names}
    for name in ids:
        bench.delete(name)
    for name in ids:
        eventually(lambda name=name: bench.exists(name), lambda there: not there)  # type: ignore[misc] # bound
    crashing.terminate()
    states = recorded(crashing, store_etcd, list(ids.values()))
    crashing.start()
    found = {name: (states[run].run.phase, states[run].run.result) for name, run in ids.items()}
    assert found == {
        "suspended": ("cancelled", "unknown"),
        "awaiting": ("finished", "stopped"),
        "running": ("finished", "stopped"),
        "finished": ("finished", "success"),
    }
    ended = {name: task_state.status for name, task_state in states[ids["running"]].tasks.items()}
    assert ended == {"a": Status.STOPPED, "b": Status.SKIPPED}
    assert all(task_state.stored for state in states.values() for task_state in state.tasks.values())


def is_sealed(etcd: EtcdServer) -> bool:
    """Whether all that is committed is on the object storage."""

    async def read() -> bool:
        client = connect(etcd.endpoint)
        try:
            state = await read_state(client, Keys(0))
        finally:
            await client.close()
        return state.life is not None and state.pointer is not None and state.pointer.last == state.life.head.sequence

    return asyncio.run(read())


def store_folder(crashing: OperatorProcess) -> Path:
    """Return where the history is on the object storage: a folder's name ends with a plus there."""
    return crashing.ost / "objects" / "store+"


def test_an_etcd_that_lost_its_data_under_a_running_operator_costs_no_run_that_was_sealed(
    bench: Runs, crashing: OperatorProcess, store_etcd: EtcdServer
) -> None:
    over = bench.create(task("a"))
    assert bench.end(over) == ("finished", "success")
    open_ = bench.create(task("a"), task("b", after=["a"], needsApproval=True))
    bench.waiting(open_, "AwaitingApproval")
    before = {name: bench.status(name) for name in (over, open_)}
    eventually(lambda: is_sealed(store_etcd), lambda sealed: sealed)
    store_etcd.kill()
    store_etcd.wipe()
    store_etcd.start()
    bench.answer(open_, "b", "approved")
    assert crashing.ended(timeout=60) == EXIT_STORE, "this store is not the one that it has opened"
    crashing.start()
    assert "store recovered from the object storage" in crashing.log.read_text()
    assert bench.end(open_) == ("finished", "success")
    assert bench.status(over) == before[over]
    crashing.terminate()
    states = recorded(crashing, store_etcd, [str(status["id"]) for status in before.values()])
    crashing.start()
    assert {(state.run.phase, state.run.result) for state in states.values()} == {("finished", "success")}
    assert len(states) == len(before)


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
    shutil.rmtree(store_folder(crashing))
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
