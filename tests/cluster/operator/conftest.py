"""An operator as a process beside the cluster, with an etcd of its own, and hands to work with Runs.

It ends with the tests of its module: an operator works on all Runs there are, and two with different stores would share
them by chance.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.operator_process import OperatorProcess
from lab.runs import Kubectl, Runs


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


@pytest.fixture
def runs(kubectl: Kubectl, namespace: str, operator: OperatorProcess) -> Iterator[Runs]:
    made = Runs(kubectl, namespace, operator)
    made.executor("default", archs=["amd64", "arm64"])
    yield made
    made.clean()
