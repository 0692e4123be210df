"""An operator and a gateway as processes beside the cluster, and a namespace for all Runs of a module.

The gateway listens where pods can reach it: at the address from which this machine speaks to the cluster's node. There
is a second one, for people only, which is not started unless a test does so.
"""

import uuid
from collections.abc import Iterator

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
def gateways(
    kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory, etcd: EtcdServer
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """The gateway of tasks and its replica."""
    address = own_address(kubectl)
    tls = certificates(tmp_path_factory.mktemp("tls"), name="gateway", address=address)
    ost = tmp_path_factory.mktemp("ost")
    with rights(kubectl, tmp_path_factory.mktemp("rights"), "rbac", "gateway") as kubeconfig:
        first, second = (
            GatewayProcess(
                workdir=tmp_path_factory.mktemp("gateway"),
                kubeconfig=kubeconfig,
                etcd=etcd.endpoint,
                ost=ost,
                address=address,
                tls=tls,
            )
            for _ in range(2)
        )
        yield first, second


@pytest.fixture(scope="module")
def operator(
    tmp_path_factory: pytest.TempPathFactory,
    operator_kubeconfig: str,
    etcd: EtcdServer,
    gateways: tuple[GatewayProcess, GatewayProcess],
    definitions: None,  # noqa: ARG001 - only needed to be there
) -> Iterator[OperatorProcess]:
    gateway, _ = gateways
    process = OperatorProcess(
        workdir=tmp_path_factory.mktemp("operator"),
        kubeconfig=operator_kubeconfig,
        etcd=etcd.endpoint,
        ost=gateway.ost,
        environment=gateway.for_tasks,
    )
    with process, gateway:  # the store has to be there before somebody reads it
        yield process


@pytest.fixture(scope="module")
def runs(kubectl: Kubectl, operator: OperatorProcess) -> Iterator[Runs]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    made = Runs(kubectl, name, operator)
    made.executor("default", archs=["amd64", "arm64"], maxActiveTasks=12)
    yield made
    made.clean()
    kubectl("delete", "namespace", name, "--wait=false")
