"""What containers and the kubelet leave on a machine: shims, mounts, cgroups, links.

Everything is recognised by our own paths, never by a program's name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster.console import LocalClusterError
from localcluster.processes import PROC, ProcessMark, mark, send, wait_for
from localcluster.settings import CNI_NETWORK

if TYPE_CHECKING:
    from localcluster.settings import Places

CGROUPS = Path("/sys/fs/cgroup")
KUBELET_CGROUP = "kubepods"
SHIM_SOCKETS = Path("/run/containerd/s")
RUNC_STATES = Path("/run/containerd/runc/k8s.io")
CNI_RESULTS = Path("/var/lib/cni/results")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
CONTAINER_LINKS = Path("/var/log/containers")


def shims(socket: Path, proc: Path = PROC) -> list[ProcessMark]:
    """The shims of the containerd at this address: they outlive it and name it in their arguments."""
    found: list[ProcessMark] = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if (b"-address", os.fsencode(socket)) in pairwise(arguments):
            process = mark(int(entry.name), proc)
            if process is not None:
                found.append(process)
    return found


def container_processes() -> list[ProcessMark]:
    """Every process in a cgroup of the kubelet's."""
    found: dict[int, ProcessMark] = {}
    for cgroup in kubelet_cgroups():
        for listing in (cgroup / "cgroup.procs", *cgroup.rglob("cgroup.procs")):
            try:
                pids = [int(pid) for pid in listing.read_text().split()]
            except OSError:
                continue
            for pid in pids:
                process = mark(pid)
                if process is not None:
                    found[pid] = process
    return list(found.values())


def kubelet_cgroups() -> list[Path]:
    """The kubelet's cgroup in every hierarchy."""
    if (CGROUPS / "cgroup.controllers").exists():
        candidates = [CGROUPS / KUBELET_CGROUP]
    else:
        candidates = [hierarchy / KUBELET_CGROUP for hierarchy in CGROUPS.iterdir() if hierarchy.is_dir()]
    unique = {candidate.resolve() for candidate in candidates if candidate.is_dir()}
    return sorted(unique)


def kill_containers(places: Places) -> None:
    """End every container and its shim. containerd and the kubelet must have ended before."""
    sockets = shim_sockets(places)

    def nothing_lives() -> bool:
        left = shims(places.containerd_socket) + container_processes()
        for process in left:
            send(process, signal.SIGKILL)
        return not left

    if not wait_for(nothing_lives, 20.0):
        raise LocalClusterError(
            "processes of containers do not end, not even by SIGKILL",
            f"See `cat {CGROUPS}/*/{KUBELET_CGROUP}/**/cgroup.procs`; a reboot removes them.",
        )
    for path in sockets:
        path.unlink(missing_ok=True)


def shim_sockets(places: Places) -> list[Path]:
    """The sockets of the shims, which lie outside our folders."""
    found: list[Path] = []
    for address in (places.run / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        text = address.read_text().strip()
        if text.startswith(f"unix://{SHIM_SOCKETS}/"):
            found.append(Path(text.removeprefix("unix://")))
    return found


def mounts_below(*folders: Path, table: str | None = None) -> list[Path]:
    """Mount points at or below the folders, the deepest and latest first."""
    text = (PROC / "self/mounts").read_bytes() if table is None else os.fsencode(table)
    found: list[Path] = []
    for line in text.removesuffix(b"\n").split(b"\n"):
        # Blanks, tabs, newlines and backslashes in a path are written as three octal digits, all else as it is.
        written = line.split(b" ")[1]
        point = Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda digits: bytes([int(digits[1], 8)]), written)))
        if any(point.is_relative_to(folder) for folder in folders):
            found.append(point)
    return found[::-1]


def unmount(*folders: Path) -> None:
    """Unmount everything at or below the folders."""
    for lazily in (False, True):
        for point in mounts_below(*folders):
            flags = ["-l"] if lazily else []
            subprocess.run(["umount", *flags, str(point)], capture_output=True, check=False)
    left = mounts_below(*folders)
    if left:
        raise LocalClusterError(
            f"{len(left)} mounts cannot be removed, the first is {left[0]}", "umount -l it by hand."
        )


def remove_cgroups() -> None:
    """Remove the kubelet's cgroups; they are empty by now."""
    for cgroup in kubelet_cgroups():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError as error:
                raise LocalClusterError(f"the cgroup {folder} cannot be removed: {error.strerror}") from error


def remove_strays(places: Places) -> None:
    """Remove what the kubelet and the network plugins write outside our folders whatever they are told."""
    if CONTAINER_LINKS.is_dir():
        for link in CONTAINER_LINKS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(places.home):
                link.unlink()
    for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
        (DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for result in CNI_RESULTS.glob(f"{CNI_NETWORK}-*"):
        result.unlink(missing_ok=True)
    _remove_states(places)
    for folder in (
        *(RUNC_STATES, RUNC_STATES.parent),
        *(CONTAINER_LINKS, DEVICE_PLUGINS, DEVICE_PLUGINS.parent, CNI_RESULTS, CNI_RESULTS.parent),
        *(SHIM_SOCKETS, SHIM_SOCKETS.parent),
    ):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_states(places: Places) -> None:
    """Remove what runc and the loopback plugin note of our containers where those of every containerd are noted."""
    for state in RUNC_STATES.glob("*/state.json"):
        if _below(_at(_json(state), "config", "rootfs"), places.run):
            shutil.rmtree(state.parent)
    for result in CNI_RESULTS.glob("cni-loopback-*"):
        if any(_below(sandbox, places.run) for sandbox in _sandboxes(_json(result))):
            result.unlink(missing_ok=True)


def _below(path: object, folder: Path) -> bool:
    """Whether something read from a file is the path of something in a folder, links and dots apart."""
    return isinstance(path, str) and ".." not in Path(path).parts and Path(path).is_relative_to(folder)


def _json(file: Path) -> object:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):  # half written, or somebody else's
        return None


def _at(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _sandboxes(value: object) -> list[object]:
    """The network namespaces that a result of a network plugin is about."""
    interfaces = _at(value, "result", "interfaces")
    return [_at(one, "sandbox") for one in interfaces] if isinstance(interfaces, list) else []


def forget_containers(places: Places) -> None:
    """Remove what containerd and the kubelet remember of containers that do not run any more. Images stay."""
    kill_containers(places)
    unmount(places.run, places.kubelet)
    for folder in (places.run / "containerd", places.run / "addresses"):
        if folder.exists():
            shutil.rmtree(folder)


def remove_folders(places: Places) -> None:
    """Remove the cluster's folders. Nothing may be mounted below: removing would reach through a mount."""
    unmount(places.run, places.home)
    for folder in (places.home, places.run):
        if folder.exists():
            shutil.rmtree(folder)
    for parent in (places.run.parent, places.home.parent):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
