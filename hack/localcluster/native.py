"""The native cluster: up, down, status, restart. Each can be called in any state the cluster is in."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localcluster import (
    components,
    config,
    gobuild,
    leftovers,
    manifests,
    network,
    nodeimages,
    pki,
    preflight,
    processes,
)
from localcluster.api import Api, ApiError
from localcluster.console import LocalClusterError, say, step
from localcluster.settings import BRIDGE

if TYPE_CHECKING:
    from localcluster.components import Component
    from localcluster.settings import Places

READY_SECONDS = 60.0
EARLY_SECONDS = 0.5
BASE = frozenset({"etcd", "containerd", "apiserver"})


@dataclass(frozen=True, slots=True)
class Health:
    """One component as `status` shows it."""

    name: str
    pid: int | None
    healthy: bool
    log: str


def health(places: Places) -> list[Health]:
    """Every component's process and health, all asked at once."""

    def one(component: Component) -> Health:
        process = processes.living(component.pid_file(places))
        return Health(
            name=component.name,
            pid=process.pid if process else None,
            healthy=process is not None and component.healthy(),
            log=str(component.log(places)),
        )

    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(one, components.all_components(places)))


def node_ready(places: Places) -> bool:
    """Whether the node says Ready and takes pods."""
    try:
        node = Api.of(places.pki, "admin").get(f"/api/v1/nodes/{places.name}")
    except ApiError:
        return False
    taints = {taint["key"] for taint in node["spec"].get("taints", [])}
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "node.kubernetes.io/not-ready" not in taints


def is_up(places: Places) -> bool:
    """Whether nothing is left to do for `up`."""
    return (
        places.kubeconfig.exists()
        and places.kubeconfig.stat().st_size > 0
        and network.bridge_is_up()
        and network.bridge_keeps_its_address()
        and all(state.healthy for state in health(places))
        and node_ready(places)
    )


def exists(places: Places) -> bool:
    """Whether anything of a cluster of this name is there."""
    return (places.pki / "complete").exists() or places.pids.is_dir()


def up(places: Places) -> None:
    """Bring the cluster up, or back up, and wait until its node is Ready."""
    preflight.require_linux_and_root()
    preflight.require_own(places)
    preflight.require_only_cluster(places)
    for part in gobuild.CLUSTER_PARTS:
        if not part.ready():
            say(f"{part.name} {part.version} is not in the cache yet")
    if is_up(places):
        say(f"cluster {places.name}: up and healthy")
        return
    preflight.ensure_programs()
    preflight.require_overlay()
    preflight.require_disk(places)
    # Before the builds, which may take a quarter of an hour.
    network.refuse_a_taken_range()
    preflight.require_free_ports([one for one in components.all_components(places) if not one.alive(places)])
    for part in gobuild.CLUSTER_PARTS:
        gobuild.build(part)
    begin = time.monotonic()
    with gobuild.file_lock(f"cluster-{places.name}"):
        places.run.mkdir(parents=True, exist_ok=True)
        places.owner.write_text(f"{places.home}\n")
        _start_everything(places)
    say(f"cluster {places.name}: node Ready after {time.monotonic() - begin:.1f} s")


def _start_everything(places: Places) -> None:
    _forget_another_boot(places)
    _forget_pods_without_a_bridge(places)
    masquerade_all = not network.bridged_packets_pass_iptables()
    wanted = components.all_components(places)
    broken = [component for component in wanted if component.alive(places) and not _recovers(component)]
    for component in broken:
        say(f"{component.name} runs but is not healthy: starting it again")
        processes.stop(component.pid_file(places), number=signal.SIGKILL)
    to_start = [component for component in wanted if not component.alive(places)]
    names = {component.name for component in to_start}
    with step("preparing network, certificates and configuration", quiet=True):
        network.set_up(places)
        preflight.require_free_ports(to_start)
        pki.ensure(places)
        _write_configuration(places, masquerade_all=masquerade_all)
        if "containerd" in names:
            _clear_before_containerd(places)
    with step(f"starting {', '.join(component.name for component in to_start) or 'nothing'}"):
        base = [component for component in to_start if component.name in BASE]
        _start(places, base)
        # DNS becomes ready when it has its rights, pods start when there is their pause image: both meanwhile.
        with ThreadPoolExecutor(2) as pool:
            aside = [pool.submit(_bootstrap, places), pool.submit(nodeimages.ensure_pause_image, places)]
            _start(places, [component for component in to_start if component not in base])
            for done in aside:
                done.result()
    with step("waiting for the node to be Ready", quiet=True):
        if not processes.wait_for(lambda: node_ready(places), READY_SECONDS):
            log = places.logs / "kubelet.log"
            raise LocalClusterError(
                f"the node is not Ready after {READY_SECONDS:.0f} s; the kubelet's last words:\n{processes.tail(log)}",
                f"See {places.logs}; `hack/cluster down` and `up` make a new cluster.",
            )


