"""A service account for the benchmark's clients, and for the operator as it has one in an installation.

The cluster's own kubeconfig has a client certificate, and the API server checks its signature anew for every request:
a tenth of its CPU that no installation pays, for bare pods as well as for runs.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

SPACE = "bench-account"
NAME = "bench"


@contextmanager
def account(kubectl: Path, kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """Yield a kubeconfig in `folder` whose user is a service account that may do everything; it is gone afterwards."""

    def run(*arguments: str) -> str:
        command = [str(kubectl), f"--kubeconfig={kubeconfig}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def remove() -> None:
        run("delete", "clusterrolebinding", SPACE, "--ignore-not-found")
        run("delete", "namespace", SPACE, "--ignore-not-found")

    remove()
    try:
        run("create", "namespace", SPACE)
        run("create", "serviceaccount", NAME, "--namespace", SPACE)
        run("create", "clusterrolebinding", SPACE, "--clusterrole=cluster-admin", f"--serviceaccount={SPACE}:{NAME}")
        token = run("create", "token", NAME, "--namespace", SPACE, "--duration", "12h").strip()
        config = yaml.safe_load(kubeconfig.read_text())
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        yield path
    finally:
        remove()
