"""An operator as a process beside the cluster, with an etcd of its own, and hands to work with Runs.

It ends with the tests of its module: an operator works on all Runs there are, and two with different stores would share
them by chance. Tests that end processes themselves make their own, with a gateway where pods can reach it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.conftest import Kubectl, own_address, rights
from fixtures.certificates import certificates
from fixtures.etcd_server import EtcdServer
from fixtures.gateway_process import GatewayProcess
from fixtures.operator_process import OperatorProcess
from lab.runs import Runs


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="module")
def operator(
    tmp_path_factory: pytest.TempPathFactory,
    operator_kubeconfig: str,
    etcd: EtcdServer,
    definitions: None,  # noqa: ARG001 - only needed to be there
) -> Iterator[OperatorProcess]:
    folder: Path = tmp_path_factory.mktemp("operator")
    with OperatorProcess(workdir=folder, kubeconfig=operator_kubeconfig, etcd=etcd.endpoint) as process:
        yield process


@pytest.fixture(scope="module")
def gateway_kubeconfig(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kubeconfig that may do what the chart lets the gateway do."""
    with rights(kubectl, tmp_path_factory.mktemp("rights"), "rbac", "gateway") as path:
        yield path


@pytest.fixture
def store_etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd of the test's own, which it may end."""
    with EtcdServer(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def gateway(
    kubectl: Kubectl, tmp_path: Path, gateway_kubeconfig: str, store_etcd: EtcdServer
) -> Iterator[GatewayProcess]:
    """A gateway of the test's own that is not started: the store has to be there before somebody reads it."""
    address = own_address(kubectl)
    (tmp_path / "tls").mkdir()
    process = GatewayProcess(
        workdir=tmp_path / "gateway",
        kubeconfig=gateway_kubeconfig,
        etcd=store_etcd.endpoint,
        ost=tmp_path / "ost",
        address=address,
        tls=certificates(tmp_path / "tls", name="gateway", address=address),
    )
    yield process
    process.kill()


@pytest.fixture
def crashing(
    tmp_path: Path,
    operator_kubeconfig: str,
    store_etcd: EtcdServer,
    gateway: GatewayProcess,
    definitions: None,  # noqa: ARG001 - only needed to be there
) -> Iterator[OperatorProcess]:
    """An operator of the test's own, which it may end."""
    process = OperatorProcess(
        workdir=tmp_path / "operator",
        kubeconfig=operator_kubeconfig,
        etcd=store_etcd.endpoint,
        ost=tmp_path / "ost",
        environment=gateway.for_tasks,
    )
    with process:
        yield process


@pytest.fixture
def runs(kubectl: Kubectl, namespace: str, operator: OperatorProcess) -> Iterator[Runs]:
    made = Runs(kubectl, namespace, operator)
    made.executor("default", archs=["amd64", "arm64"])
    yield made
    made.clean()
