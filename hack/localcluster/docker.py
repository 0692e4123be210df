"""The cluster where a Docker engine works: kind, with the same names and the same kubeconfig path."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import archive, gobuild, processes
from localcluster.console import LocalClusterError, say, step
from localcluster.layers import Store

if TYPE_CHECKING:
    from localcluster.settings import Places

READY_SECONDS = 120.0
ADMIN = "--kubeconfig=/etc/kubernetes/admin.conf"


@functools.cache
def available() -> bool:
    """Whether a Docker engine answers. `RUNABOUT_ENGINE=native|docker` decides instead where it is set."""
    forced = os.environ.get("RUNABOUT_ENGINE", "")
    if forced:
        if forced not in {"native", "docker"}:
            raise LocalClusterError(f"RUNABOUT_ENGINE is {forced!r}", "It may be `native` or `docker`.")
        return forced == "docker"
    if shutil.which("docker") is None:
        return False
    try:
        result = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def kind(*arguments: str) -> str:
    """Run the real kind, built if needed; return its output."""
    argv = [str(gobuild.tool("kind")), *arguments]
    result = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise LocalClusterError(f"`kind {' '.join(arguments)}` failed with {result.returncode}", "See its words above.")
    return result.stdout


def clusters() -> list[str]:
    """The names of kind's clusters."""
    return kind("get", "clusters").split()


def up(places: Places) -> None:
    """Create the cluster, or start its stopped nodes; write the kubeconfig and wait until the nodes are Ready."""
    if places.name not in clusters():
        with step(f"creating the kind cluster {places.name}"):
            kind("create", "cluster", f"--name={places.name}", "--wait=120s", f"--kubeconfig={_fresh(places)}")
    else:
        for node in nodes(places):
            subprocess.run(["docker", "start", node], capture_output=True, check=False)
    with step("waiting for the nodes to be Ready", quiet=True):
        if not processes.wait_for(lambda: ready(places), READY_SECONDS):
            raise LocalClusterError(
                f"the nodes of the kind cluster {places.name} are not Ready after {READY_SECONDS:.0f} s",
                "See `docker logs` of its containers; `hack/cluster down` and `up` make a new cluster.",
            )
    text = kind("get", "kubeconfig", f"--name={places.name}")
    _fresh(places).write_text(text)
    say(f"cluster {places.name}: up (kind)")


def nodes(places: Places) -> list[str]:
    """The names of the containers that are the cluster's nodes."""
    return kind("get", "nodes", f"--name={places.name}").split()


def ready(places: Places) -> bool:
    """Whether every node is Ready, in the words of the first one's kubectl."""
    there = nodes(places)
    if not there:
        return False
    wait = ("kubectl", ADMIN, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=5s")
    return subprocess.run(["docker", "exec", there[0], *wait], capture_output=True, check=False).returncode == 0


def _fresh(places: Places) -> Path:
    # kind merges into what is there; an empty or foreign file would be kept.
    places.home.mkdir(parents=True, exist_ok=True)
    places.kubeconfig.unlink(missing_ok=True)
    places.kubeconfig.touch(mode=0o600)
    return places.kubeconfig


def down(places: Places) -> None:
    """Delete the cluster."""
    kind("delete", "cluster", f"--name={places.name}")
    shutil.rmtree(places.home, ignore_errors=True)


def status(places: Places) -> int:
    """Say whether the cluster is there and well; the exit code."""
    if places.name not in clusters():
        say(f"cluster {places.name}: not there (kind)\nnext: hack/cluster up")
        return 1
    if not ready(places):
        say(f"cluster {places.name}: its nodes are NOT READY (kind)\nnext: hack/cluster up   (starts what is stopped)")
        return 1
    say(f"cluster {places.name}: up (kind)\nnext: export KUBECONFIG={places.kubeconfig}")
    return 0


def load(places: Places, image: str) -> None:
    """Bring an image to the nodes: a file, one of Docker's, or one built by `hack/images` without Docker."""
    if Path(image).is_file():
        kind("load", "image-archive", image, f"--name={places.name}")
        return
    store = Store.of_user()
    known = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0
    built = archive.find(store, image)
    if not known and built is not None:
        path = store.root / "export.tar"
        with path.open("wb") as file:
            archive.write(store, built, file)
        kind("load", "image-archive", str(path), f"--name={places.name}")
        path.unlink()
        return
    kind("load", "docker-image", image, f"--name={places.name}")
