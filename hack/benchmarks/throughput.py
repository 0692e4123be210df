"""Runs on simulated nodes, beside bare pods on the same ones."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import apiserver, leftovers, loads, process
from benchmarks.account import account
from benchmarks.figures import Figure
from benchmarks.simulated import LABEL, OUTPUT, SETUP, SimulatedNodes
from fixtures.etcd_server import EtcdServer
from fixtures.operator_process import OperatorProcess
from localcluster import processes
from localcluster.console import LocalClusterError
from localcluster.settings import REPOSITORY, Places
from runabout.kube.connection import connect
from runabout.kube.objects import EXECUTORS
from runabout.kube.session import Session

QUIET_SECONDS = 60


@dataclass(frozen=True)
class Sizes:
    """How many of each."""

    bare: int
    one: int
    diamonds: int
    idle: int


@dataclass(frozen=True)
class Usage:
    """What the operator used for one load."""

    cpu_seconds: float
    server_seconds: float
    """CPU of the API server, for everybody's requests"""
    writes: dict[str, int]
    reconciles: float


@dataclass(frozen=True)
class Bench:
    """One measurement on a cluster that is up; leaves nothing behind."""

    places: Places
    kwok: Path
    kubectl: Path
    folder: Path
    sizes: Sizes
    nodes: int
    say: Callable[[str], None]

    async def measure(self) -> list[Figure]:
        """Return every figure."""
        kubeconfig = self.places.kubeconfig
        nodes = SimulatedNodes(
            kwok=self.kwok, kubeconfig=kubeconfig, pki=self.places.pki, folder=self.folder, number=self.nodes
        )
        self._kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
        with account(self.kubectl, kubeconfig, self.folder) as client:
            async with Session(connect(str(client))) as session:
                with nodes:
                    try:
                        await leftovers.refuse_company(session)
                        await leftovers.remove(session, self.say)
                        await nodes.create(session)
                        self.say(f"{self.nodes} simulated nodes are ready")
                        return await self._figures(session, client)
                    finally:
                        await leftovers.remove(session, self.say)
                        await nodes.remove(session)

    async def _figures(self, session: Session, client: Path) -> list[Figure]:
        sizes = self.sizes
        bare, server = await self._bare(session)
        figures = [
            Figure("bare pods", bare.per_minute, "pods/min", beside="the limit: no operator at all"),
            Figure("API server's CPU per bare pod", server / sizes.bare * 1000, "ms"),
        ]
        with (
            EtcdServer(self.folder / "etcd") as etcd,
            OperatorProcess(workdir=self.folder / "operator", kubeconfig=str(client), etcd=etcd.endpoint) as operator,
        ):
            await session.create(EXECUTORS, loads.executor(leftovers.EXECUTOR, LABEL))
            one, usage, _ = await self._load(session, operator, "one", sizes.one, loads.ONE)
            writes = ", ".join(f"{what} {count / sizes.one:.2f}" for what, count in usage.writes.items())
            figures += [
                Figure(
                    "one-pod runs",
                    one.per_minute,
                    "runs/min",
                    1000,
                    at_least=True,
                    beside=f"{one.per_minute / bare.per_minute:.2f} of the bare pods",
                ),
                Figure("operator's CPU per one-pod run", usage.cpu_seconds / sizes.one * 1000, "ms", 15),
                Figure("API server's CPU per one-pod run", usage.server_seconds / sizes.one * 1000, "ms"),
                Figure("API writes per one-pod run", sum(usage.writes.values()) / sizes.one, "", 6, beside=writes),
                Figure("passes per task, one-pod runs", usage.reconciles / sizes.one, "", 6),
            ]
            diamonds, usage, seen = await self._load(session, operator, "diamonds", sizes.diamonds, loads.DIAMOND)
            tasks = sizes.diamonds * len(loads.DIAMOND)
            pods = diamonds.per_minute * len(loads.DIAMOND)
            figures += [
                Figure(
                    "diamonds of four tasks",
                    diamonds.per_minute,
                    "runs/min",
                    330,
                    at_least=True,
                    beside=f"{pods:,.0f} pods/min, {pods / bare.per_minute:.2f} of the bare pods",
                ),
                Figure("operator's CPU per diamond", usage.cpu_seconds / sizes.diamonds * 1000, "ms"),
                Figure("API writes per task, diamonds", sum(usage.writes.values()) / tasks, ""),
                Figure("passes per task, diamonds", usage.reconciles / tasks, "", 6),
                *_delays("under load", seen, 1000),
            ]
            _, _, seen = await self._load(session, operator, "idle", sizes.idle, loads.DIAMOND, at_once=1)
            figures += [
                *_delays("idle", seen, 300),
                Figure(
                    "operator's memory, peak",
                    process.peak_megabytes(operator.pid),
                    "MB",
                    beside=f"after {sizes.one + sizes.diamonds + sizes.idle} runs",
                ),
            ]
        return figures

    async def _bare(self, session: Session) -> tuple[loads.Timing, float]:
        self.say(f"{self.sizes.bare} bare pods …")
        await loads.namespace(session, "bench-bare")
        server = self._server_seconds()
        timing = await loads.bare_pods(session, "bench-bare", self.sizes.bare, self.say)
        server = self._server_seconds() - server
        await leftovers.gone(session, "bench-bare")
        return timing, server

    async def _load(
        self,
        session: Session,
        operator: OperatorProcess,
        name: str,
        number: int,
        shape: loads.Shape,
        *,
        at_once: int = loads.AT_ONCE,
    ) -> tuple[loads.Timing, Usage, loads.Watched]:
        self.say(f"{number} runs of {len(shape)} tasks, {at_once} at once …")
        namespace = f"bench-{name}"
        await loads.namespace(session, namespace)
        requests = apiserver.requests(self.kubectl, self.places.kubeconfig)
        cpu, server, metrics = process.cpu_seconds(operator.pid), self._server_seconds(), operator.metrics()
        timing, watched = await loads.runs(session, namespace, number, shape, self.say, at_once=at_once)
        await self._quiet(operator)
        _check_logs(metrics, operator.metrics(), number * len(shape))
        usage = Usage(
            process.cpu_seconds(operator.pid) - cpu,
            self._server_seconds() - server,
            apiserver.by_operator(requests, apiserver.requests(self.kubectl, self.places.kubeconfig)),
            operator.metrics()["runabout_reconciles_total"] - metrics["runabout_reconciles_total"],
        )
        await leftovers.gone(session, namespace)
        return timing, usage, watched

    async def _quiet(self, operator: OperatorProcess) -> None:
        """Wait until the operator has released all finalizers: they belong to the runs' cost."""
        last = -1.0
        async with asyncio.timeout(QUIET_SECONDS):
            while (now := sum(self._finished_requests(operator))) != last:
                last = now
                await asyncio.sleep(1)

    def _finished_requests(self, operator: OperatorProcess) -> list[float]:
        return [value for name, value in operator.metrics().items() if name.startswith("runabout_api_requests_total")]

    def _server_seconds(self) -> float:
        server = processes.living(self.places.pids / "apiserver.pid")
        if server is None:
            raise LocalClusterError("the API server of the local cluster is not running", "hack/cluster up")
        return process.cpu_seconds(server.pid)

    def _kubectl(self, *arguments: str) -> str:
        command = [str(self.kubectl), f"--kubeconfig={self.places.kubeconfig}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def _check_logs(before: Mapping[str, float], after: Mapping[str, float], pods: int) -> None:
    """Make sure that every log was read: a run whose logs cannot be had is another thing than what is measured."""
    stored = after["runabout_log_bytes_total"] - before["runabout_log_bytes_total"]
    expected = pods * (len(SETUP) + len(OUTPUT))
    if stored != expected:
        raise LocalClusterError(
            f"the logs of {pods} simulated pods have {expected} bytes, and the operator stored {stored:.0f}",
            "kwok does not serve them, or the operator gave some up: nothing measured here would be worth anything.",
        )


def _delays(when: str, seen: loads.Watched, target: float | None) -> list[Figure]:
    delays = [delay * 1000 for delay in seen.child_delays()]
    name = f"parent's end to child's pod, {when}"
    return [
        Figure(f"{name}, p50", loads.percentile(delays, 0.5), "ms", beside=f"{len(delays)} children, as a watch shows"),
        Figure(f"{name}, p95", loads.percentile(delays, 0.95), "ms", target),
    ]