def _recovers(component: Component) -> bool:
    # A busy machine may miss one deadline.
    return processes.wait_for(component.healthy, 5.0)


def _start(places: Places, to_start: list[Component]) -> None:
    # What needs nothing that is missing starts at once; the rest when what it needs is healthy.
    waiting = list(to_start)
    starting: list[Component] = []
    while waiting or starting:
        unhealthy = {component.name for component in (*waiting, *starting)}
        for component in [one for one in waiting if not unhealthy & set(one.needs)]:
            _launch(places, component)
            waiting.remove(component)
            starting.append(component)
        wait_healthy(places, starting, any_is_enough=bool(waiting))
        starting = [component for component in starting if not component.healthy()]


def _launch(places: Places, component: Component) -> None:
    processes.start(
        component.argv,
        pid_file=component.pid_file(places),
        log=component.log(places),
        environment=components.environment() | component.environment,
    )


def wait_healthy(places: Places, started: list[Component], *, any_is_enough: bool = False) -> None:
    """Wait for components that were just started. Raises LocalClusterError with the log of one that ends or hangs."""
    deadline = time.monotonic() + max(component.start_seconds for component in started)
    while True:
        states = [component.healthy() for component in started]
        if all(states) or (any_is_enough and any(states)):
            return
        for component, healthy in zip(started, states, strict=True):
            process = processes.living(component.pid_file(places))
            if process is not None:
                processes.reap(process.pid)
            elif _came_too_early(places, component) and time.monotonic() < deadline:
                time.sleep(EARLY_SECONDS)
                _launch(places, component)
                continue
            if process is None or (not healthy and time.monotonic() > deadline):
                what = "ended" if process is None else "does not become healthy"
                log = component.log(places)
                raise LocalClusterError(
                    f"{component.name} {what}; its last words:\n{processes.tail(log)}",
                    f"The whole log is {log}. `hack/cluster down` and `up` make a new cluster.",
                )
        time.sleep(processes.POLL_SECONDS)


def _came_too_early(places: Places, component: Component) -> bool:
    return bool(component.too_early) and component.too_early in processes.tail(component.log(places))


def _write_configuration(places: Places, *, masquerade_all: bool) -> None:
    for folder in (places.run, places.kubelet, places.volumes, places.logs / "pods"):
        folder.mkdir(parents=True, exist_ok=True)
    etcd_data = places.home / "etcd"
    etcd_data.mkdir(exist_ok=True)
    etcd_data.chmod(0o700)
    for path, text in config.files(places, masquerade_all=masquerade_all).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # kube-proxy ends when its file is written, changed or not.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _forget_another_boot(places: Places) -> None:
    # /run may survive a reboot; no process, mount or container state in it does.
    note = places.run / "boot"
    if note.exists() and note.read_text() != processes.boot_id():
        say("the machine was rebooted since this cluster was started: forgetting its processes")
        for pid_file in places.pids.glob("*.pid"):
            pid_file.unlink()
        leftovers.forget_containers(places)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(processes.boot_id())


def _forget_pods_without_a_bridge(places: Places) -> None:
    # A new bridge would have none of their interfaces, and nobody would notice: the kubelet makes them again instead.
    if network.bridge_exists() or not leftovers.shims(places.containerd_socket):
        return
    say(f"the bridge {BRIDGE} is gone, and with it the network of every pod: starting the pods again")
    for name in ("kubelet", "containerd"):
        processes.stop(places.pids / f"{name}.pid", number=signal.SIGKILL)
    leftovers.forget_containers(places)


