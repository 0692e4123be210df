"""What a cluster leaves on a machine is recognised by our own paths, whatever else there is."""

import json
import os
from pathlib import Path

import pytest

from localcluster import leftovers
from localcluster.leftovers import mounts_below, shims
from localcluster.network import COMMENT, without_our_rules
from localcluster.processes import ProcessMark
from localcluster.settings import CNI_NETWORK, Places

TABLE = """\
/dev/vda1 / ext4 rw 0 0
tmpfs /run/runabout/a tmpfs rw 0 0
overlay /run/runabout/a/containerd/x/rootfs overlay rw 0 0
tmpfs /run/runabout/ab tmpfs rw 0 0
tmpfs /home/j\\303\\274rgen/.cache/runabout/pod\\040one tmpfs rw 0 0
tmpfs /home/jürgen/.cache/runabout/pod\\134two tmpfs rw 0 0
tmpfs /home/j\u00a0b/runabout tmpfs rw 0 0
proc /run/runabout/a/containerd/x/rootfs/proc proc rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        (
            "/run/runabout/a",
            [
                "/run/runabout/a/containerd/x/rootfs/proc",
                "/run/runabout/a/containerd/x/rootfs",
                "/run/runabout/a",
            ],
        ),
        ("/run/runabout/ab", ["/run/runabout/ab"]),
        (
            "/home/jürgen/.cache/runabout",
            ["/home/jürgen/.cache/runabout/pod\\two", "/home/jürgen/.cache/runabout/pod one"],
        ),
        ("/home/j\u00a0b", ["/home/j\u00a0b/runabout"]),
        ("/run/other", []),
    ],
)
def test_mounts_below_a_folder_are_found_the_latest_first_and_no_others(folder: str, found: list[str]) -> None:
    assert mounts_below(Path(folder), table=TABLE) == [Path(path) for path in found]


def test_the_machines_own_table_can_be_read() -> None:
    assert Path("/proc") in mounts_below(Path("/"))


def process(proc: Path, pid: int, *arguments: str, end: bytes = b"\0") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\0".join(os.fsencode(item) for item in arguments) + end)
    fields = ["S", *(str(number) for number in range(4, 22)), "7", "0"]
    (folder / "stat").write_text(f"{pid} (x) {' '.join(fields)}\n")


def test_shims_are_those_of_our_containerd(tmp_path: Path) -> None:
    ours, theirs = Path("/run/runabout/a/containerd.sock"), "/run/containerd/containerd.sock"
    process(tmp_path, 10, "/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", str(ours))
    process(tmp_path, 11, "/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", theirs)
    process(tmp_path, 12, "vi", str(ours))
    process(tmp_path, 13, "odd", "-address", end=b"")
    process(tmp_path, 14)
    (tmp_path / "self").mkdir()
    (tmp_path / "99").mkdir()
    assert shims(ours, tmp_path) == [ProcessMark(10, 7, "")]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    for name in ("SHIM_SOCKETS", "RUNC_STATES", "CNI_RESULTS", "DEVICE_PLUGINS", "CONTAINER_LINKS"):
        folder = tmp_path / "machine" / name.lower() / "inner"
        folder.mkdir(parents=True)
        monkeypatch.setattr(leftovers, name, folder)
    return Places(name="a", home=tmp_path / "home" / "a", run=tmp_path / "run" / "a")


def test_sockets_of_shims_are_read_from_our_own_folder_and_lie_where_shims_have_them(places: Places) -> None:
    tasks = places.run / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io"
    for name, address in (("one", f"unix://{leftovers.SHIM_SOCKETS}/abc\n"), ("two", "unix:///etc/passwd")):
        (tasks / name).mkdir(parents=True)
        (tasks / name / "address").write_text(address)
    assert leftovers.shim_sockets(places) == [leftovers.SHIM_SOCKETS / "abc"]


def test_strays_of_ours_go_and_those_of_others_stay(places: Places) -> None:
    ours, theirs = leftovers.CONTAINER_LINKS / "ours.log", leftovers.CONTAINER_LINKS / "theirs.log"
    ours.symlink_to(places.logs / "pods" / "x.log")
    theirs.symlink_to("/var/log/pods/x.log")
    (leftovers.DEVICE_PLUGINS / "kubelet.sock").touch()
    (leftovers.CNI_RESULTS / f"{CNI_NETWORK}-123-eth0").touch()
    (leftovers.CNI_RESULTS / "other-123-eth0").touch()
    leftovers.remove_strays(places)
    assert not ours.is_symlink()
    assert theirs.is_symlink()
    assert not leftovers.DEVICE_PLUGINS.parent.exists()
    assert [path.name for path in leftovers.CNI_RESULTS.iterdir()] == ["other-123-eth0"]
    leftovers.remove_strays(places)


def states(*rootfs: object) -> list[Path]:
    """Return files with the states of runc, one for each root file system."""
    made = []
    for number, path in enumerate(rootfs):
        folder = leftovers.RUNC_STATES / str(number)
        folder.mkdir()
        (folder / "exec.fifo").touch()
        made.append(folder / "state.json")
        made[-1].write_text(json.dumps({"config": {"rootfs": path}}))
    return made


def loopbacks(*results: object) -> list[Path]:
    """Return results of the plugin that every containerd calls cni-loopback."""
    made = []
    for number, result in enumerate(results):
        made.append(leftovers.CNI_RESULTS / f"cni-loopback-{number}-lo")
        made[-1].write_text(json.dumps({"kind": "cniCacheV1", "result": result}))
    return made


def test_what_containers_left_goes_if_it_names_our_folder_and_stays_otherwise(places: Places) -> None:
    tasks = "containerd/io.containerd.runtime.v2.task/k8s.io"
    containers = states(
        f"{places.run}/{tasks}/0/rootfs",
        f"/run/{tasks}/1/rootfs",
        f"{places.run}b/{tasks}/2/rootfs",
        f"{places.run}/../b/{tasks}/3/rootfs",
        None,
        [str(places.run)],
    )
    (leftovers.RUNC_STATES / "empty").mkdir()
    (leftovers.RUNC_STATES / "odd").mkdir()
    (leftovers.RUNC_STATES / "odd" / "state.json").write_bytes(b'{"config": ')
    networks = loopbacks(
        {"interfaces": [{"name": "lo", "sandbox": f"{places.run}/containerd/netns/cni-0"}]},
        {"interfaces": [{"name": "lo", "sandbox": "/var/run/netns/cni-1"}]},
        {"interfaces": [3, {}]},
        {"interfaces": None},
        None,
    )
    leftovers.remove_strays(places)
    assert [file.parent.exists() for file in containers] == [False, True, True, True, True, True]
    assert [file.exists() for file in networks] == [False, True, True, True, True]
    assert {path.name for path in leftovers.RUNC_STATES.iterdir()} == {"1", "2", "3", "4", "5", "empty", "odd"}
    leftovers.remove_strays(places)


def test_where_all_containers_were_ours_no_folder_for_them_stays(places: Places) -> None:
    states(f"{places.run}/containerd/x/rootfs")
    loopbacks({"interfaces": [{"sandbox": f"{places.run}/containerd/netns/cni-0"}]})
    leftovers.remove_strays(places)
    assert not leftovers.RUNC_STATES.parent.exists()
    assert not leftovers.CNI_RESULTS.parent.exists()


def test_the_folders_of_a_cluster_go_and_those_of_others_stay(places: Places) -> None:
    other = places.run.parent / "b"
    for folder in (places.pki, places.pids, other):
        folder.mkdir(parents=True)
    leftovers.remove_folders(places)
    assert not places.home.exists()
    assert not places.home.parent.exists()
    assert not places.run.exists()
    assert other.is_dir()
    leftovers.remove_folders(places)


# packet filter

SAVED = f"""\
# Generated by iptables-save
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A POSTROUTING -s 10.244.0.0/24 ! -d 10.244.0.0/24 -m comment --comment {COMMENT} -j MASQUERADE
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -j KUBE-SVC-ABC
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -i docker0 -j ACCEPT
COMMIT
"""


def test_rules_of_ours_and_of_kubernetes_are_removed_and_no_others() -> None:
    script = without_our_rules(SAVED)
    assert script is not None
    assert script.splitlines() == [
        "*nat",
        ":KUBE-SERVICES - [0:0]",
        ":KUBE-SVC-ABC - [0:0]",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        f"-D POSTROUTING -s 10.244.0.0/24 ! -d 10.244.0.0/24 -m comment --comment {COMMENT} -j MASQUERADE",
        "-X KUBE-SERVICES",
        "-X KUBE-SVC-ABC",
        "COMMIT",
    ]


@pytest.mark.parametrize("saved", ["", "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i docker0 -j ACCEPT\nCOMMIT\n"])
def test_without_rules_of_ours_there_is_nothing_to_remove(saved: str) -> None:
    assert without_our_rules(saved) is None
