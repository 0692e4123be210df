"""Replicas take turns: one works, the other stands by, and takes over when the first ends, dies or hangs."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.operator_process import OperatorProcess
from lab.runs import Kubectl, Runs, task
from lab.waiting import eventually

ACTIVE = "runabout_active"
EXPIRY_SECONDS = 8
LEASE = "runabout-operator-0"


@pytest.fixture
def pair(
    tmp_path: Path,
    kubeconfig: str,
    namespace: str,
    definitions: None,  # noqa: ARG001 - only needed to be there
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """Two replicas with one store; the first one works."""
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdServer(tmp_path / "etcd"))
        made = []
        for name in ("first", "second"):
            environment = {
                "RUNABOUT_LEASE": "true",
                "RUNABOUT_NAMESPACE": namespace,
                "RUNABOUT_POD_NAME": name,
                "RUNABOUT_OST": f"file://{tmp_path / 'first' / 'ost'}",
            }
            process = OperatorProcess(
                workdir=tmp_path / name, kubeconfig=kubeconfig, etcd=etcd.endpoint, environment=environment
            )
            made.append(stack.enter_context(process))
            if name == "first":
                until_active(process)
        yield made[0], made[1]


@pytest.fixture
def runs(kubectl: Kubectl, namespace: str, pair: tuple[OperatorProcess, OperatorProcess]) -> Iterator[Runs]:
    made = Runs(kubectl, namespace, pair[0])
    made.executor("default", archs=["amd64", "arm64"])
    yield made
    made.clean()


def until_active(process: OperatorProcess) -> None:
    eventually(process.metrics, lambda found: found[ACTIVE] == 1)


def lease(runs: Runs) -> Mapping[str, object]:
    spec = runs.kubectl.read(f"/apis/coordination.k8s.io/v1/namespaces/{runs.namespace}/leases/{LEASE}")["spec"]
    assert isinstance(spec, dict)
    return spec


def test_a_standby_is_ready_and_takes_over_at_once_when_the_first_ends_in_order(
    runs: Runs, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    first, second = pair
    assert second.metrics()[ACTIVE] == 0
    name = runs.create(task("a", "sleep 6"), task("b", after=["a"]))
    eventually(runs.pods, lambda pods: len(pods) == 1)
    first.terminate()
    ended = time.time()
    until_active(second)  # which has opened the store and listed everything, however long that takes
    taken = datetime.fromisoformat(str(lease(runs)["acquireTime"])).timestamp()
    assert taken - ended < EXPIRY_SECONDS / 2
    assert runs.end(name) == ("finished", "success")


def test_a_standby_takes_over_when_the_first_dies(runs: Runs, pair: tuple[OperatorProcess, OperatorProcess]) -> None:
    first, second = pair
    name = runs.create(task("a", "sleep 6"), task("b", after=["a"]))
    eventually(runs.pods, lambda pods: len(pods) == 1)
    first.kill()
    until_active(second)
    assert runs.end(name) == ("finished", "success")


def test_a_replica_that_hung_while_another_took_over_ends(
    runs: Runs, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    first, second = pair
    first.send(signal.SIGSTOP)
    until_active(second)
    first.send(signal.SIGCONT)
    assert first.ended(timeout=60) != 0
    name = runs.create(task("a"))
    assert runs.end(name) == ("finished", "success")
    assert lease(runs)["holderIdentity"] == "second"
