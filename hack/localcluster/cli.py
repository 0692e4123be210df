"""The command `hack/cluster`."""

from __future__ import annotations

import argparse
import signal
import time
from typing import TYPE_CHECKING

from localcluster import docker, gobuild, native, nodeimages, preflight
from localcluster.console import LocalClusterError, answer, duration, say
from localcluster.settings import DEFAULT_NAME, Places, cluster_name

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPONENTS = (
    "apiserver",
    "etcd",
    "scheduler",
    "controller-manager",
    "kubelet",
    "proxy",
    "dns",
    "containerd",
    "provisioner",
)
SIGNALS = ("KILL", "TERM", "INT", "ABRT")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="hack/cluster",
        description="A real Kubernetes on this machine: kind where a Docker engine works, native processes elsewhere.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, summary: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, description=summary)
        sub.add_argument(
            "--name", help=f"name of the cluster (default: $RUNABOUT_CLUSTER or {DEFAULT_NAME})", metavar="NAME"
        )
        return sub

    verb("up", "Bring the cluster up; harmless if it is, repairs it if it is half dead.")
    verb("down", "Remove the cluster and everything it left on the machine, its data too.")
    verb("status", "Show every part, its pid and its health; exit code 1 if something is wrong.")
    load = verb("load-image", "Bring an image to the node: a docker-archive, or one built by hack/images.")
    load.add_argument("image", help="FILE.tar or NAME", nargs="+")
    verb("kubeconfig", "Print the path of the admin's kubeconfig; it never changes.")
    tool = verb("tool", "Print the absolute path of a tool, which is built if it is not in the cache.")
    tool.add_argument("tool", choices=gobuild.TOOL_NAMES, nargs="+")
    restart = verb("restart", "Kill one component of the native cluster and start it again, for tests of faults.")
    restart.add_argument("component", choices=COMPONENTS)
    restart.add_argument("--signal", choices=SIGNALS, default="KILL", help="signal that ends it (default: KILL)")
    restart.add_argument("--down", type=float, default=0.0, metavar="SECONDS", help="stay down that long (default: 0)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except LocalClusterError as error:
        say(f"hack/cluster {arguments.verb}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command continues where it was")
        return 130


def _run(arguments: argparse.Namespace) -> int:
    places = Places.of(cluster_name(arguments.name))
    match arguments.verb:
        case "tool":
            for tool in arguments.tool:
                answer(str(gobuild.tool(tool)))
        case "kubeconfig":
            answer(str(places.kubeconfig))
        case "up":
            _up(places)
        case "down":
            _down(places)
        case "status":
            return docker.status(places) if docker.available() else _status(places)
        case "load-image":
            _load(places, arguments.image)
        case "restart":
            _restart(places, arguments)
    return 0


def _down(places: Places) -> None:
    if docker.available():
        docker.down(places)
    else:
        native.down(places)
    say("next: hack/cluster up")


def _load(places: Places, images: Sequence[str]) -> None:
    if not docker.available():
        native.require_up(places)
    for image in images:
        if docker.available():
            docker.load(places, image)
        else:
            nodeimages.load_named(places, image)


def _restart(places: Places, arguments: argparse.Namespace) -> None:
    if docker.available():
        raise LocalClusterError("restart is for the native cluster", "With kind: docker exec NODE crictl … or kubectl.")
    number = signal.Signals[f"SIG{arguments.signal}"]
    native.restart(places, arguments.component, number=number, down_seconds=arguments.down)


def _up(places: Places) -> None:
    begin = time.monotonic()
    if docker.available():
        docker.up(places)
    else:
        native.up(places)
    say(f"  all of it took {duration(time.monotonic() - begin)}")
    say(f"next: export KUBECONFIG={places.kubeconfig}")
    kubectl = gobuild.KUBERNETES.folder / "kubectl"
    say(f"      {kubectl if kubectl.exists() else 'kubectl'} get nodes")


def _status(places: Places) -> int:
    preflight.require_own(places)
    if not native.exists(places):
        say(f"cluster {places.name}: not there\nnext: hack/cluster up")
        for remain in native.remains(places):
            say(f"  but this is left: {remain}")
        return 1
    states = native.health(places)
    for state in states:
        word = "healthy" if state.healthy else ("NOT HEALTHY" if state.pid else "NOT RUNNING")
        say(f"{state.name:20} {state.pid or '-':>8}  {word:12} {state.log}")
    ready = native.node_ready(places)
    say(f"{'node ' + places.name:20} {'':>8}  {'Ready' if ready else 'NOT READY'}")
    if ready and all(state.healthy for state in states):
        say(f"next: export KUBECONFIG={places.kubeconfig}")
        return 0
    say("next: hack/cluster up   (repairs it; if that does not help: hack/cluster down, then up)")
    return 1
