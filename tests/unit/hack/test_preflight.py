"""What is missing on a machine is named, with what to do about it."""

import os
import platform
import socket
from pathlib import Path

import pytest

from localcluster import gobuild, leftovers, native, network, preflight, settings
from localcluster.components import Component
from localcluster.console import LocalClusterError
from localcluster.processes import mark, write_pid_file
from localcluster.settings import Places


def test_another_system_is_told_to_start_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(LocalClusterError, match=r"needs Linux \(this is Darwin\)\n.*Start Docker"):
        preflight.require_linux_and_root()


def test_without_root_it_says_how_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LocalClusterError, match=r"needs root.*\n.*sudo"):
        preflight.require_linux_and_root()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    preflight.require_linux_and_root()


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError) as found:
        preflight.ensure_programs({"runc": "runc", "ctr": "containerd", "containerd": "containerd"})
    assert found.value.problem == "programs are missing: containerd, runc"
    assert found.value.remedy == "Install what brings these Debian packages: containerd runc."


def test_programs_that_are_there_need_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "runc").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    preflight.ensure_programs({"runc": "runc"})


def component(*addresses: tuple[str, int]) -> Component:
    return Component(name="etcd", argv=("etcd",), healthy=lambda: True, listens=addresses)


def test_a_port_that_is_taken_is_named_with_who_needs_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalClusterError) as found:
            preflight.require_free_ports([component(("127.0.0.1", port))])
    assert found.value.problem.startswith(f"etcd needs port {port} on 127.0.0.1, and it is taken")
    assert "hack/cluster down" in found.value.remedy
    preflight.require_free_ports([component(("127.0.0.1", port))])


def test_an_address_that_does_not_exist_yet_is_no_obstacle() -> None:
    preflight.require_free_ports([component(("192.0.2.1", 6443))])


def test_who_listens_everywhere_is_found_before_the_bridge_has_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalClusterError, match=f"port {port} on 192.0.2.77, and it is taken"):
            preflight.require_free_ports([component(("192.0.2.77", port))])


def test_another_cluster_of_this_machine_is_named_while_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "RUN_ROOT", tmp_path)
    ours = Places(name="ours", home=tmp_path / "home", run=tmp_path / "ours")
    preflight.require_only_cluster(ours)
    process = mark(os.getpid())
    assert process is not None
    write_pid_file(tmp_path / "ours" / "pids" / "etcd.pid", process)
    preflight.require_only_cluster(ours)
    write_pid_file(tmp_path / "other" / "pids" / "etcd.pid", process)
    with pytest.raises(LocalClusterError, match=r"'other' is up.*\n.*down --name other"):
        preflight.require_only_cluster(ours)
    (tmp_path / "other" / "pids" / "etcd.pid").write_text("{}")
    preflight.require_only_cluster(ours)


def test_a_full_disk_is_found_before_anything_is_begun(tmp_path: Path) -> None:
    gobuild.require_space(tmp_path / "not" / "there", 0.0, "the cluster")
    with pytest.raises(LocalClusterError) as found:
        gobuild.require_space(tmp_path / "not" / "there", 1e9, "the cluster")
    assert found.value.problem.startswith(f"the cluster needs 1000000000 GB below {tmp_path}, and ")
    assert "XDG_CACHE_HOME" in found.value.remedy


def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    with pytest.raises(LocalClusterError, match=r"no tool is called 'hammer'\n.*kubectl"):
        gobuild.tool("hammer")


def test_builds_do_not_depend_on_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOFLAGS", "GOOS", "GOARCH", "GOBIN", "CGO_ENABLED", "GOWORK"):
        monkeypatch.setenv(name, "odd")
    found = gobuild.go_environment()
    assert "odd" not in {found.get(name) for name in ("GOFLAGS", "GOOS", "GOARCH", "GOBIN", "CGO_ENABLED", "GOWORK")}
    assert found["PATH"] == os.environ["PATH"]


def test_a_cluster_of_another_home_is_left_alone_while_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "RUN_ROOT", tmp_path)
    ours = Places(name="same", home=tmp_path / "home", run=tmp_path / "same")
    preflight.require_own(ours)
    process = mark(os.getpid())
    assert process is not None
    write_pid_file(ours.pids / "etcd.pid", process)
    ours.owner.write_text(f"{ours.home}\n")
    preflight.require_own(ours)
    theirs = Places(name="same", home=tmp_path / "another", run=tmp_path / "same")
    with pytest.raises(LocalClusterError, match=f"'same' is up and belongs to {ours.home}"):
        preflight.require_own(theirs)
    (ours.pids / "etcd.pid").write_text("{}")
    preflight.require_own(theirs)


def test_what_clusters_share_stays_while_another_one_is_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both names are of folders here; nothing of the machine's own is looked at."""
    monkeypatch.setattr(settings, "RUN_ROOT", tmp_path)
    ours = Places(name="ours", home=tmp_path / "home", run=tmp_path / "ours")
    assert preflight.other_cluster(ours) == ""
    process = mark(os.getpid())
    assert process is not None
    write_pid_file(tmp_path / "other" / "pids" / "etcd.pid", process)
    assert preflight.other_cluster(ours) == "other"
    touched: list[str] = []
    for name in ("kill_containers", "remove_cgroups", "remove_strays"):
        monkeypatch.setattr(leftovers, name, lambda *_, name=name: touched.append(name))
    monkeypatch.setattr(network, "tear_down", lambda _: touched.append("tear_down"))
    monkeypatch.setattr(preflight, "require_linux_and_root", lambda: None)
    ours.home.mkdir()
    native.down(ours)
    assert touched == []
    assert not ours.home.exists()
    (tmp_path / "other" / "pids" / "etcd.pid").write_text("{}")
    ours.home.mkdir()
    native.down(ours)
    assert touched == ["kill_containers", "remove_cgroups", "remove_strays", "tear_down"]
