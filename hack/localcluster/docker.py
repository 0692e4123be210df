"""The cluster where a Docker engine works: kind, with the same names and the same kubeconfig path."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import archive, gobuild
from localcluster.console import LocalClusterError, say, step
from localcluster.layers import Store

if TYPE_CHECKING:
    from localcluster.settings import Places


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
    """Create the cluster, or start its stopped nodes; write the kubeconfig."""
    if places.name not in clusters():
        with step(f"creating the kind cluster {places.name}"):
            kind("create", "cluster", f"--name={places.name}", "--wait=120s", f"--kubeconfig={_fresh(places)}")
    else:
        for node in kind("get", "nodes", f"--name={places.name}").split():
            subprocess.run(["docker", "start", node], capture_output=True, check=False)
    text = kind("get", "kubeconfig", f"--name={places.name}")
    _fresh(places).write_text(text)
    say(f"cluster {places.name}: up (kind)")


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
    """Say whether the cluster is there; the exit code."""
    there = places.name in clusters()
    say(f"cluster {places.name}: {'there (kind)' if there else 'not there'}")
    say(f"next: export KUBECONFIG={places.kubeconfig}" if there else "next: hack/cluster up")
    return 0 if there else 1


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
