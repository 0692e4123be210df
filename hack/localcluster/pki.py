"""Certificates and kubeconfigs of the native cluster, made with the `openssl` command.

Everything is signed by one authority that lives and dies with the cluster; nothing is ever renewed.
"""

from __future__ import annotations

import base64
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localcluster.console import LocalClusterError
from localcluster.settings import API_PORT, BRIDGE_IP, CLUSTER_DOMAIN, SERVICE_IP

if TYPE_CHECKING:
    from pathlib import Path

    from localcluster.settings import Places

DAYS = 3650


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate: who it speaks for, and under which names a server with it is reached."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def identities(node: str) -> tuple[Identity, ...]:
    """Every certificate of a cluster whose only node has this name."""
    service = "kubernetes.default.svc"
    return (
        Identity(
            file="apiserver",
            user="kube-apiserver",
            addresses=(BRIDGE_IP, "127.0.0.1", SERVICE_IP),
            names=("localhost", "kubernetes", "kubernetes.default", service, f"{service}.{CLUSTER_DOMAIN}"),
        ),
        # Without the bridge's address here `kubectl logs` fails.
        Identity(file="kubelet-server", user=node, addresses=(BRIDGE_IP, "127.0.0.1"), names=(node,)),
        Identity(file="admin", user="kubernetes-admin", groups=("system:masters",)),
        Identity(file="apiserver-kubelet-client", user="kube-apiserver-kubelet-client", groups=("system:masters",)),
        Identity(file="front-proxy-client", user="front-proxy-client"),
        Identity(file="controller-manager", user="system:kube-controller-manager"),
        Identity(file="scheduler", user="system:kube-scheduler"),
        Identity(file="kubelet", user=f"system:node:{node}", groups=("system:nodes",)),
        Identity(file="proxy", user="system:kube-proxy"),
        Identity(file="coredns", user="runabout:coredns"),
        Identity(file="provisioner", user="runabout:provisioner"),
    )


def extensions(identity: Identity) -> str:
    """The X.509 extensions of an identity, in openssl's notation."""
    alternatives = [f"IP:{address}" for address in identity.addresses] + [f"DNS:{name}" for name in identity.names]
    usage = "serverAuth,clientAuth" if alternatives else "clientAuth"
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
    ]
    if alternatives:
        lines.append(f"subjectAltName={','.join(alternatives)}")
    return "\n".join(lines) + "\n"


def _openssl(*arguments: str | Path) -> None:
    argv = ["openssl", *(str(argument) for argument in arguments)]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LocalClusterError("the command `openssl` is missing", "apt-get install openssl") from error
    if result.returncode != 0:
        raise LocalClusterError(f"`{' '.join(argv[:3])} …` failed: {result.stderr.strip()[-400:]}")


def _key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    path.chmod(0o600)


def _authority(folder: Path) -> None:
    _key(folder / "ca.key")
    _openssl(
        *("req", "-x509", "-new", "-sha256", "-key", folder / "ca.key", "-days", str(DAYS)),
        *("-subj", "/CN=runabout-local-cluster", "-out", folder / "ca.crt"),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"),
    )


def _sign(folder: Path, identity: Identity, serial: int) -> None:
    stem = folder / identity.file
    key, request, certificate = stem.with_suffix(".key"), stem.with_suffix(".csr"), stem.with_suffix(".crt")
    extension_file = stem.with_suffix(".ext")
    extension_file.write_text(extensions(identity))
    _key(key)
    subject = "".join(f"/O={group}" for group in identity.groups) + f"/CN={identity.user}"
    _openssl("req", "-new", "-sha256", "-key", key, "-subj", subject, "-out", request)
    _openssl(
        *("x509", "-req", "-sha256", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key"),
        *("-set_serial", str(serial), "-days", str(DAYS), "-extfile", extension_file, "-out", certificate),
    )
    request.unlink()
    extension_file.unlink()


def ensure(places: Places) -> None:
    """Make the authority, every certificate and every kubeconfig, unless they are complete already."""
    folder = places.pki
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _authority(folder)
        _openssl("genrsa", "-out", folder / "service-account.key", "2048")
        _openssl("rsa", "-in", folder / "service-account.key", "-pubout", "-out", folder / "service-account.pub")
        with ThreadPoolExecutor(4) as pool:
            numbered = enumerate(identities(places.name), start=2)
            for done in [pool.submit(_sign, folder, identity, serial) for serial, identity in numbered]:
                done.result()
        complete.touch()
    for file in ("controller-manager", "scheduler", "kubelet", "proxy", "coredns", "provisioner"):
        _write(folder / f"{file}.kubeconfig", kubeconfig(places, file))
    _write(places.kubeconfig, kubeconfig(places, "admin"))


def kubeconfig(places: Places, file: str) -> str:
    """The kubeconfig of one identity, complete in itself, as JSON, which is YAML."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    folder = places.pki
    context = f"runabout-{places.name}" if places.name != "runabout" else "runabout"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "server": f"https://{BRIDGE_IP}:{API_PORT}",
                    "certificate-authority-data": data(folder / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": file,
                "user": {
                    "client-certificate-data": data(folder / f"{file}.crt"),
                    "client-key-data": data(folder / f"{file}.key"),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": file}}],
    }
    return json.dumps(document, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        draft = path.with_name(path.name + ".new")
        draft.touch(mode=0o600)
        draft.write_text(text)
        draft.replace(path)
