"""Certificates of the local cluster, made once for all tests here and judged by TLS itself, in memory."""

import base64
import json
import re
import ssl
import stat
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from localcluster import pki
from localcluster.pki import Identity, identities
from localcluster.settings import API_PORT, BRIDGE_IP, SERVICE_IP, Places

SERVERS = {
    "apiserver": [BRIDGE_IP, "127.0.0.1", SERVICE_IP, "localhost", "kubernetes.default.svc.cluster.local"],
    "kubelet-server": [BRIDGE_IP, "127.0.0.1", "trial"],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    root = tmp_path_factory.mktemp("cluster")
    made = Places(name="trial", home=root / "home", run=root / "run")
    pki.ensure(made)
    return made


def shake_hands(places: Places, server: str, name: str, client: str | None = None) -> ssl.SSLObject:
    """Have a client reach a server under a name, both with certificates of this cluster; return the server's side."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(places.pki / f"{server}.crt", places.pki / f"{server}.key")
    serving.load_verify_locations(places.pki / "ca.crt")
    serving.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    calling = ssl.create_default_context(cafile=str(places.pki / "ca.crt"))
    if client:
        calling.load_cert_chain(places.pki / f"{client}.crt", places.pki / f"{client}.key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = serving.wrap_bio(up, down, server_side=True)
    theirs = calling.wrap_bio(down, up, server_hostname=name)
    open_sides = [theirs, ours]
    for _ in range(10):
        for side in tuple(open_sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_sides.remove(side)
    assert not open_sides
    return ours


@pytest.mark.parametrize(("server", "name"), [(server, name) for server, names in SERVERS.items() for name in names])
def test_a_server_is_believed_under_each_of_its_names(places: Places, server: str, name: str) -> None:
    shake_hands(places, server, name)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", ["10.244.0.2", "example.org", "kubernetes.default.svc.cluster.local.example.org"])
def test_a_server_is_not_believed_under_another_name(places: Places, server: str, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shake_hands(places, server, name)


CLIENTS = [identity for identity in identities("trial") if identity.file not in SERVERS]


@pytest.mark.parametrize("identity", CLIENTS, ids=lambda identity: identity.file)
def test_a_client_is_who_it_says(places: Places, identity: Identity) -> None:
    found = shake_hands(places, "apiserver", BRIDGE_IP, identity.file).getpeercert()
    assert found is not None
    organizations = [("organizationName", group) for group in identity.groups]
    assert list(chain.from_iterable(found["subject"])) == [*organizations, ("commonName", identity.user)]


@pytest.mark.parametrize("identity", CLIENTS, ids=lambda identity: identity.file)
def test_a_client_is_no_server(places: Places, identity: Identity) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"purpose|key usage"):
        shake_hands(places, identity.file, BRIDGE_IP)


def test_the_kubelet_is_its_node_and_only_admins_are_masters(places: Places) -> None:
    by_file = {identity.file: identity for identity in identities(places.name)}
    assert (by_file["kubelet"].user, by_file["kubelet"].groups) == ("system:node:trial", ("system:nodes",))
    masters = {name for name, identity in by_file.items() if "system:masters" in identity.groups}
    assert masters == {"admin", "apiserver-kubelet-client"}


def test_no_certificate_but_the_authority_can_sign_and_serial_numbers_differ(places: Places) -> None:
    serials = set()
    for identity in identities(places.name):
        argv = ["openssl", "x509", "-in", str(places.pki / f"{identity.file}.crt"), "-noout", "-text"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert "CA:FALSE" in text
        assert "Certificate Sign" not in text
        found = re.search(r"Serial Number: (\S+)", text)
        assert found
        serials.add(found[1])
    assert len(serials) == len(identities(places.name))


def test_keys_are_for_nobody_elses_eyes_and_no_draft_is_left(places: Places) -> None:
    keys = [*places.pki.glob("*.key"), places.kubeconfig, *places.pki.glob("*.kubeconfig")]
    assert len(keys) > 15
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in keys} == {"0o600"}
    assert stat.S_IMODE(places.pki.stat().st_mode) == 0o700
    assert not [path.name for path in places.pki.iterdir() if path.suffix in {".csr", ".ext", ".new"}]


def test_a_kubeconfig_is_complete_in_itself(places: Places) -> None:
    found = json.loads(places.kubeconfig.read_text())
    (cluster,) = found["clusters"]
    (user,) = found["users"]
    (context,) = found["contexts"]
    assert cluster["cluster"]["server"] == f"https://{BRIDGE_IP}:{API_PORT}"
    assert found["current-context"] == context["name"] == "runabout-trial"
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    for document, field, file in (
        (cluster["cluster"], "certificate-authority-data", "ca.crt"),
        (user["user"], "client-certificate-data", "admin.crt"),
        (user["user"], "client-key-data", "admin.key"),
    ):
        assert base64.b64decode(document[field]) == (places.pki / file).read_bytes()


def test_making_them_again_changes_nothing_and_repairs_a_kubeconfig(places: Places) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (*places.pki.iterdir(), places.kubeconfig)}

    before = contents()
    places.kubeconfig.write_text("something else")
    pki.ensure(places)
    assert contents() == before
