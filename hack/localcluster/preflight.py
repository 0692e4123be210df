"""What the native cluster needs of a machine, and what to do where it is missing."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import settings
from localcluster.config import CNI_PLUGINS
from localcluster.console import LocalClusterError, say, step
from localcluster.gobuild import require_space
from localcluster.processes import living

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcluster.components import Component
    from localcluster.settings import Places

# What is looked for, and the Debian package that brings it.
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "busybox": "busybox-static",
    f"{CNI_PLUGINS}/bridge": "containernetworking-plugins",
}
IMAGE_PROGRAMS = {"debootstrap": "debootstrap", "busybox": "busybox-static"}
SPACE_GB = 1.5
IP_FREEBIND = 15  # Linux; Python has no name for it


def require_linux_and_root() -> None:
    """The native cluster is for root on Linux, everything else is for kind."""
    if platform.system() != "Linux":
        raise LocalClusterError(
            f"there is no Docker engine, and the native cluster needs Linux (this is {platform.system()})",
            "Start Docker; `docker info` must succeed.",
        )
    if os.geteuid() != 0:
        raise LocalClusterError(
            "there is no Docker engine, and the native cluster needs root: it makes containers, a bridge and mounts",
            "Run it again as root (`sudo -E hack/cluster …`), or start Docker.",
        )


def ensure_programs(programs: dict[str, str] | None = None) -> None:
    """Install what is missing with apt where there is apt, saying so."""
    wanted = PROGRAMS if programs is None else programs
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if not missing:
        return
    remedy = f"Install what brings these Debian packages: {' '.join(missing)}."
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise LocalClusterError(f"programs are missing: {', '.join(missing)}", remedy)
    say(f"missing: {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The packages' own service would start a second containerd; where nothing runs services this changes nothing.
    with step(f"installing them with apt-get ({' '.join(missing)})"):
        for argv in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]):
            result = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            if result.returncode != 0 and argv[1] == "install":
                raise LocalClusterError(f"`{' '.join(argv)}` failed: {result.stderr.strip()[-600:]}", remedy)


def require_free_ports(components: Iterable[Component]) -> None:
    """Say who has a port that one of these components needs."""
    for component in components:
        for host, port in component.listens:
            with socket.socket() as probe:
                # As the servers do: connections that wait for their last packets are no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # The bridge's address may not be there yet; who listens everywhere has its port all the same.
                probe.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        continue
                    raise LocalClusterError(
                        f"{component.name} needs port {port} on {host}, and it is taken{_owner(port)}",
                        "End that program, or run `hack/cluster down` if it is an older cluster of this project.",
                    ) from error


def _owner(port: int) -> str:
    if shutil.which("ss") is None:
        return ""
    result = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False)
    _, found, owner = result.stdout.partition("users:((")
    return f" by {owner.split(')')[0]}" if found else ""


def require_own(places: Places) -> None:
    """A cluster is its maker's: another home means another cache, and what is there would not be what is shown."""
    maker = places.owner.read_text().strip() if places.owner.exists() else str(places.home)
    if maker != str(places.home) and _lives(places.run):
        raise LocalClusterError(
            f"the cluster {places.name!r} is up and belongs to {maker}",
            "Use it from there (its HOME or XDG_CACHE_HOME), or take it down there first.",
        )


def other_cluster(places: Places) -> str:
    """Return the name of another native cluster that is up, empty if there is none."""
    if not settings.RUN_ROOT.is_dir():
        return ""
    others = (other for other in settings.RUN_ROOT.iterdir() if other.name != places.name)
    return next((other.name for other in others if _lives(other)), "")


def _lives(run: Path) -> bool:
    return any(living(pid_file) for pid_file in (run / "pids").glob("*.pid"))


def require_only_cluster(places: Places) -> None:
    """One native cluster per machine: bridge and ports are fixed."""
    other = other_cluster(places)
    if other:
        raise LocalClusterError(
            f"the native cluster {other!r} is up, and a machine can have one",
            f"Use it (RUNABOUT_CLUSTER={other}), or `hack/cluster down --name {other}` first.",
        )


def require_disk(places: Places) -> None:
    """Room for data, logs and images."""
    require_space(places.home, SPACE_GB, "the cluster")


def require_overlay() -> None:
    """Layers of images are mounted with overlayfs."""
    if "overlay" not in Path("/proc/filesystems").read_text():
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
        if "overlay" not in Path("/proc/filesystems").read_text():
            raise LocalClusterError(
                "the kernel has no overlayfs", "Use a machine with it, or Docker's virtual machine."
            )