def _clear_before_containerd(places: Places) -> None:
    # Without a living shim a container cannot be taken over; what such a one has mounted would stay for ever.
    if not leftovers.shims(places.containerd_socket):
        leftovers.forget_containers(places)


def _bootstrap(places: Places) -> None:
    api = Api.of(places.pki, "admin")
    failure: list[ApiError] = []

    def applied(path: str, manifest: dict[str, object]) -> bool:
        try:
            api.apply(path, manifest)
        except ApiError as error:
            failure[:] = [error]
            return False
        return True

    for path, manifest in manifests.bootstrap():
        if not processes.wait_for(lambda path=path, manifest=manifest: applied(path, manifest), 20.0):  # type: ignore[misc]
            raise LocalClusterError(f"the API server does not take {path}: {failure[0]}") from failure[0]


def down(places: Places) -> None:
    """End everything and remove everything of this cluster, its data too. Harmless where nothing is.

    Where another one is up, what all clusters of a machine share is that one's: bridge, rules and cgroups stay.
    """
    preflight.require_linux_and_root()
    preflight.require_own(places)
    if not exists(places) and not places.run.exists() and not places.home.exists():
        say(f"cluster {places.name}: nothing is there")
        return
    with gobuild.file_lock(f"cluster-{places.name}"), step(f"taking cluster {places.name} down"):
        # The kubelet first, or it would start containers again; containerd last, or nobody would answer the kubelet.
        order = ("kubelet", "provisioner", "dns", "proxy", "scheduler", "controller-manager", "apiserver", "etcd")
        for name in (*order, "containerd"):
            processes.stop(places.pids / f"{name}.pid", number=signal.SIGKILL)
        alone = not preflight.other_cluster(places)
        if alone:
            leftovers.kill_containers(places)
        leftovers.unmount(places.run, places.home)
        if alone:
            leftovers.remove_cgroups()
            leftovers.remove_strays(places)
            network.tear_down(places)
        leftovers.remove_folders(places)


def restart(places: Places, name: str, *, number: signal.Signals, down_seconds: float) -> None:
    """Signal one component until it has ended, leave it down for a while, start it and wait until it is healthy."""
    by_name = {component.name: component for component in components.all_components(places)}
    component = by_name.get(name)
    preflight.require_own(places)
    if component is None:
        raise LocalClusterError(f"no component is called {name!r}", f"There are: {', '.join(by_name)}.")
    if not exists(places):
        raise LocalClusterError(f"cluster {places.name} is not there", "hack/cluster up")
    with gobuild.file_lock(f"cluster-{places.name}"), step(f"restarting {name}"):
        processes.stop(component.pid_file(places), number=number, grace_seconds=30.0)
        time.sleep(down_seconds)
        preflight.require_free_ports([component])
        processes.start(
            component.argv,
            pid_file=component.pid_file(places),
            log=component.log(places),
            environment=components.environment() | component.environment,
        )
        wait_healthy(places, [component])


def require_up(places: Places) -> None:
    """Refuse what needs a running cluster where there is none."""
    if not places.kubeconfig.exists() or not node_ready(places):
        raise LocalClusterError(f"cluster {places.name} is not up", "hack/cluster up")


def remains(places: Places) -> list[str]:
    """What is left on the machine of a cluster; empty after `down`."""
    left = [f"process {process.pid}" for process in leftovers.shims(places.containerd_socket)]
    left += [f"mount {point}" for point in leftovers.mounts_below(places.run, places.home)]
    left += [f"folder {folder}" for folder in (places.run, places.home) if os.path.lexists(folder)]
    if preflight.other_cluster(places):  # the rest is that one's
        return left
    left += [f"cgroup {cgroup}" for cgroup in leftovers.kubelet_cgroups()]
    if network.bridge_is_up():
        left.append(f"bridge {BRIDGE}")
    if network.rules_left():
        left.append(f"{network.rules_left()} rules and chains of iptables")
    return left
