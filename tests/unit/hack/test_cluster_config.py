"""What the local cluster's programs are told: complete files, addresses that nobody else reaches, no port twice."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from localcluster import components, config, manifests
from localcluster.components import LOOPBACK, all_components
from localcluster.console import LocalClusterError
from localcluster.settings import BRIDGE_IP, POD_CIDR, SERVICE_CIDR, SERVICE_IP, Places, cluster_name

PLACES = Places(name="trial", home=Path("/cache/cluster/trial"), run=Path("/run/runabout/trial"))
FILES = config.files(PLACES, masquerade_all=True)
Json = dict[str, object]


def test_every_file_lies_with_the_clusters_configuration_and_can_be_read() -> None:
    for path, text in FILES.items():
        assert path.is_relative_to(PLACES.config)
        if path.suffix == ".toml":
            assert tomllib.loads(text)
        elif path.suffix in {".json", ".conflist"}:
            assert json.loads(text)


def test_containerd_keeps_everything_apart_from_another_one() -> None:
    found = tomllib.loads(FILES[PLACES.config / "containerd.toml"])
    assert (found["root"], found["state"]) == (f"{PLACES.home}/containerd", f"{PLACES.run}/containerd")
    assert found["grpc"]["address"] == str(PLACES.containerd_socket)
    cri = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["cni"]["conf_dir"] == str((PLACES.config / "cni" / "10-runabout.conflist").parent)
    assert cri["stream_server_address"] == LOOPBACK


def test_the_kubelet_lets_nobody_in_unknown() -> None:
    found = json.loads(FILES[PLACES.config / "kubelet.json"])
    assert found["authentication"]["anonymous"] == {"enabled": False}
    assert found["authentication"]["x509"]["clientCAFile"] == str(PLACES.pki / "ca.crt")
    assert found["authorization"] == {"mode": "Webhook"}
    assert found["readOnlyPort"] == 0
    assert found["containerRuntimeEndpoint"] == f"unix://{PLACES.containerd_socket}"


@pytest.mark.parametrize("masquerade", [True, False])
def test_the_proxy_masquerades_where_it_is_told_to(masquerade: bool) -> None:
    found = json.loads(config.proxy(PLACES, masquerade_all=masquerade))
    assert found["iptables"]["masqueradeAll"] is masquerade
    assert found["clusterCIDR"] == POD_CIDR


def test_pods_get_addresses_of_the_bridge_and_ask_its_name_server() -> None:
    plugin = json.loads(FILES[PLACES.config / "cni" / "10-runabout.conflist"])["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": POD_CIDR, "gateway": BRIDGE_IP}]]
    assert json.loads(FILES[PLACES.config / "kubelet.json"])["clusterDNS"] == [BRIDGE_IP]
    assert f"bind {BRIDGE_IP}\n" in FILES[PLACES.config / "Corefile"]


def test_no_configuration_listens_to_the_world() -> None:
    for text in FILES.values():
        assert set(re.findall(r"0\.0\.0\.0(?!/0)", text)) == set()


# programs


def test_components_have_names_and_addresses_of_their_own_and_come_after_what_they_need() -> None:
    seen: set[str] = set()
    for component in all_components(PLACES):
        assert set(component.needs) <= seen
        assert component.name not in seen
        seen.add(component.name)
        assert component.pid_file(PLACES).parent == PLACES.pids
        assert component.log(PLACES).parent == PLACES.logs
    addresses = [address for component in all_components(PLACES) for address in component.listens]
    assert max(Counter(addresses).values()) == 1
    assert {host for host, _ in addresses} <= {LOOPBACK, BRIDGE_IP}


def test_no_component_is_told_to_listen_to_the_world() -> None:
    for component in all_components(PLACES):
        assert not [part for part in component.argv if re.search(r"0\.0\.0\.0(?!/0)|://\[?::", part)]


def test_the_api_server_serves_the_addresses_that_its_certificate_and_services_name() -> None:
    argv = components.api_server(PLACES).argv
    assert f"--service-cluster-ip-range={SERVICE_CIDR}" in argv
    assert SERVICE_CIDR.startswith(SERVICE_IP.rsplit(".", 2)[0])
    assert f"--tls-cert-file={PLACES.pki / 'apiserver.crt'}" in argv


# names and places


@pytest.mark.parametrize("name", ["a", "a-b", "x1", "a" * 40])
def test_a_cluster_has_a_name_like_a_label(name: str) -> None:
    assert cluster_name(name) == name


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a_b", "a b", "a/b", "..", "a" * 41])
def test_another_name_is_refused_with_what_to_take(name: str) -> None:
    with pytest.raises(LocalClusterError, match=r"is no cluster name\n.*at most 40"):
        cluster_name(name)


def test_the_name_comes_from_the_environment_else_it_is_runabout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNABOUT_CLUSTER", "second")
    assert cluster_name() == "second"
    assert cluster_name("third") == "third"
    monkeypatch.delenv("RUNABOUT_CLUSTER")
    assert cluster_name() == "runabout"


def test_everything_is_kept_below_the_users_cache_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    places = Places.of("trial")
    assert places.home == Path("/somewhere/runabout/cluster/trial")
    assert places.run == Path("/run/runabout/trial")
    assert len(str(places.containerd_socket)) < 107
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert Places.of("trial").home.is_relative_to(Path.home() / ".cache")


# volumes


def claim(**changes: object) -> Json:
    metadata = {
        "name": "data",
        "namespace": "ci",
        "uid": "123",
        "annotations": {"volume.kubernetes.io/selected-node": "trial"},
    }
    spec = {
        "storageClassName": "runabout-local",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    parts = {"metadata": metadata, "spec": spec}
    for path, value in changes.items():
        part, _, key = path.partition("__")
        parts[part] = {**parts[part], key: value}  # type: ignore[dict-item]
    return dict(parts)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"metadata__annotations": None}, False),
        ({"metadata__annotations": {"volume.kubernetes.io/selected-node": "other"}}, False),
        ({"metadata__deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"spec__volumeName": "pvc-123"}, False),
        ({"spec__storageClassName": "other"}, False),
    ],
)
def test_a_claim_gets_a_volume_once_a_pod_on_this_node_needs_it(changes: dict[str, object], wanted: bool) -> None:
    assert manifests.wants_a_volume(claim(**changes), "trial") is wanted


def test_a_volume_belongs_to_its_claim_and_to_this_node() -> None:
    made = manifests.volume(claim(), "/volumes/123", "trial")
    assert made["metadata"]["name"] == "pvc-123"
    assert made["spec"]["claimRef"]["uid"] == "123"
    assert made["spec"]["hostPath"]["path"] == "/volumes/123"
    (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["trial"]


@pytest.mark.parametrize(("phase", "released"), [("Bound", False), ("Released", True), ("Failed", True)])
def test_a_volume_of_ours_goes_when_it_lost_its_claim(phase: str, released: bool) -> None:
    made = {**manifests.volume(claim(), "/volumes/123", "trial"), "status": {"phase": phase}}
    assert manifests.is_released(made) is released
    assert not manifests.is_released({**made, "metadata": {"name": "pvc-123"}})


def test_programs_of_the_cluster_may_do_what_they_do_and_no_more() -> None:
    for path, made in manifests.bootstrap():
        assert path.endswith(f"/{made['metadata']['name']}")
        for rule in made.get("rules", []):
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
